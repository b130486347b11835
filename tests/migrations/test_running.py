"""How a migration runs: again, interrupted, beside live writes, into other stores, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import redis

from agent_memory_server.app import open_app
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, Scope, ScopeSelector
from agent_memory_server.domain.records import MemoryKey
from agent_memory_server.domain.transfer import Kind
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.migrations import DoorOptions
from agent_memory_server.services.memories import MemoryPatch
from tests.cli.commands import CommandLine
from tests.contract.stores.making import T0, memory
from tests.forked_process import started
from tests.migrations import reference_layout
from tests.migrations.conftest import Migration, command, empty, keys_of
from tests.migrations.reference_layout import put_memory, put_session, session_document
from tests.redis_server import RedisServer, running_redis
from tests.server_process import bare_environment
from tests.server_process import command as installed
from tests.waiting import wait_until

pytestmark = pytest.mark.long


async def test_a_second_run_changes_nothing(filled: redis.Redis, migration: Migration) -> None:
    """Twice is once: every key of ours holds the same."""
    await migration.said()
    before = {key: command(filled, "DUMP", key) for key in keys_of(filled, ours=True)}
    told = await migration.told()
    kinds = told["transfer"]["kinds"]
    assert {kind: each["carried"] + each["carried_again"] for kind, each in kinds.items()} == dict.fromkeys(kinds, 0)
    after = {key: command(filled, "DUMP", key) for key in keys_of(filled, ours=True)}
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed <= {"{ams}:transfers", "{ams}:probe", "{ams}:clock"}


async def test_a_dry_run_writes_no_data(filled: redis.Redis, migration: Migration) -> None:
    """It reads everything and says what a run would carry; sessions alone are read alone."""
    before = keys_of(filled, ours=False)
    said = await migration.said(dry_run=True)
    assert "Would carry over" in said
    assert "10, 3 that cannot be read" in said
    assert "1 with tags that are separated by bars" in said
    assert len(migration.quarantined()) == 6
    alone = await migration.said(dry_run=True, kinds=(Kind.SESSIONS,))
    assert "1 in the older form (a string)" in alone
    assert "memories " not in alone
    assert keys_of(filled, ours=False) == before
    assert not keys_of(filled, ours=True)


async def test_nobody_is_served_before_everything_is_there(filled: redis.Redis, migration: Migration) -> None:
    """Sessions alone leave the bar down; what comes next lifts it."""
    said = await migration.said(kinds=(Kind.SESSIONS,))
    assert "Run agent-memory migrate-memories for everything else" in said
    async with open_app(migration.settings) as app:
        readiness = await app.readiness.check()
        assert "agent-memory migrate-memories" in str(readiness)
    await migration.said()
    assert "full" in await migration.memories()
    assert filled.exists("{ams}:migrating") == 0


async def test_what_was_done_here_since_stays(filled: redis.Redis, migration: Migration) -> None:
    """Another run neither brings back what was deleted nor undoes an edit; a comparison tells it from a loss."""
    await migration.said()
    async with open_app(migration.settings) as app:
        await app.memories.delete(ANONYMOUS, memory_ids=["full"])
        await app.memories.edit(ANONYMOUS, memory_id="bars", patch=MemoryPatch(changes={"text": "edited here"}))
        await app.working_memory.delete(ANONYMOUS, session_id="plain")
    put_memory(filled, "bars", "edited there too", user_id="Ann")
    told = json.loads(await migration.said(complete=False, as_json=True, verify=True))
    assert told["transfer"]["kinds"]["memories"]["kept"] == 1
    assert "changed in the source since" in str(told["verification"]["kinds"]["memories"]["examples"])
    found = await migration.memories()
    assert "full" not in found
    assert found["bars"].text == "edited here"
    reference_layout.put_memory(
        filled, "bars", "Bars between tags", topics="red|green", entities="A | B|", user_id="Ann"
    )
    compared = (await migration.told(verify=True))["verification"]
    assert compared["passed"]
    assert (compared["kinds"]["memories"]["changed_since"], compared["kinds"]["memories"]["deleted_since"]) == (1, 1)
    assert compared["kinds"]["sessions"]["deleted_since"] == 1


async def test_what_the_reference_server_wrote_since_is_carried(filled: redis.Redis, migration: Migration) -> None:
    """It may go on until the last run: new, changed and deleted records follow."""
    await migration.said()
    put_memory(filled, "new", "came later")
    put_memory(filled, "no-hash", "changed later", memory_hash="h", user_id="ann")
    filled.delete("memory_idx:ownerless", "working_memory:plain")
    put_session(filled, "working_memory:fresh", session_document("fresh"))
    kinds = (await migration.told(verify=True))["transfer"]["kinds"]
    assert {name: kinds["memories"][name] for name in ("carried", "carried_again", "removed")} == {
        "carried": 1,
        "carried_again": 1,
        "removed": 1,
    }
    assert (kinds["sessions"]["carried"], kinds["sessions"]["removed"]) == (1, 1)
    found = await migration.memories()
    assert found["no-hash"].text == "changed later"
    assert "new" in found
    assert "ownerless" not in found


async def test_an_emptied_redis_takes_nothing_along(filled: redis.Redis, migration: Migration, tmp_path: Path) -> None:
    """Old keys that are all gone are no deletions."""
    elsewhere = migration.to(f"sqlite:///{tmp_path / 'taken.db'}")
    await elsewhere.said()
    for key in command(filled, "KEYS", "memory_idx:*"):
        filled.delete(key)
    assert (await elsewhere.told())["transfer"]["kinds"]["memories"]["removed"] == 0


async def test_pruning_removes_what_was_carried_and_nothing_else(filled: redis.Redis, migration: Migration) -> None:
    """Not before a comparison has passed; unreadable records, changed ones and other applications' keys stay."""
    with pytest.raises(ConfigurationError, match="--verify"):
        await migration.said(prune=True)
    assert not keys_of(filled, ours=True)
    await migration.said()
    with pytest.raises(ConfigurationError, match="--verify"):
        await migration.said(prune=True)
    await migration.said(verify=True)
    put_memory(filled, "bars", "changed since", user_id="Ann")
    unreadable = set(migration.quarantined())
    assert "9 old keys, 4 left" in await migration.said(prune=True)
    kept = {"memory_idx_backup", "shop:basket:1", "task:of-another-application", "memory_idx:bars", *unreadable}
    left = keys_of(filled, ours=False)
    assert left >= kept
    # Lists and timers stay while records do.
    assert not [key for key in left - kept if key.startswith(("memory_idx", "auth_token:", "working_memory:home"))]
    # The keys that are gone now are no deletions.
    await migration.said()
    assert len(await migration.memories()) == 10


