"""Sessions through the published Python client: every method, with its round trips of whole documents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from agent_memory_client import MemoryAPIClient, MemoryClientConfig, create_memory_client
from agent_memory_client.exceptions import MemoryClientError, MemoryNotFoundError, MemoryValidationError
from agent_memory_client.models import (
    ClientMemoryRecord,
    JSONTypes,
    MemoryMessage,
    MemoryStrategyConfig,
    MemoryTypeEnum,
    WorkingMemory,
)

from tests.server_process import ServerProcess, free_port

pytestmark = pytest.mark.filterwarnings("ignore:get_working_memory is deprecated:DeprecationWarning")


def said(content: str, role: str = "user", **fields: object) -> MemoryMessage:
    return MemoryMessage.model_validate({"role": role, "content": content, "created_at": datetime.now(UTC), **fields})


async def test_create_memory_client_checks_the_server_first(shared_server: ServerProcess) -> None:
    """create_memory_client succeeds against a live server and its health check carries a time in milliseconds."""
    async with await create_memory_client(shared_server.url, default_model_name="gpt-4o") as client:
        health = await client.health_check()
    assert abs(health.now / 1000 - datetime.now(UTC).timestamp()) < 60


async def test_create_memory_client_refuses_a_dead_address() -> None:
    """Nobody listening is a MemoryClientError, not a client that fails later."""
    with pytest.raises(MemoryClientError, match="Failed to connect"):
        await create_memory_client(f"http://127.0.0.1:{free_port()}")


async def test_get_or_create_creates_once(client: MemoryAPIClient, namespace: str) -> None:
    """The first call creates with the strategy that was named, the second finds the same session."""
    strategy = MemoryStrategyConfig(strategy="summary", config={"max_summary_length": 500})
    created, memory = await client.get_or_create_working_memory(
        "s1", user_id="alice", long_term_memory_strategy=strategy
    )
    assert created
    assert (memory.session_id, memory.user_id, memory.namespace) == ("s1", "alice", namespace)
    assert memory.data == {}
    created, memory = await client.get_or_create_working_memory("s1", user_id="alice")
    assert not created
    assert memory.long_term_memory_strategy == strategy


async def test_get_working_memory_is_deprecated_but_works(client: MemoryAPIClient) -> None:
    """The deprecated getter warns, returns the stored scope, and maps absence to MemoryNotFoundError."""
    await client.put_working_memory("s1", WorkingMemory(session_id="s1", user_id="alice", messages=[said("hello")]))
    with pytest.warns(DeprecationWarning, match="get_working_memory is deprecated"):
        memory = await client.get_working_memory("s1")
    assert memory.user_id == "alice"
    assert [message.content for message in memory.messages] == ["hello"]
    with pytest.raises(MemoryNotFoundError):
        await client.get_working_memory("absent")


async def test_put_keeps_every_field(client: MemoryAPIClient, namespace: str) -> None:
    """A full document comes back equal, field by field, from PUT and from GET."""
    memory = WorkingMemory(
        session_id="full",
        user_id="alice",
        namespace=namespace,
        messages=[said("What is tea?", id="m1"), said("A drink.", "assistant", id="m2"), said("ok", "tool", id="m3")],
        memories=[
            ClientMemoryRecord(
                id="fact-1",
                text="Alice drinks green tea",
                memory_type=MemoryTypeEnum.SEMANTIC,
                topics=["drinks"],
                entities=["Alice"],
                event_date=datetime(2024, 2, 29, 12, 30, 0, 123456, UTC),
            )
        ],
        data={"nested": {"list": [1, 2.5, True, None, "x"]}, "empty": {}},
        context="Earlier they spoke of coffee.",
        tokens=17,
        ttl_seconds=3600,
        long_term_memory_strategy=MemoryStrategyConfig(strategy="preferences"),
    )
    answered = await client.put_working_memory("full", memory, user_id="alice", context_window_max=1000)
    _, read = await client.get_or_create_working_memory("full", user_id="alice")
    for seen in (answered, read):
        assert [(m.id, m.role, m.content, m.created_at) for m in seen.messages] == [
            (m.id, m.role, m.content, m.created_at) for m in memory.messages
        ]
        assert [(m.id, m.text, m.topics, m.entities, m.event_date, m.memory_type) for m in seen.memories] == [
            (m.id, m.text, m.topics, m.entities, m.event_date, m.memory_type) for m in memory.memories
        ]
        assert seen.data == memory.data
        assert (seen.context, seen.tokens, seen.ttl_seconds) == (memory.context, 17, 3600)
        assert seen.long_term_memory_strategy == memory.long_term_memory_strategy
    assert answered.context_percentage_total_used is not None
    assert answered.context_percentage_until_summarization is not None


async def test_a_response_can_be_put_back(client: MemoryAPIClient) -> None:
    """Clients echo whole responses, percentages and all; the session stays as it is."""
    await client.put_working_memory(
        "echo", WorkingMemory(session_id="echo", messages=[said("one"), said("two")], data={"a": 1})
    )
    _, first = await client.get_or_create_working_memory("echo", context_window_max=4000)
    await client.put_working_memory("echo", first, context_window_max=4000)
    _, second = await client.get_or_create_working_memory("echo", context_window_max=4000)
    assert [m.id for m in second.messages] == [m.id for m in first.messages]
    assert second.data == first.data


async def test_context_window_limits_what_is_read_not_what_is_stored(client: MemoryAPIClient) -> None:
    """A small window, sent by the client as a string, cuts the oldest messages from the answer only."""
    messages = [said(f"word {'lorem ipsum ' * 20}{index}") for index in range(10)]
    await client.put_working_memory("long", WorkingMemory(session_id="long", messages=messages))
    _, cut = await client.get_or_create_working_memory("long", context_window_max=120)
    _, whole = await client.get_or_create_working_memory("long")
    assert 1 <= len(cut.messages) < 10
    assert cut.messages[-1].id == messages[-1].id
    assert [m.id for m in whole.messages] == [m.id for m in messages]
    _, by_model = await client.get_or_create_working_memory("long", model_name="gpt-4o-mini")
    assert len(by_model.messages) == 10


async def test_list_sessions_pages_and_scopes(client: MemoryAPIClient) -> None:
    """Listing honours the default namespace, the user, limit and offset, with the true total."""
    for index in range(5):
        user = "alice" if index % 2 else "bob"
        await client.put_working_memory(f"s{index}", WorkingMemory(session_id=f"s{index}", user_id=user))
    everything = await client.list_sessions()
    assert everything.total == 5
    assert everything.sessions == ["s4", "s3", "s2", "s1", "s0"]
    page = await client.list_sessions(limit=2, offset=1)
    assert (page.sessions, page.total) == (["s3", "s2"], 5)
    alice = await client.list_sessions(user_id="alice")
    assert (set(alice.sessions), alice.total) == ({"s1", "s3"}, 2)
    assert (await client.list_sessions(namespace=f"{client.config.default_namespace}-other")).total == 0


async def test_delete_working_memory_is_idempotent(client: MemoryAPIClient) -> None:
    """Deleting twice is ok both times and the session is gone from reads and listings."""
    await client.put_working_memory("gone", WorkingMemory(session_id="gone", user_id="alice", messages=[said("bye")]))
    assert (await client.delete_working_memory("gone", user_id="alice")).status == "ok"
    assert (await client.delete_working_memory("gone", user_id="alice")).status == "ok"
    with pytest.raises(MemoryNotFoundError):
        await client.get_working_memory("gone")
    assert (await client.list_sessions()).total == 0


async def test_set_working_memory_data_keeps_the_conversation(client: MemoryAPIClient) -> None:
    """The client's read-modify-write finds the session by its id alone and keeps messages, memories and owner."""
    memory = WorkingMemory(
        session_id="d",
        user_id="alice",
        messages=[said("hi")],
        memories=[ClientMemoryRecord(text="Alice likes rain")],
        context="ctx",
    )
    await client.put_working_memory("d", memory)
    answered = await client.set_working_memory_data("d", {"settings": {"theme": "dark"}})
    assert answered.data == {"settings": {"theme": "dark"}}
    assert (answered.user_id, answered.context) == ("alice", "ctx")
    assert [m.content for m in answered.messages] == ["hi"]
    assert [m.text for m in answered.memories] == ["Alice likes rain"]
    assert (await client.list_sessions()).total == 1


