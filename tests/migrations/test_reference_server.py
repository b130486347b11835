"""A Redis of the reference server, taken over in place: the published client reads everything as the old data says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from agent_memory_client import MemoryAPIClient, MemoryClientConfig
from agent_memory_client.filters import Namespace, UserId

from tests.cli.commands import CommandLine
from tests.migrations import reference_layout
from tests.migrations.reference_layout import T0, TOKEN, moment
from tests.redis_server import RedisServer
from tests.server_process import ServerProcess
from tests.waiting import wait_until

VIEW = "01JAVIEW000000000000000000"
UNREADABLE = {
    "memory_idx:ghost": "it has no text",
    "memory_idx:bad-json": "metadata is not JSON",
    "memory_idx:bad-text": "text is not UTF-8",
    "working_memory:who:knows": "which session of whom",
    "working_memory:broken": "messages[0].content is not text",
    "summary_view:01JAGONE000000000000000000:summary:user_id=bob": "its summary view is not there",
}


class Migrated:
    """A server that was started before the migration, and what the command said."""

    def __init__(self, server: ServerProcess, line: CommandLine, refusals: list[httpx.Response], said: str) -> None:
        self.server = server
        self.line = line
        self.refusals = refusals
        self.said = said

    def client(self) -> MemoryAPIClient:
        return MemoryAPIClient(MemoryClientConfig(base_url=self.server.url))


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migrated]:
    """A server in front of the reference server's Redis, the migration beside it, and the same server after it."""
    folder = tmp_path_factory.mktemp("migrated")
    database = RedisServer(folder)
    database.load_json()
    database.start()
    with database.client() as client:
        reference_layout.fill(client)
    environment = {"REDIS_URL": database.url, "USE_DOCKET": "false"}
    line = CommandLine(folder=folder, environment=environment)
    server = ServerProcess(folder / "data", environment=environment)
    server.launch()
    try:
        wait_until(lambda: _answers(server), "the server does not run", 30)
        with server.client() as http:
            refusals = [
                http.get("/v1/working-memory/chat"),
                http.get("/v1/long-term-memory/full"),
                http.post("/v1/long-term-memory/search", json={"text": "tea"}),
                http.put("/v1/working-memory/chat", json={"messages": []}),
                http.get("/v1/ready"),
            ]
        said = line.done("migrate-memories", "--verify")
        server.await_ready()
        yield Migrated(server, line, refusals, said)
    finally:
        server.kill()
        database.kill()


def _answers(server: ServerProcess) -> bool:
    try:
        with server.client() as http:
            return http.get("/v1/health").status_code == 200
    except httpx.TransportError:
        return False


def test_before_it_every_call_names_the_command(migrated: Migrated) -> None:
    """503, never an empty page and never a session that is not there; and afterwards the same process serves."""
    for answer in migrated.refusals:
        assert answer.status_code == 503
        assert "agent-memory migrate-memories" in answer.text
    with migrated.server.client() as http:
        assert http.get("/v1/ready").status_code == 200


@pytest.mark.filterwarnings("ignore:get_working_memory is deprecated:DeprecationWarning")
async def test_sessions_are_those_of_the_documents(migrated: Migrated) -> None:
    """Owner, messages with times and marks, context, data, strategy and structured memories; older forms as well."""
    async with migrated.client() as client:
        listed = await client.list_sessions(limit=100)
        assert sorted(listed.sessions) == ["b:c", "chat", "old", "plain", "same"]
        assert listed.total == 5
        _, chat = await client.get_or_create_working_memory("chat", user_id="Ann", namespace="home")
        assert [(each.id, each.role, each.content) for each in chat.messages] == [
            ("m1", "user", "I like green tea"),
            ("m2", "assistant", "Noted"),
            ("m3", "user", "And coffee at night"),
        ]
        assert [each.created_at for each in chat.messages] == [moment(T0 + after) for after in (1, 2.5, 4)]
        assert chat.context == "They talked about tea."
        assert chat.data == {"step": 2, "nested": {"a": [None, True]}}
        assert (chat.tokens, chat.ttl_seconds) == (42, 3600)
        assert chat.long_term_memory_strategy.strategy == "preferences"
        assert [each.id for each in chat.memories] == ["sm1", "sm2"]
        _, old = await client.get_or_create_working_memory("old", user_id="Bob")
        assert [each.content for each in old.messages] == ["from an older version"]
        _, ambiguous = await client.get_or_create_working_memory("same", user_id="x")
        assert ambiguous.user_id == "x"
        assert ambiguous.namespace is None
        _, colons = await client.get_or_create_working_memory("b:c", namespace="a")
        assert [each.content for each in colons.messages] == ["one", "two"]
    with migrated.server.client() as http:
        assert http.get("/v1/working-memory/migration:complete").status_code == 404


