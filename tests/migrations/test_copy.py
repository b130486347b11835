"""From one engine to another and back: everything is there, equal to the last bit, whatever happens on the way."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from agent_memory_server.app import open_app
from agent_memory_server.cli import cli
from agent_memory_server.cli.copy import carried
from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Permission, Scope, ScopeSelector
from agent_memory_server.domain.operations import (
    Delete,
    Effect,
    Embedded,
    Intent,
    Operation,
    OperationKind,
    Put,
    Supersede,
    TaskRequest,
)
from agent_memory_server.domain.past import PastRevision
from agent_memory_server.domain.sessions import SessionDraft, SessionGuard, Strategy
from agent_memory_server.domain.summary_views import Partition, SummaryView, ViewDraft, ViewSource
from agent_memory_server.domain.tokens import index_tokens
from agent_memory_server.domain.transfer import Kind, Mark, SessionRecord, ledger_name
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.stores import Stores
from agent_memory_server.ports.transfer import Item
from agent_memory_server.services.past_history import histories_told
from agent_memory_server.services.transfer_source import StoreSource
from agent_memory_server.stores.opening import open_stores
from agent_memory_server.transfers import open_copy, preview_copy
from tests.contract.stores.making import memory, message, operation, unit_vectors
from tests.forked_process import started
from tests.migrations.conftest import command, empty, keys_of
from tests.redis_server import RedisServer, running_redis
from tests.server_process import bare_environment
from tests.server_process import command as installed
from tests.setting_proofs.running import settings_of
from tests.waiting import wait_until

pytestmark = pytest.mark.long

NOW = datetime.now(UTC).replace(microsecond=0)
MINE = Scope(DEFAULT_TENANT, "work", "alice")


def now() -> datetime:
    return NOW


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("copies")) as started:
        yield started


@pytest.fixture
def target(server: RedisServer) -> Iterator[redis.Redis]:
    """An empty Redis."""
    with server.client() as client:
        empty(client)
        yield client


@pytest.fixture
async def file(tmp_path: Path) -> str:
    """A file with something of everything, in two tenants."""
    url = f"sqlite:///{tmp_path / 'first.db'}"
    stores = await open_stores(url, now=now)
    await fill(stores)
    await stores.engine.close()
    return url


async def fill(stores: Stores) -> None:
    await _fill_memories(stores)
    await _fill_sessions(stores)
    view = SummaryView(
        id="view",
        owner=ScopeSelector(DEFAULT_TENANT, "work"),
        created_at=NOW,
        created_by="somebody",
        draft=ViewDraft(source=ViewSource.LONG_TERM, group_by=("user_id",), filters={"topics": ["a"]}, continuous=True),
    )
    await stores.summary_views.add(view, views_max=5)
    summary = Partition(
        view_id="view", group={"user_id": "alice|ü"}, summary="S", memory_count=2, computed_at=NOW, fingerprint="f"
    )
    await stores.summary_views.put_partition(view, summary, sources=[key_of("m1")])
    await stores.access_tokens.digest_key(b"k" * 32)
    token = AccessToken(
        id="t1",
        description="mine",
        created_at=NOW,
        tenant="other",
        user_id="bob",
        permissions=frozenset({Permission.READ}),
        digest="ab" * 32,
    )
    await stores.access_tokens.add(token)


def key_of(memory_id: str) -> Any:
    return memory(memory_id, scope=MINE).key


async def _fill_memories(stores: Stores) -> None:
    vectors = unit_vectors(40)
    for tenant in (DEFAULT_TENANT, "other"):
        owner = replace(MINE, tenant=tenant)
        puts = [
            Put(
                memory=memory(
                    f"m{number}",
                    f"text {number} with “quotes”, 日本語 and 🙂",
                    scope=replace(owner, session_id=f"s{number}" if number % 2 else None),
                    topics=("a", "b c"),
                    metadata={"n": [number, {"deep": None}]},
                    pinned=number == 3,
                    event_date=NOW - timedelta(days=number, microseconds=7),
                    name="Ann",
                    extracted_from=("x", "y"),
                    trust=0.25,
                ),
                tokens=index_tokens(f"text {number}"),
                embedded=Embedded(model="m", vector=vectors[number]) if number % 3 else None,
            )
            for number in range(40)
        ]
        await stores.memories.commit(operation(*puts, tenant=tenant))
        supersede = Supersede(key=puts[4].memory.key, by="m5")
        await stores.memories.commit(operation(supersede, tenant=tenant, kind=OperationKind.MERGE))
        copy = Put(memory=replace(puts[1].memory, id="again"), tokens={"text": 1}, deduplicate=True)
        await stores.memories.commit(operation(copy, tenant=tenant))


async def _fill_sessions(stores: Stores) -> None:
    for number in range(6):
        scope = replace(MINE, session_id=f"session {number}")
        messages = tuple(
            message(f"m{each}", f"said {each}", created_at=NOW + timedelta(seconds=each), token_count=4)
            # More than is read in one go, in one of them.
            for each in range(1_200 if number == 0 else 5)
        )
        draft = SessionDraft(
            scope=scope,
            messages=messages,
            memories=(memory("waiting", scope=Scope(DEFAULT_TENANT)),),
            data={} if number == 1 else None if number == 2 else {"a": 1},
            context="",
            strategy=Strategy(name="summary", config={"length": 3}),
            ttl_seconds=3_600 if number == 3 else None,
        )
        intent = Intent(
            kind="run_delayed_extraction",
            key=scope.session_id or "",
            tenant=scope.tenant,
            namespace=scope.namespace,
            user_id=scope.user_id,
            payload={"session_id": scope.session_id},
            not_before=NOW + timedelta(days=1),
            task=TaskRequest(id=f"task {number}", owner=MINE) if number < 2 else None,
        )
        await stores.working_memory.replace(draft, at=NOW, epoch=f"life {number}", intents=(intent,))
        guard = SessionGuard(scope=scope, epoch=f"life {number}")
        await stores.working_memory.archive(
            guard, messages=messages[:2], context="so far", if_context="", tokens=2, at=NOW
        )
        await stores.working_memory.mark_extracted(guard, message_ids=[messages[0].id, messages[3].id])


async def held_by(url: str) -> dict[tuple[Kind, str], str]:
    """A digest of everything at a place, by its name."""
    stores = await open_stores(url, now=now)
    assert stores.holdings is not None
    source = StoreSource(stores, stores.holdings, now=now)
    found: dict[tuple[Kind, str], str] = {}
    for kind in Kind:
        after: str | None = None
        while True:
            portion = await source.walk(kind, after=after, limit=7)
            for item in portion.records:
                assert isinstance(item, Item)
                messages = [*item.messages]
                while isinstance(item.record, SessionRecord) and item.more:
                    more = await source.messages(item.record, after=messages[-1].sequence, limit=500)
                    messages += more
                    if not more:
                        break
                mark = Mark(item.record)
                for part in messages:
                    mark.add(part)
                found[(kind, item.ref)] = mark.text()
            after = portion.next
            if after is None:
                break
    await stores.engine.close()
    return found


async def copied(from_url: str, to_url: str, **options: Any) -> dict[str, Any]:
    """The command in this process."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        async with open_copy(from_url, to_url, now=now, **options) as transfer:
            return await carried(transfer, verify=True, as_json=True)