async def test_nothing_is_left_when_everything_was_read(old: redis.Redis, migration: Migration) -> None:
    """Then the lists and the search indexes go too, and there is nothing more to migrate."""
    reference_layout.make_indexes(old)
    put_memory(old, "one", "all fine")
    put_session(old, "working_memory:s", session_document("s"))
    await migration.said(verify=True)
    assert "Nothing of the reference server's records is left" in await migration.said(prune=True)
    assert not keys_of(old, ours=False)
    assert b"memory_records" not in command(old, "FT._LIST")
    with pytest.raises(ConfigurationError, match="no data of the reference server"):
        await migration.said()


async def test_other_prefixes_are_found_by_their_index(old: redis.Redis, migration: Migration) -> None:
    """REDISVL_INDEX_NAME and REDISVL_INDEX_PREFIX may have been set and be forgotten now; named, they need no index."""
    reference_layout.make_indexes(old, name="mine", prefix="agents:mem")
    put_memory(old, "a:1", "under another prefix", prefix="agents:mem")
    put_session(old, "working_memory:s", session_document("s"))
    await migration.said()
    assert list(await migration.memories()) == ["a:1"]
    empty(old)
    put_memory(old, "b", "without an index", prefix="other")
    put_session(old, "working_memory:s", session_document("s"))
    named = replace(migration, settings=migration.settings.model_copy(update={"redisvl_index_prefix": "other"}))
    await named.said()
    assert list(await named.memories()) == ["b"]


async def test_into_a_file_and_into_another_redis(filled: redis.Redis, migration: Migration, tmp_path: Path) -> None:
    """The old Redis is only read; both targets hold the same, names with spaces included."""
    before = keys_of(filled, ours=False)
    file = f"sqlite:///{tmp_path / 'taken%20over.db'}"
    assert "10 equal" in await migration.to(file).said(verify=True)
    assert (tmp_path / "taken over.db").exists()
    with running_redis(tmp_path) as other:
        assert "10 equal" in await migration.to(other.url).said(verify=True)
        found = [await migration.memories(storage_url=url) for url in (file, other.url)]
    texts = [{memory.id: (memory.text, memory.scope, memory.topics) for memory in each.values()} for each in found]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 10
    assert keys_of(filled, ours=False) == before
    assert not keys_of(filled, ours=True)


