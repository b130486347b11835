"""What the tools do: the contract's answers, the allowances for models, and failures that are told as failures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import Principal
from agent_memory_server.testing.running import running_app
from tests.mcp.conversing import Conversation, conversing, text_of


async def test_a_session_of_remembering_finding_correcting_and_forgetting(agent: Conversation) -> None:
    """What is stored is found at once, dated and with its id; an edit is seen; what was deleted is gone."""
    memory_id = await agent.remembered("Ana is allergic to peanuts", user_id="ana", topics=["health"])
    page = await agent.done("search_long_term_memory", text="what may she not eat?", user_id="ana")
    found = page["memories"][0]
    assert (found["id"], found["text"], found["topics"]) == (memory_id, "Ana is allergic to peanuts", ["health"])
    assert datetime.fromisoformat(found["created_at"]).tzinfo is not None
    assert page["total"] == 1
    edited = await agent.done(
        "edit_long_term_memory", memory_id=memory_id, text="Ana is allergic to nuts", event_date="2024-05-01"
    )
    assert (edited["text"], edited["event_date"]) == ("Ana is allergic to nuts", "2024-05-01T00:00:00Z")
    assert (await agent.done("get_long_term_memory", memory_id=memory_id))["text"] == "Ana is allergic to nuts"
    deleted = await agent.done("delete_long_term_memories", memory_ids=[memory_id, "never there"])
    assert deleted == {"status": "ok, deleted 1 memories"}
    assert await agent.refused("get_long_term_memory", memory_id=memory_id) == (
        f"Not found: Memory with ID {memory_id} not found"
    )
    assert await agent.found("peanuts") == []


async def test_the_three_verbs(app: MemoryApp) -> None:
    """remember, recall, forget: short answers; what was known already is not stored twice."""
    async with conversing(app, tools="simple") as agent:
        first = await agent.done("remember", text="Ana moved to Lisbon", event_date="2024-05-01T00:00:00Z")
        again = await agent.done("remember", text="Ana moved to Lisbon", event_date="2024-05-01T00:00:00Z")
        assert (first["stored"], again["stored"], again["id"]) == (True, False, first["id"])
        page = await agent.done("recall", query="where does Ana live?")
        (memory,) = page["memories"]
        assert (memory["id"], memory["memory_type"], memory["event_date"]) == (
            first["id"],
            "episodic",
            "2024-05-01T00:00:00Z",
        )
        assert set(memory) == {
            "id", "text", "memory_type", "created_at", "event_date", "topics", "user_id", "score",
        }  # fmt: skip
        assert (await agent.done("recall", query="Lisbon", since="2999-01-01T00:00:00Z"))["memories"] == []
        assert await agent.done("forget", memory_ids=[first["id"], "never there"]) == {"deleted": 1}
        assert (await agent.done("recall", query=""))["memories"] == []


async def test_search_is_hybrid_unless_asked_otherwise(agent: Conversation) -> None:
    """The score says by what it was found; a distance limit means semantic, and in another mode it is refused."""
    await agent.remembered("Ana drinks green tea")
    for arguments, mode in (
        ({}, "hybrid"),
        ({"search_mode": "keyword"}, "keyword"),
        ({"distance_threshold": 2.0}, "semantic"),
    ):
        page = await agent.done("search_long_term_memory", text="tea", **arguments)
        assert page["memories"][0]["score_type"] == mode
    told = await agent.refused("search_long_term_memory", text="tea", search_mode="hybrid", distance_threshold=0.5)
    assert told == "Bad request: distance_threshold is only supported for semantic search mode"


async def test_a_plain_text_or_a_list_is_a_filter(agent: Conversation) -> None:
    """Models write {"user_id": "ana"}; it means equality, a list means any of them, and an object means what it says."""
    for user in ("ana", "bob", "carl"):
        await agent.remembered(f"{user} likes tea", user_id=user, topics=[user])
    assert await agent.found("tea", user_id="ana") == ["ana likes tea"]
    assert sorted(await agent.found("tea", topics=["ana", "bob"])) == ["ana likes tea", "bob likes tea"]
    assert sorted(await agent.found("tea", user_id={"ne": "ana"})) == ["bob likes tea", "carl likes tea"]
    assert len(await agent.found(None, memory_type="semantic")) == 3
    assert await agent.found("tea", created_at={"gte": "2999-01-01T00:00:00Z"}) == []


async def test_objects_and_lists_may_come_as_text(agent: Conversation) -> None:
    """Some clients send them as JSON in a text; a text that is wanted as one stays one."""
    await agent.done("create_long_term_memories", memories=json.dumps([{"text": '["a list"]', "user_id": "ana"}]))
    assert await agent.found("list", user_id='{"eq": "ana"}') == ['["a list"]']
    assert await agent.found('["a list"]') == ['["a list"]']


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("search_long_term_memory", {"text": "x", "userid": "ana"}, "userid: there is no such argument; did you mean user_id?"),
        ("search_long_term_memory", {}, "text: Field required"),
        ("search_long_term_memory", {"text": "x", "user_id": ""}, "user_id.eq: String should have at least 1 character"),
        ("search_long_term_memory", {"text": "x", "user_id": "  "}, "user_id.eq: must not be blank"),
        ("search_long_term_memory", {"text": "x", "user_id": {}}, "user_id: must have an operator with a value"),
        ("search_long_term_memory", {"text": "x", "user_id": {"like": "a"}}, "user_id.like: Extra inputs"),
        ("search_long_term_memory", {"text": "x", "limit": 0}, "limit: Input should be greater than or equal to 1"),
        ("create_long_term_memories", {"memories": [{"text": " "}]}, "Memory at index 0 has empty text"),
        ("create_long_term_memories", {"memories": [{"text": "a", "topics": ["a,b"]}]}, "topics[0] contains a comma"),
        ("create_long_term_memories", {"memories": [{"text": "a\0b"}]}, "memories.0.text: must not contain the NUL"),
        ("create_long_term_memories", {"memories": [{"text": "a", "metadata": {"n": 2**70}}]}, "64-bit"),
        ("create_long_term_memories", {"memories": '[{"text": "a\\u0000b"}]'}, "memories.0.text: must not contain the NUL"),
        ("set_working_memory", {"session_id": "s", "data": '{"n": 18446744073709551616}'}, "64-bit"),
        ("edit_long_term_memory", {"memory_id": "x", "event_date": "soon"}, "Invalid ISO 8601 datetime format 'soon'"),
        ("edit_long_term_memory", {"memory_id": "x"}, "No fields provided for update"),
        ("memory_prompt", {"query": "x", "include_long_term_search": False}, "Either session_id or include_long_term_search"),
        ("set_working_memory", {"session_id": "s", "messages": [{"role": "user", "content": " "}]}, "content cannot be empty"),
        ("set_working_memory", {"session_id": "s", "ttl_seconds": 0}, "ttl_seconds: Input should be greater"),
        ("forget_long_term_memories", {"max_age_days": -1}, "max_age_days: Input should be greater"),
        ("list_tasks", {"cursor": "made up"}, "cursor"),
        ("get_summary_view", {"view_id": "x"}, "not found"),
    ],
)  # fmt: skip
async def test_bad_input_is_a_tool_error_that_names_it(
    agent: Conversation, tool: str, arguments: dict[str, object], told: str
) -> None:
    """The model reads what to correct; nothing is stored."""
    assert told in await agent.refused(tool, **arguments)
    assert await agent.found() == []


async def test_an_unknown_tool_is_a_protocol_error(agent: Conversation) -> None:
    """As the protocol wants it."""
    async with Client(agent.server) as client:
        with pytest.raises(MCPError, match="Unknown tool: nonsense"):
            await client.call_tool("nonsense", {})


async def test_half_a_character_is_refused_before_it_is_stored(app: MemoryApp) -> None:
    """A lone surrogate is no text; the newest protocol's parser lets one through."""
    async with conversing(app) as agent:
        told = await agent.refused("set_working_memory", session_id="s", data={"half": "\ud800"})
    assert "cannot" in told