async def test_a_round_trip_is_identical(file: str, target: redis.Redis, server: RedisServer, tmp_path: Path) -> None:
    """SQLite to Redis to SQLite: records, vectors, messages, marks, work and tokens, equal to the last bit."""
    back = f"sqlite:///{tmp_path / 'back.db'}"
    assert (await copied(file, server.url))["done"]
    assert (await copied(server.url, back))["done"]
    first, between, last = [await held_by(url) for url in (file, server.url, back)]
    # The target asks for the vectors that are missing.
    asked = {name for name in between if name[0] is Kind.WORK} - first.keys()
    assert {name[1].split('"')[3] for name in asked} == {"embed_memories"}
    for name in asked:
        del between[name]
        del last[name]
    assert first == between
    assert first == last
    assert len([name for name in first if name[0] is Kind.MEMORIES]) == 82


async def test_histories_go_along_and_what_happens_later_follows(
    file: str, target: redis.Redis, server: RedisServer
) -> None:
    """Edits, merges and what was forgotten are told in the target too, and again after a change in the source; both verified."""
    mine: dict[str, Any] = {"tenant": DEFAULT_TENANT}
    edited = memory("m1", "an edit", scope=MINE)
    put = Put(memory=edited, tokens={"edit": 1})
    forgotten = Delete(key=key_of("m7"), scrub=False)
    await _committed(file, operation(put, kind=OperationKind.EDIT, **mine))
    await _committed(file, operation(forgotten, kind=OperationKind.FORGET, **mine))
    assert (await copied(file, server.url))["verification"]["passed"]
    here, there = await _histories(file), await _histories(server.url)
    assert here == there
    assert [revision.kind for revision in here["m1"]] == [OperationKind.CREATE, OperationKind.EDIT]
    assert [revision.effect for revision in here["m7"]] == [Effect.CREATED, Effect.DELETED]
    again = replace(put, memory=replace(edited, text="another"))
    await _committed(file, operation(again, kind=OperationKind.EDIT, **mine))
    assert (await copied(file, server.url))["verification"]["passed"]
    here, there = await _histories(file), await _histories(server.url)
    assert here == there
    assert [revision.before and revision.before.text for revision in here["m1"]][2:] == ["an edit"]