async def test_memories_are_those_of_the_hashes(migrated: Migrated) -> None:
    """Every field, whatever version wrote the hash."""
    async with migrated.client() as client:
        full = await client.get_long_term_memory("full")
        assert full.text == "Ann drinks green tea in the morning"
        assert (full.user_id, full.namespace, full.session_id) == ("Ann", "home", "chat")
        assert (full.topics, full.entities, full.extracted_from) == (["drinks", "habits"], ["Ann"], ["m1", "m2"])
        assert (full.memory_type.value, full.memory_hash) == ("episodic", "hash-of-full")
        assert full.event_date == moment(T0 - 3_600.5)
        assert (full.created_at, full.updated_at) == (moment(T0), moment(T0 + 2.25))
        assert full.persisted_at == moment(T0 + 1)
        with migrated.server.client() as http:
            found = http.get("/v1/long-term-memory/full").json()
        assert found["pinned"]
        # A search of another test may have been one more.
        assert found["access_count"] >= 7
        bars = await client.get_long_term_memory("bars")
        assert (bars.topics, bars.entities) == (["red", "green"], ["A", "B"])
        assert (await client.get_long_term_memory("empty")).text == ""
        ownerless = await client.get_long_term_memory("ownerless")
        assert (ownerless.user_id, ownerless.namespace) == (None, None)
        assert (ownerless.memory_type.value, ownerless.discrete_memory_extracted) == ("message", "f")
        assert len((await client.get_long_term_memory("no-hash")).memory_hash or "") == 64


async def test_search_finds_them_in_their_scope(migrated: Migrated) -> None:
    """By words and by meaning; another owner's are not there, and ids tell cases apart."""
    async with migrated.client() as client:
        found = await client.search_long_term_memory(
            "green tea", user_id=UserId(eq="Ann"), namespace=Namespace(eq="home")
        )
        assert "full" in [each.id for each in found.memories]
        assert {each.user_id for each in found.memories} == {"Ann"}
        lower = await client.search_long_term_memory("", user_id=UserId(eq="ann"))
        assert [each.id for each in lower.memories] == ["no-hash"]
        comma = await client.search_long_term_memory("any form", user_id=UserId(eq="o'Brien, Pat"))
        assert [each.id for each in comma.memories] == ["id/with:colons, commas|ü"]
        prompt = await client.memory_prompt("tea?", session_id="chat", namespace="home", user_id="Ann")
        assert "They talked about tea." in json.dumps(prompt)


async def test_views_with_their_summaries_and_tasks(migrated: Migrated) -> None:
    """A summary of a group of any name; a run that had not ended begins anew."""
    async with migrated.client() as client:
        (view,) = await client.list_summary_views()
        assert (view.id, view.name, view.continuous, view.group_by) == (VIEW, "by user", True, ["user_id"])
        task = await client.get_task("task-done")
        assert task is not None
        assert str(getattr(task.status, "value", task.status)) == "success"
        with migrated.server.client() as http:
            done = lambda: http.get("/v1/tasks/task-open").json()["status"] == "success"  # noqa: E731
            wait_until(done, "the run that had not ended was not made", 20)
            kept = http.get(f"/v1/summary-views/{VIEW}/partitions", params={"user_id": "ann|e=x"}).json()
        # The run found no memory of this user any more.
        assert [each["group"] for each in kept] == [{"user_id": "ann|e=x"}]


def test_tokens_of_the_reference_server_open_the_door(migrated: Migrated) -> None:
    """Verified by their bcrypt hash once; others stay out."""
    environment = {**migrated.line.environment, "AUTH_MODE": "token"}
    with (
        ServerProcess(migrated.line.folder / "with-tokens", environment=environment) as server,
        server.client() as http,
    ):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert http.get("/v1/long-term-memory/full", headers=headers).status_code == 200
        assert http.get("/v1/long-term-memory/full").status_code == 401
        headers = {"Authorization": f"Bearer {TOKEN}x"}
        assert http.get("/v1/long-term-memory/full", headers=headers).status_code == 401


def test_what_cannot_be_read_is_said_and_stays(migrated: Migrated) -> None:
    """One line each with the reason; no token's hash is in it."""
    path = migrated.line.folder / "migrate-memories-quarantine.ndjson"
    told = {line["key"]: line["reason"] for line in map(json.loads, path.read_text().splitlines())}
    assert told.keys() == UNREADABLE.keys()
    for key, reason in UNREADABLE.items():
        assert reason in told[key]
    assert "$2" not in path.read_text()
    assert "3 could not be read" in migrated.said
    assert "2 keys of other applications are left alone" in migrated.said