async def test_a_failing_store_is_never_an_empty_answer(tmp_path: Path) -> None:
    """A search, a session, a listing over a store that is gone say so; the reference answered no results."""
    async with (
        running_app(data_dir=tmp_path / "data", background=False) as running,
        conversing(running.app, tools="admin") as agent,
    ):
        await agent.remembered("Ana likes tea")
        with (tmp_path / "data" / "memory.db").open("r+b") as database:
            database.write(b"\0" * 8192)
        for tool, arguments in (
            ("search_long_term_memory", {"text": "tea"}),
            ("get_working_memory", {"session_id": "s"}),
            ("list_long_term_memories", {}),
            ("create_long_term_memories", {"memories": [{"text": "more"}]}),
        ):
            assert "Store" in await agent.refused(tool, **arguments)


async def test_an_absent_session_is_an_empty_one(agent: Conversation) -> None:
    """As the contract wants it, and with the scope that was asked for."""
    empty = await agent.done("get_working_memory", session_id="none", user_id="ana", namespace="n")
    assert (empty["messages"], empty["memories"], empty["data"], empty["context"]) == ([], [], None, None)
    assert (empty["session_id"], empty["user_id"], empty["namespace"]) == ("none", "ana", "n")


async def test_a_session_is_written_and_read(agent: Conversation, app: MemoryApp) -> None:
    """It lives an hour unless said otherwise; its structured memories belong to its owner and become long-term ones."""
    written = await agent.done(
        "set_working_memory",
        session_id="s",
        user_id="ana",
        messages=[{"role": "user", "content": "I moved to Lisbon"}],
        memories=[{"text": "Ana lives in Lisbon", "user_id": "somebody else"}],
        data={"step": 2},
    )
    assert (written["ttl_seconds"], written["data"], written["memories"][0]["user_id"]) == (3600, {"step": 2}, "ana")
    read = await agent.done("get_working_memory", session_id="s", user_id="ana")
    assert [message["content"] for message in read["messages"]] == ["I moved to Lisbon"]
    assert (await agent.done("append_working_memory", session_id="s", user_id="ana",
                             messages=[{"role": "user", "content": "Today"}]))["total"] == 2  # fmt: skip
    recent = await agent.done("get_working_memory", session_id="s", user_id="ana", recent_messages_limit=1)
    assert [message["content"] for message in recent["messages"]] == ["Today"]
    await app.pending_work.run_due()
    assert "Ana lives in Lisbon" in await agent.found("Lisbon", user_id="ana", memory_type="semantic")
    kept = await agent.done("set_working_memory", session_id="s", user_id="ana", ttl_seconds=None)
    assert kept["ttl_seconds"] is None
    assert (await agent.done("list_sessions", user_id="ana"))["sessions"] == ["s"]
    await agent.done("delete_working_memory", session_id="s", user_id="ana")
    assert (await agent.done("list_sessions", user_id="ana"))["total"] == 0