async def _committed(url: str, asked: Operation) -> None:
    stores = await open_stores(url, now=now)
    await stores.memories.commit(asked)
    await stores.engine.close()


async def _histories(url: str) -> dict[str, Sequence[PastRevision]]:
    """What is told of some memories."""
    stores = await open_stores(url, now=now)
    found = await histories_told(stores.journal, [key_of(name) for name in ("m1", "m4", "m5", "m7", "again")])
    await stores.engine.close()
    return {record.memory_key.id: record.revisions for record in found}


async def test_a_server_on_the_copy_goes_on(
    file: str, target: redis.Redis, server: RedisServer, tmp_path: Path
) -> None:
    """Search, appends and deletion with its copies work as before, and ETags of sessions hold."""
    await copied(file, server.url)
    etags: list[str] = []
    for url in (file, server.url):
        async with open_app(settings_of(tmp_path, storage_url=url)) as app:
            view = await app.working_memory.get(ANONYMOUS, session_id="session 1", namespace="work", user_id="alice")
            etags.append(view.session.etag)
            assert await app.memories.delete(ANONYMOUS, memory_ids=["m1"]) == 1
            # Its copy went with it, and so did the summary that was made of it.
            assert not await app.memories.delete(ANONYMOUS, memory_ids=["again"])
            page = await app.summary_views.partitions(ANONYMOUS, view_id="view", where={}, limit=5)
            assert [each.summary for each in page.partitions] == [""]
    assert etags[0] == etags[1]