async def test_set_working_memory_data_without_preserving_replaces(client: MemoryAPIClient) -> None:
    """preserve_existing=False is a plain replacement of an ownerless session."""
    await client.put_working_memory("d", WorkingMemory(session_id="d", messages=[said("hi")], data={"old": 1}))
    answered = await client.set_working_memory_data("d", {"new": 2}, preserve_existing=False)
    assert (answered.data, answered.messages) == ({"new": 2}, [])


async def test_add_memories_appends_then_replaces(client: MemoryAPIClient) -> None:
    """add_memories_to_working_memory adds to what is there, creates a missing session, and replaces on request."""
    first = await client.add_memories_to_working_memory("a", [ClientMemoryRecord(text="one")])
    assert [m.text for m in first.memories] == ["one"]
    second = await client.add_memories_to_working_memory("a", [ClientMemoryRecord(text="two", id="")])
    assert [m.text for m in second.memories] == ["one", "two"]
    assert all(memory.id for memory in second.memories)
    third = await client.add_memories_to_working_memory("a", [ClientMemoryRecord(text="three")], replace=True)
    assert [m.text for m in third.memories] == ["three"]


async def test_update_working_memory_data_in_three_strategies(client: MemoryAPIClient) -> None:
    """replace, merge and deep_merge mean what they say, for an owned session found by its user."""
    start: dict[str, JSONTypes] = {"a": {"x": 1, "y": 2}, "b": 1}
    await client.put_working_memory("u", WorkingMemory(session_id="u", user_id="alice", data=start))
    merged = await client.update_working_memory_data("u", {"a": {"x": 9}}, user_id="alice")
    assert merged.data == {"a": {"x": 9}, "b": 1}
    deep = await client.update_working_memory_data("u", {"a": {"z": 3}}, merge_strategy="deep_merge", user_id="alice")
    assert deep.data == {"a": {"x": 9, "z": 3}, "b": 1}
    replaced = await client.update_working_memory_data("u", {"c": 0}, merge_strategy="replace", user_id="alice")
    assert replaced.data == {"c": 0}
    with pytest.raises(MemoryValidationError, match="merge strategy"):
        await client.update_working_memory_data("u", {"d": 0}, merge_strategy="nonsense", user_id="alice")  # pyright: ignore[reportArgumentType]