async def test_a_prompt_holds_the_conversation_the_memories_and_the_query(agent: Conversation) -> None:
    """The session is the conversation, not a filter of the search; a prompt for one user quotes nobody else."""
    await agent.remembered("Ana is allergic to nuts", user_id="ana")
    await agent.remembered("Bob hates nuts", user_id="bob")
    await agent.done("set_working_memory", session_id="s", user_id="ana", messages=[{"role": "user", "content": "Hi"}])
    prompt = await agent.done("memory_prompt", query="nuts?", session_id="s", user_id="ana")
    texts = [message["content"]["text"] for message in prompt["messages"]]
    assert texts[0] == "Hi"
    assert "Ana is allergic to nuts" in texts[1]
    assert "Bob" not in texts[1]
    assert texts[-1] == "nuts?"
    alone = await agent.done("memory_prompt", query="nuts?", session_id="s", include_long_term_search=False)
    assert alone["long_term_memories"] is None


async def test_the_time_is_utc(app: MemoryApp, agent: Conversation) -> None:
    """The number of seconds means the same moment as the text, whatever the host's zone."""
    told = await agent.done("get_current_datetime")
    said = datetime.strptime(told["iso_utc"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert said.timestamp() == told["unix_ts"]
    assert abs((app.now() - said).total_seconds()) < 60


async def test_duplicates_are_compacted_within_what_was_named(agent: Conversation) -> None:
    """Only in that scope; the answer is the contract's sentence with a report."""
    for session in ("one", "two"):
        await agent.remembered("Ana likes tea", user_id="ana", session_id=session)
    told = await agent.done("compact_long_term_memories", user_id="nobody")
    assert told["status"] == "ok, 0 memories remaining after compaction"
    told = await agent.done("compact_long_term_memories", user_id="ana", session_id="one")
    assert told["status"] == "ok, 1 memories remaining after compaction"


async def test_forgetting_says_first_what_would_go(agent: Conversation) -> None:
    """A dry run unless told otherwise."""
    for number in range(3):
        await agent.remembered(f"fact {number}", user_id="ana")
    told = await agent.done("forget_long_term_memories", user_id="ana", budget=1)
    assert (told["dry_run"], told["deleted"]) == (True, 2)
    assert len(await agent.found(None, user_id="ana")) == 3
    told = await agent.done("forget_long_term_memories", user_id="ana", budget=1, dry_run=False)
    assert (told["dry_run"], told["deleted"]) == (False, 2)
    listed = await agent.done("list_long_term_memories", user_id="ana", limit=10)
    assert (listed["total"], len(listed["memories"])) == (1, 1)


async def test_a_search_can_fill_a_budget_be_cut_and_look_back(app: MemoryApp, agent: Conversation) -> None:
    """``max_tokens`` gives a context to read, ``min_score`` an honest empty page, ``as_of`` what was known then."""
    memory_id = await agent.remembered("Ana drinks green tea")
    page = await agent.done("search_long_term_memory", text="what does Ana drink?", max_tokens=200)
    assert "Ana drinks green tea" in page["context"]["text"]
    assert page["context"]["memory_ids"] == [memory_id]
    assert await agent.found("the weather on Mars", min_score=1.0) == []
    then = app.now().isoformat()
    await agent.done("edit_long_term_memory", memory_id=memory_id, text="Ana drinks coffee")
    assert await agent.found("drinks", as_of=then) == ["Ana drinks green tea"]
    assert await agent.found("drinks") == ["Ana drinks coffee"]


async def test_history_and_taking_back(agent: Conversation) -> None:
    """An edit is seen in the history, planned to be undone unless told otherwise, undone, and seen again."""
    memory_id = await agent.remembered("Ana drinks tea")
    await agent.done("edit_long_term_memory", memory_id=memory_id, text="Ana drinks coffee")
    revisions = (await agent.done("get_memory_history", memory_id=memory_id))["revisions"]
    assert [each["kind"] for each in revisions] == ["create", "edit"]
    newest = (await agent.done("list_operations", order="desc", limit=1))["operations"][0]
    assert newest["id"] == revisions[1]["operation_id"]
    await agent.done("undo_operation", operation_id=newest["id"])
    assert await agent.found("Ana drinks") == ["Ana drinks coffee"]
    await agent.done("undo_operation", operation_id=newest["id"], dry_run=False)
    assert await agent.found("Ana drinks") == ["Ana drinks tea"]
    assert "not found" in (await agent.refused("undo_operation", operation_id="absent")).lower()


async def test_summary_views_and_their_tasks(agent: Conversation, app: MemoryApp) -> None:
    """Defined, run, read and deleted; the run is a task."""
    await agent.remembered("Ana drinks green tea every morning.", user_id="ana")
    view = await agent.done("create_summary_view", source="long_term", group_by=["user_id"])
    summary = await agent.done("run_summary_view_partition", view_id=view["id"], group={"user_id": "ana"})
    assert "tea" in summary["summary"]
    task = await agent.done("run_summary_view", view_id=view["id"])
    await app.summary_work.run_due()
    assert (await agent.done("get_task", task_id=task["id"]))["status"] == "success"
    assert (await agent.done("list_tasks"))["tasks"][0]["id"] == task["id"]
    assert "only what failed for good can be replayed" in await agent.refused("replay_task", task_id=task["id"])
    assert (await agent.done("list_summary_view_partitions", view_id=view["id"]))["total"] == 1
    assert [each["id"] for each in (await agent.done("list_summary_views"))["views"]] == [view["id"]]
    assert (await agent.done("get_summary_view", view_id=view["id"]))["group_by"] == ["user_id"]
    await agent.done("delete_summary_view", view_id=view["id"])
    assert (await agent.done("list_summary_views"))["views"] == []


async def test_without_long_term_memory_the_tools_say_so() -> None:
    """A setting of the operator, not a failure; sessions work on."""
    async with running_app(background=False, long_term_memory=False) as running, conversing(running.app) as agent:
        assert await agent.refused("search_long_term_memory", text="x") == "Bad request: Long-term memory is disabled"
        await agent.done("set_working_memory", session_id="s")


async def test_a_credential_without_the_permission_may_not(app: MemoryApp) -> None:
    """Checked where the tool is called, whatever the transport let through."""
    async with conversing(app, tools="admin", caller=Principal(subject="nobody", permissions=frozenset())) as agent:
        result = await agent.call("get_current_datetime", {})
        assert result.is_error
        assert "needs the permission read" in text_of(result)