async def test_what_changed_meanwhile_follows(
    file: str, target: redis.Redis, server: RedisServer, tmp_path: Path
) -> None:
    """A second run carries changes and deletions of the source, and leaves those of the target."""
    await copied(file, server.url)
    async with open_app(settings_of(tmp_path, storage_url=file)) as app:
        await app.memories.delete(ANONYMOUS, memory_ids=["m7"])
        await app.working_memory.append(
            ANONYMOUS, session_id="session 2", messages=[message("more", created_at=app.now())], namespace="work",
            user_id="alice",
        )  # fmt: skip
    async with open_app(settings_of(tmp_path, storage_url=server.url)) as app:
        await app.memories.delete(ANONYMOUS, memory_ids=["m8"])
        await app.working_memory.delete(ANONYMOUS, session_id="session 4", namespace="work", user_id="alice")
    told = await copied(file, server.url)
    kinds = told["transfer"]["kinds"]
    assert (kinds["memories"]["removed"], kinds["memories"]["carried"]) == (1, 0)
    assert (kinds["sessions"]["carried_again"], kinds["sessions"]["carried"]) == (1, 0)
    assert told["verification"]["kinds"]["memories"]["deleted_since"] == 1
    assert told["verification"]["kinds"]["sessions"]["deleted_since"] == 1
    found = await held_by(server.url)
    assert (Kind.MEMORIES, json.dumps([DEFAULT_TENANT, "work", "alice", "m7"])) not in found
    assert (Kind.MEMORIES, json.dumps([DEFAULT_TENANT, "work", "alice", "m8"])) not in found


async def test_a_session_that_was_half_written_is_written_again(file: str, tmp_path: Path) -> None:
    """A crash between the messages of a long session leaves a part, which is not taken for somebody else's session."""
    to_url = f"sqlite:///{tmp_path / 'copy.db'}"
    stores = await open_stores(file, now=now)
    assert stores.holdings is not None
    record = await stores.holdings.session(replace(MINE, session_id="session 0"), now=NOW)
    await stores.engine.close()
    assert record is not None
    async with open_copy(file, to_url, now=now) as transfer:
        await transfer.note(begun_at=NOW.isoformat())
        name = ledger_name(json.dumps(list(record.key)))
        await transfer.ledger.note(transfer.name, Kind.SESSIONS.value, {name: "writing"})
    stores = await open_stores(to_url, now=now)
    assert stores.holdings is not None
    await stores.holdings.put_session(record, ())
    await stores.engine.close()
    told = await copied(file, to_url)
    assert told["done"]
    assert await held_by(to_url) == await held_by(file) | {
        name: mark for name, mark in (await held_by(to_url)).items() if "embed_memories" in name[1]
    }


async def test_a_copy_that_differs_is_not_called_done(file: str, tmp_path: Path) -> None:
    """What was lost in the target, and what was changed behind its back, is found."""
    to_url = f"sqlite:///{tmp_path / 'copy.db'}"
    await copied(file, to_url)
    stores = await open_stores(to_url, now=now)
    await stores.engine.close()
    with sqlite3.connect(tmp_path / "copy.db") as connection:
        connection.execute("DELETE FROM memories WHERE id = 'm9'")
        connection.execute("UPDATE memories SET text = 'forged' WHERE id = 'm10' AND tenant_id = 1")
        connection.execute(
            "UPDATE vectors SET vector = zeroblob(256) WHERE handle = (SELECT max(handle) - 1 FROM vectors)"
        )
    told = await copied(file, to_url)
    assert not told["done"]
    problems = told["verification"]["kinds"]["memories"]
    assert problems["problems"] == 4
    said = " ".join(problems["examples"])
    assert "not in the target" in said
    assert "its content differs" in said
    assert "its vector of m differs" in said