async def test_vectors_of_the_configured_model_are_kept(old: redis.Redis, migration: Migration) -> None:
    """Made unit-length; other sizes and other models are embedded anew."""
    reference_layout.make_indexes(old)
    put_memory(old, "same", "of the model", vector=reference_layout.vector(1))
    put_memory(old, "other", "of another size", vector=reference_layout.vector(1, 384))
    put_memory(old, "zero", "of no direction", vector=np.zeros(reference_layout.DIMENSIONS, dtype="<f4").tobytes())
    settings = migration.settings.model_copy(update={"embedding_model": "openai/text-embedding-3-small"})
    said = await replace(migration, settings=settings).said(verify=True)
    assert "Vectors of 1536 dimensions are taken as those of text-embedding-3-small" in said
    stores = await migration.stores()
    assert stores.holdings is not None
    keys = [MemoryKey(DEFAULT_TENANT, None, None, name) for name in ("same", "other", "zero")]
    same, other, zero = await stores.holdings.memories(keys)
    assert same is not None
    assert other is not None
    assert zero is not None
    (kept,) = same.vectors
    assert kept.model == "text-embedding-3-small"
    assert kept.vector is not None
    drawn = np.frombuffer(reference_layout.vector(1), dtype="<f4")
    assert np.allclose(kept.vector, drawn / np.linalg.norm(drawn), atol=1e-6)
    assert (other.vectors, zero.vectors) == ((), ())
    waiting = await stores.outbox.pending(ScopeSelector(DEFAULT_TENANT), now=T0)
    assert waiting.pending == 1
    await stores.engine.close()


async def test_times_to_live_and_pending_work_go_along(filled: redis.Redis, migration: Migration) -> None:
    """What would have vanished still will; what the old worker had not done is asked for here."""
    await migration.said()
    stores = await migration.stores()
    assert stores.holdings is not None
    scope = Scope(DEFAULT_TENANT, "home", "Ann", "chat")
    lives_ms = command(filled, "PTTL", "working_memory:home:Ann:chat")
    async with open_app(migration.settings) as app:
        now = app.now()
    record = await stores.holdings.session(scope, now=now)
    assert record is not None
    assert record.expires_at is not None
    assert abs(record.expires_at - now - timedelta(milliseconds=lives_ms)) < timedelta(seconds=30)
    work = (await stores.holdings.walk_work(after=None, limit=100)).records
    asked = {(each.kind, each.name) for each in work}
    assert ("promote_working_memory_to_long_term", "chat") in asked
    assert ("run_delayed_extraction", "chat") in asked
    await stores.engine.close()


async def test_memories_that_only_the_queue_holds_are_not_forgotten(filled: redis.Redis, migration: Migration) -> None:
    """The reference server acknowledged them before it stored them: nobody is served until its worker is done with them, or
    an operator takes them out, into the report."""
    pickled = b"\x80\x05\x8c\x1aagent_memory_server.models\x94\x8c\x0cMemoryRecord\x94\x93\x94 Ann likes plums"
    stream = "memory-server:stream"
    command(filled, "XGROUP", "CREATE", stream, "docket-workers", "$", "MKSTREAM")
    command(filled, "XADD", stream, "*", "function", "index_long_term_memories", "args", pickled, "kwargs", "")
    command(
        filled, "XADD", stream, "*", "function", "compact_long_term_memories", "args", b"\x80\x05)\x94.", "kwargs", ""
    )
    command(
        filled, "HSET", "memory-server:later", "function", "extract_memory_structure", "args", "", "kwargs", pickled
    )
    assert "2 tasks in the reference server's queue" in await migration.said(dry_run=True)
    said = await migration.said(complete=False)
    assert "2 tasks in the reference server's queue" in said
    assert filled.exists("{ams}:migrating")
    said = await migration.said(discard_queue=True)
    assert "2 tasks were taken out" in said
    assert command(filled, "XLEN", stream) == 1
    assert filled.exists("memory-server:later") == 0
    lines = [json.loads(line) for line in (migration.folder / "quarantine.ndjson").read_text().splitlines()]
    kept = [
        base64.b64decode(line["found"]["arguments_base64"]) for line in lines if "arguments_base64" in line["found"]
    ]
    assert kept == [pickled, pickled]
    assert not filled.exists("{ams}:migrating")


async def test_live_writes_meanwhile(old: redis.Redis, migration: Migration) -> None:
    """The old server writes while records are carried: nothing that it wrote before the last run is missing."""
    for number in range(300):
        put_memory(old, f"m{number}", f"text {number}", vector=None)
    writing = True

    async def write() -> int:
        number = 300
        while writing:
            put_memory(old, f"m{number}", f"text {number}", vector=None)
            number += 1
            await asyncio.sleep(0.001)
        return number

    writer = asyncio.create_task(write())
    told = json.loads(await migration.said(complete=False, as_json=True))
    writing = False
    written = await writer
    assert told["transfer"]["settled"] is False
    assert old.exists("{ams}:migrating")
    told = await migration.told(verify=True)
    assert told["verification"]["kinds"]["memories"]["equal"] == written