async def test_append_messages_keeps_order_and_settings(client: MemoryAPIClient) -> None:
    """The client's append (a whole PUT) keeps earlier messages, TTL, strategy and owner."""
    strategy = MemoryStrategyConfig(strategy="custom", config={"custom_prompt": "x {message}"})
    memory = WorkingMemory(
        session_id="ap", user_id="alice", messages=[said("1")], ttl_seconds=900, long_term_memory_strategy=strategy
    )
    await client.put_working_memory("ap", memory)
    answered = await client.append_messages_to_working_memory(
        "ap",
        [{"role": "assistant", "content": "2"}, said("3"), {"role": "user", "content": "4", "id": "fixed"}],
        context_window_max=2000,
    )
    assert [m.content for m in answered.messages] == ["1", "2", "3", "4"]
    assert answered.messages[-1].id == "fixed"
    assert (answered.user_id, answered.ttl_seconds) == ("alice", 900)
    assert answered.long_term_memory_strategy == strategy


async def test_append_to_a_missing_session_creates_it(client: MemoryAPIClient) -> None:
    """Appending to what does not exist creates the session in the client's namespace."""
    answered = await client.append_messages_to_working_memory("fresh", [{"role": "user", "content": "hi"}])
    assert [m.content for m in answered.messages] == ["hi"]
    assert (await client.list_sessions()).sessions == ["fresh"]


async def test_message_times_survive(client: MemoryAPIClient) -> None:
    """Explicit times of messages come back to the microsecond, in any zone."""
    at = datetime(2023, 5, 1, 8, 30, 15, 987654, UTC)
    memory = WorkingMemory(session_id="t", messages=[said("then", created_at=at), said("now")])
    answered = await client.put_working_memory("t", memory)
    assert answered.messages[0].created_at == at
    assert answered.messages[1].created_at - datetime.now(UTC) < timedelta(seconds=5)


async def test_network_failure_is_not_hidden() -> None:
    """A dead address surfaces as httpx's own error from any call."""
    async with MemoryAPIClient(MemoryClientConfig(base_url=f"http://127.0.0.1:{free_port()}")) as client:
        with pytest.raises(httpx.ConnectError):
            await client.list_sessions()