async def test_refusals_write_nothing(file: str, target: redis.Redis, server: RedisServer, tmp_path: Path) -> None:
    """The same place, a source that is not there, one of the reference server, other people's, and a target in use."""
    same = file.replace("first.db", "./first.db")
    with pytest.raises(ConfigurationError, match="are the same place"):
        await copied(file, same)
    with pytest.raises(ConfigurationError, match="are the same place"):
        await copied(server.url, server.url.replace("127.0.0.1", "localhost"))
    missing = f"sqlite:///{tmp_path / 'missing.db'}"
    with pytest.raises(ConfigurationError, match="holds no data of this server"):
        await copied(missing, file)
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "text.db").write_text("not a database, but a text that is long enough to be looked at " * 20)
    with pytest.raises(ConfigurationError):
        await copied(f"sqlite:///{tmp_path / 'text.db'}", missing)
    target.set("shop:basket", "bread")
    with pytest.raises(ConfigurationError, match="another application"):
        await copied(file, server.url)
    target.set("working_memory:x", "{}")
    with pytest.raises(ConfigurationError, match="migrate-memories"):
        await copied(file, server.url)
    with pytest.raises(ConfigurationError, match="migrate-memories --from"):
        await copied(server.url, missing)
    assert keys_of(target, ours=True) == set()
    empty(target)
    used = f"sqlite:///{tmp_path / 'used.db'}"
    async with open_app(settings_of(tmp_path, storage_url=used)) as app:
        await app.memories.create(ANONYMOUS, [memory("m1", "mine", scope=MINE)])
    with pytest.raises(ConfigurationError, match="not empty: it holds 1 memories"):
        await copied(file, used)
    told = await copied(file, used, merge=True)
    assert told["transfer"]["kinds"]["memories"]["kept"] == 1
    preview = await preview_copy(file, used)
    assert (preview.source[Kind.MEMORIES], preview.target[Kind.MEMORIES]) == (82, 82)


async def test_tokens_of_another_key_are_not_carried(file: str, tmp_path: Path) -> None:
    """They could never be recognised there, and it is said."""
    to_url = f"sqlite:///{tmp_path / 'keyed.db'}"
    stores = await open_stores(to_url, now=now)
    await stores.access_tokens.digest_key(b"z" * 32)
    await stores.engine.close()
    outcome = await asyncio.to_thread(
        CliRunner().invoke, cli, ["copy", "--from", file, "--to", to_url], catch_exceptions=False
    )
    assert "access tokens were not copied" in outcome.output
    assert outcome.exit_code == 0
    assert not [name for name in await held_by(to_url) if name[0] is Kind.TOKENS]


async def test_a_redis_that_restarts_is_waited_for(file: str, tmp_path: Path) -> None:
    """An outage of some seconds is no reason to begin again: nothing is lost or counted twice."""
    with running_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as server:
        async with open_copy(file, server.url, now=now, batch=5) as transfer:
            running = asyncio.create_task(carried(transfer, verify=True, as_json=True))
            with server.client() as client:
                begun = lambda: command(client, "KEYS", "{ams}:m:*")  # noqa: E731
                await asyncio.to_thread(wait_until, begun, "nothing was copied", 30)
            server.kill()
            await asyncio.to_thread(server.start)
            told = await running
    assert told["done"]
    assert told["transfer"]["kinds"]["memories"]["carried"] >= 77


def test_killed_in_the_middle_it_goes_on(target: redis.Redis, server: RedisServer, tmp_path: Path) -> None:
    """kill -9 while it copies; the next run ends it, and both sides are equal."""
    url = f"sqlite:///{tmp_path / 'large.db'}"
    asyncio.run(_large(url))
    process = started(
        [installed(), "copy", "--from", url, "--to", server.url],
        bare_environment(tmp_path),
        folder=tmp_path,
        log=tmp_path / "log",
    )
    wait_until(lambda: len(command(target, "KEYS", "{ams}:m:*")) > 400, "it copied nothing", 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    outcome = CliRunner().invoke(cli, ["copy", "--from", url, "--to", server.url], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    assert outcome.output.startswith("Going on with the copy")
    assert "3,000 in the source, 3,000 in the target: 3,000 equal" in outcome.output


async def _large(url: str) -> None:
    stores = await open_stores(url, now=now)
    for first in range(0, 3_000, 500):
        puts = [
            Put(memory=memory(f"m{number}", f"text {number}", scope=MINE), tokens={"text": 1})
            for number in range(first, first + 500)
        ]
        await stores.memories.commit(operation(*puts, tenant=DEFAULT_TENANT))
    await stores.engine.close()