def test_killed_at_any_point_it_goes_on(old: redis.Redis, migration: Migration) -> None:
    """kill -9 in the middle, twice: each run goes on, and at the end everything is there once."""
    pipeline = old.pipeline(transaction=False)  # pyright: ignore[reportUnknownMemberType]
    for number in range(3_000):
        fields = reference_layout.memory_fields(f"m{number}", f"text {number}", vector=None)
        pipeline.hset(f"memory_idx:m{number}", mapping=fields)  # pyright: ignore[reportUnknownMemberType]
    pipeline.execute()
    put_session(old, "working_memory:s", session_document("s", messages=[reference_layout.message("m", "user", "hi")]))
    environment = bare_environment(migration.folder, {"REDIS_URL": migration.settings.redis_url or ""})
    for beyond in (200, 1_200):
        process = started(
            [installed(), "migrate-memories"], environment, folder=migration.folder, log=migration.folder / "log"
        )
        wait_until(lambda beyond=beyond: len(command(old, "KEYS", "{ams}:m:*")) > beyond, "it carried nothing", 60)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert old.exists("{ams}:migrating")
    told = asyncio.run(migration.told(verify=True))
    assert told["done"]
    compared = told["verification"]["kinds"]["memories"]
    assert (compared["source"], compared["target"], compared["equal"]) == (3_000, 3_000, 3_000)


REFUSALS: dict[str, tuple[str, str | None, str]] = {
    "a scheme that nobody knows": ("mysql://me:secret@host/db", None, "names no engine"),
    "a file as source": ("sqlite:////var/memory.db", None, "kept its data in a Redis"),
    "a target that nobody knows": ("{base}/0", "postgres://me:secret@host", "names no engine"),
    "a target that is a folder": ("{base}/0", "sqlite:///{folder}", "is a folder"),
    "a database that cannot be searched": ("{base}/3", None, "database 0"),
    "wrong credentials": ("redis://me:secret@{host}/0", None, "refuses the user name or password"),
    "nothing of the reference server": ("{base}/0", None, "no data of the reference server"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_what_cannot_be_done_is_refused_in_a_sentence(
    case: str, old: redis.Redis, migration: Migration, reference_redis: RedisServer
) -> None:
    """It says what is wrong, without a password, and nothing is written."""
    old.set("task:of-another-application", "summary_view_full_run")
    base = reference_redis.url.removesuffix("/0")
    from_url, to_url, said = REFUSALS[case]
    if to_url is not None:
        put_memory(old, "m", "x")
    before = keys_of(old, ours=False)
    named = {"base": base, "host": base.removeprefix("redis://"), "folder": str(migration.folder)}
    options = DoorOptions(from_url=from_url.format(**named), to_url=to_url and to_url.format(**named))
    with pytest.raises(ConfigurationError, match=said) as refused:
        await replace(migration, options=options).said()
    assert "secret" not in refused.value.detail
    assert keys_of(old, ours=False) == before
    assert not keys_of(old, ours=True)


def test_a_refusal_is_one_line_and_exit_code_1(old: redis.Redis, reference_redis: RedisServer, tmp_path: Path) -> None:
    """As an operator's script sees it."""
    old.set("shop:basket", "bread")
    line = CommandLine(folder=tmp_path)
    outcome = line.run("migrate-memories", "--from", reference_redis.url)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.strip().splitlines() == [
        f"Error: {reference_redis.url} holds no data of the reference server. Nothing was written."
    ]


async def test_a_target_with_data_of_its_own_is_refused(
    filled: redis.Redis, migration: Migration, tmp_path: Path
) -> None:
    """Unless --merge is said; then what is there stays as it is."""
    url = f"sqlite:///{tmp_path / 'used.db'}"
    settings = migration.settings.model_copy(update={"storage_url": url})
    async with open_app(settings) as app:
        mine = memory("bars", "mine", scope=Scope(DEFAULT_TENANT, None, "Ann"))
        await app.memories.create(ANONYMOUS, [mine])
    with pytest.raises(ConfigurationError, match="not empty: it holds 1 memories"):
        await migration.to(url).said()
    said = await migration.to(url, merge=True).said()
    assert "1 left as they are in the target" in said
    assert "left: memory_idx:bars" in said
    found = await migration.memories(storage_url=url)
    assert found["bars"].text == "mine"
    assert len(found) == 10
