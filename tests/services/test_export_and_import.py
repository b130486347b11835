"""Everything that is held can be taken along and taken in again, on any engine, and reads the same (open check 23)."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.api.answers import encoded_lines
from agent_memory_server.domain.identity import ANONYMOUS
from agent_memory_server.domain.transfer import Kind
from agent_memory_server.services.exporting import ExportOptions
from agent_memory_server.testing.running import RunningApp, running_app
from tests.redis_server import RedisServer, running_redis

ALICE = {"user_id": "alice", "namespace": "work"}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
async def target(request: pytest.FixtureRequest, redis: RedisServer, tmp_path: Path) -> AsyncGenerator[RunningApp]:
    """An empty store of each engine, without background work."""
    settings: dict[str, Any] = {}
    if request.param == "redis":
        redis.empty()
        settings["redis_url"] = redis.url
    async with running_app(data_dir=tmp_path / "target", background=False, **settings) as running:
        yield running


@dataclass(frozen=True)
class Exports:
    """What a store says that holds some of everything, of alice and of somebody else."""

    everything: bytes
    with_vectors: bytes
    alice: bytes
    nobody: bytes


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    """Made once: nothing changes them."""

    async def made() -> Exports:
        async with running_app(data_dir=tmp_path_factory.mktemp("source"), extraction_debounce_seconds=0) as running:
            await _fill(running)
            return Exports(
                everything=await _export(running),
                with_vectors=await _export(running, vectors=True),
                alice=await _export(running, "/v1/users/alice/export"),
                nobody=await _export(running, "/v1/users/nobody/export"),
            )

    return asyncio.run(made())


async def _fill(running: RunningApp) -> None:
    client = running.client
    memories = [
        {"id": "m1", "text": "Alice likes tea. 茶 🍵", "topics": ["drinks"], "entities": ["Alice"], **ALICE},
        {
            "id": "m2",
            "text": "Alice was in Rome.",
            "memory_type": "episodic",
            "event_date": "2025-05-01T00:00:00Z",
            **ALICE,
        },
        {"id": "m3", "text": "Alice likes tea. 茶 🍵", "metadata": {"deep": [1, {"x": None}]}, "pinned": True, **ALICE},
        {"id": "b1", "text": "Bob's secret.", "user_id": "bob"},
    ]
    assert (await client.post("/v1/long-term-memory/", json={"memories": memories})).status_code == 200
    assert (
        await client.patch("/v1/long-term-memory/m2", json={"text": "Alice was in Rome, twice."})
    ).status_code == 200
    for user, session in (("alice", "s1"), ("alice", "s/2"), ("bob", "s1")):
        messages = [
            {"id": f"{each}", "role": "user", "content": f"{user} says {each}", "created_at": "2026-01-01T00:00:00Z"}
            for each in range(700 if session == "s1" and user == "alice" else 2)
        ]
        body = {
            "messages": messages,
            "user_id": user,
            "namespace": "work",
            "data": {"k": [1, "x"]},
            "context": "so far",
        }
        path = f"/v1/working-memory/{session.replace('/', '%2F')}"
        assert (await client.put(path, json=body)).status_code == 200
    await _forget_some(running)
    view = {"source": "long_term", "group_by": ["user_id"], "name": "all"}
    made = await client.post("/v1/summary-views", json=view)
    assert made.status_code == 200
    await running.idle()
    run = await client.post(
        f"/v1/summary-views/{made.json()['id']}/partitions/run", json={"group": {"user_id": "alice"}}
    )
    assert run.status_code == 200
    await running.idle()


async def _forget_some(running: RunningApp) -> None:
    """Three memories go, one of them edited before and one for good, and one comes back."""
    client, names = running.client, ("f1", "f2", "f3", "f4")
    gone = [{"id": name, "text": f"{name} was here.", "user_id": "alice", "namespace": "old"} for name in names]
    assert (await client.post("/v1/long-term-memory/", json={"memories": gone})).status_code == 200
    assert (await client.patch("/v1/long-term-memory/f2", json={"text": "Was f2 here?"})).status_code == 200
    await running.idle()
    answer = await client.post(
        "/v1/long-term-memory/forget",
        params={"namespace": "old", "dry_run": "false"},
        json={"policy": {"budget": 0}},
    )
    assert answer.json()["deleted"] == 4
    assert (await client.delete("/v1/long-term-memory", params={"memory_ids": "f4"})).status_code == 200
    assert (await client.post(f"/v1/operations/{answer.json()['run_id']}/undo")).status_code == 409
    again = {"id": "f3", "text": "f3 is back.", "user_id": "alice", "namespace": "old"}
    assert (await client.post("/v1/long-term-memory/", json={"memories": [again]})).status_code == 200


async def _export(running: RunningApp, path: str = "/v1/export", **query: Any) -> bytes:
    answer = await running.client.get(path, params=query)
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return answer.content


async def _import(running: RunningApp, lines: bytes, **query: Any) -> dict[str, Any]:
    answer = await running.client.post(
        "/v1/import", content=lines, params=query, headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.status_code == 200, answer.text[:1000]
    return answer.json()


def _lines(export: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in export.splitlines()]


def _told(export: bytes) -> bytes:
    """The export but for when it was made."""
    head, _, rest = export.partition(b"\n")
    assert json.loads(head)["kind"] == "export"
    return rest


async def test_export_import_export_is_identical(exports: Exports, target: RunningApp) -> None:
    """With vectors, into either engine: the second export says the same as the first."""
    first = exports.with_vectors
    done = await _import(target, first)
    assert done["kept"] == 0
    kinds = ("memory", "session", "summary_view", "summary")
    assert done["written"] == sum(done["found"].get(kind, 0) for kind in kinds)
    assert done["histories"] == done["found"]["memory"] + done["found"]["gone"]
    second = await _export(target, vectors=True)
    assert _told(second) == _told(first)
    read = (await target.client.get("/v1/working-memory/s1", params=ALICE)).json()
    assert len(read["messages"]) == 700
    assert (read["data"], read["context"]) == ({"k": [1, "x"]}, "so far")
    memory = (await target.client.get("/v1/long-term-memory/m3", params=ALICE)).json()
    assert memory["metadata"] == {"deep": [1, {"x": None}]}
    body = {"text": "tea", "search_mode": "hybrid", "user_id": {"eq": "alice"}}
    assert (
        (await target.client.post("/v1/long-term-memory/search", json=body))
        .json()["memories"][0]["text"]
        .startswith("Alice likes")
    )


async def test_an_import_can_be_repeated(exports: Exports, target: RunningApp) -> None:
    """The second time nothing is written; a dry run says beforehand what would be; what was deleted since comes back."""
    lines = exports.everything
    planned = await _import(target, lines, dry_run=True)
    assert (await _export(target)).count(b"\n") == 2
    done = await _import(target, lines)
    assert planned == {**done, "dry_run": True}
    assert _told(await _export(target)) == _told(lines)
    again = await _import(target, lines)
    assert (again["written"], again["kept"], again["histories"]) == (0, 0, 0)
    assert again["unchanged"] == done["written"]
    assert _told(await _export(target)) == _told(lines)
    await target.client.delete("/v1/long-term-memory", params={"memory_ids": "m2", **ALICE})
    assert (await _import(target, lines))["written"] == 1
    changed = await target.client.patch("/v1/long-term-memory/m2", json={"text": "Something else."})
    assert changed.status_code == 200
    assert (await _import(target, lines, dry_run=True))["kept"] == 1
    kept = await _import(target, lines)
    assert (kept["kept"], kept["histories"]) == (1, 0)
    assert (await target.client.get("/v1/long-term-memory/m2", params=ALICE)).json()["text"] == "Something else."


def test_a_users_export_holds_everything_of_the_user_and_nothing_of_others(exports: Exports) -> None:
    """Every memory, also one that another stands for, its revisions, every session with every message."""
    export = exports.alice
    lines = _lines(export)
    assert b"Bob" not in export
    assert b"bob" not in export
    ids = {line["id"] for line in lines if line["kind"] == "memory" and line["extraction_strategy"] != "message"}
    assert {"m1", "m2", "m3"} <= ids
    assert {line["session_id"] for line in lines if line["kind"] == "session"} == {"s1", "s/2"}
    assert sum(line["kind"] == "message" for line in lines) == 702
    revisions = [line for line in lines if line["kind"] == "revision" and line["id"] == "m2"]
    assert [each["operation"]["kind"] for each in revisions][:2] == ["create", "edit"]
    assert revisions[1]["before"]["text"] == "Alice was in Rome."
    counts = {kind: sum(line["kind"] == kind for line in lines) for kind in lines[-1]["counts"]}
    assert lines[-1]["counts"] == counts
    assert len(_lines(exports.nobody)) == 2


async def _refused(running: RunningApp, lines: bytes) -> str:
    answer = await running.client.post("/v1/import", content=lines)
    assert answer.status_code == 422, answer.text
    assert (await _export(running)).count(b"\n") == 2, "something of a refused import was stored"
    return answer.text


async def test_a_file_that_is_not_whole_is_refused_whole(exports: Exports, target: RunningApp) -> None:
    """Cut in the middle, of another version, with a wrong line or a missing one: nothing is stored, the line is named."""
    export = exports.alice
    lines = export.splitlines(keepends=True)
    assert "cut" in await _refused(target, b"".join(lines[:-1]))
    assert "cut in line 4" in await _refused(target, b"".join(lines[:3]) + lines[3][:20])
    assert "line 4: it is no JSON" in await _refused(target, b"".join(lines[:3]) + lines[3][:20] + b"\n")
    assert "missing" in await _refused(target, b"".join([*lines[:2], *lines[3:]]))
    newer = lines[0].replace(b'"version":1', b'"version":99')
    assert "version 1" in await _refused(target, newer + b"".join(lines[1:]))
    assert "no export" in await _refused(target, b'{"kind":"memory"}\n')
    assert 'version 1"' in await _refused(target, lines[0].replace(b'"version":1', b'"version":true'))
    assert "no export" in await _refused(target, b"\n\n")
    assert "read with its name" in await _refused(target, b'[{"mapping": {}}]')
    assert "unpack it" in await _refused(target, gzip.compress(export))
    assert "line 3: this kind of line is not known" in await _refused(target, b"".join([*lines[:2], b'{"kind":"x"}\n']))
    memories = [line for line in lines if b'"kind":"memory"' in line]
    assert "twice" in await _refused(target, b"".join([lines[0], *memories, memories[0], lines[-1]]))
    summary = json.loads(next(line for line in lines if b'"kind":"summary"' in line))
    view = {**json.loads(next(line for line in lines if b'"kind":"summary_view"' in line)), "user_id": "alice"}
    summary["sources"] = [[None, "bob", "b1"]]
    asked = [json.dumps(each).encode() + b"\n" for each in (view, summary)]
    assert "beyond the reach of its view" in await _refused(target, b"".join([lines[0], *asked]))
    broken = {**json.loads(lines[1]), "trust": 7}
    said = await _refused(target, lines[0] + json.dumps(broken).encode() + b"\n" + b"".join(lines[2:]))
    assert "line 2: trust" in said
    assert "second export" in await _refused(target, lines[0] + lines[0])
    assert "apart" in await _refused(
        target,
        lines[0]
        + b'{"kind":"message","id":"x","role":"user","content":"y","sequence":1,"created_at":"2026-01-01T00:00:00Z"}\n',
    )


async def test_what_could_not_be_read_back_is_refused_whole(exports: Exports, target: RunningApp) -> None:
    """As a request would be: such a record made every listing, search or compaction that came upon it fail."""
    deep: dict[str, Any] = {}
    for _ in range(70):
        deep = {"a": deep}
    short = {"model": target.app.embedding_model, "kind": "text", "vector": "AACAPwAAgD8="}
    cases: list[tuple[dict[str, Any], str]] = [
        ({"metadata": {"n": 2**70}}, "metadata holds an integer beyond 64 bits"),
        ({"metadata": {"n": [1e300]}}, "metadata holds a number beyond the range of a double"),
        ({"metadata": {"a\0b": 1}}, "metadata holds the NUL character"),
        ({"extraction_strategy_config": {"a": ["\ud800"]}}, "extraction_strategy_config holds half a character"),
        ({"metadata": deep}, "nested deeper than 64 levels"),
        ({"vectors": [short]}, "have 2 dimensions, which is not what that model has here"),
    ]
    lines = exports.alice.splitlines(keepends=True)
    for fields, told in cases:
        changed = json.dumps({**json.loads(lines[1]), **fields}).replace("1e+300", "1e+999").encode() + b"\n"
        assert told in await _refused(target, lines[0] + changed + b"".join(lines[2:]))


async def _history(running: RunningApp, memory_id: str) -> list[dict[str, Any]]:
    answer = await running.client.get(f"/v1/long-term-memory/{memory_id}/history", params={"user_id": "alice"})
    assert answer.status_code == 200, answer.text
    return answer.json()["revisions"]


async def test_what_happened_elsewhere_is_told_and_cannot_be_undone(exports: Exports, target: RunningApp) -> None:
    """It stands before the import, says what it was, and an undo of it says why not; what happens here follows."""
    await _import(target, exports.everything)
    created, edited, imported = await _history(target, "m2")
    assert [each["imported"] for each in (created, edited, imported)] == [True, True, False]
    assert [each["kind"] for each in (created, edited, imported)] == ["create", "edit", "import"]
    assert [(each["before"], each["after"]) for each in edited["changes"] if each["field"] == "text"] == [
        ("Alice was in Rome.", "Alice was in Rome, twice.")
    ]
    refused = await target.client.post(f"/v1/operations/{edited['operation_id']}/undo")
    assert refused.status_code == 409
    assert "another store" in refused.json()["detail"]
    changed = await target.client.patch("/v1/long-term-memory/m2", json={"text": "Alice was in Oslo."})
    assert changed.status_code == 200
    own = (await _history(target, "m2"))[-1]
    assert not own["imported"]
    assert (await target.client.post(f"/v1/operations/{own['operation_id']}/undo")).status_code == 200
    told = [line for line in _lines(await _export(target)) if line["kind"] == "revision" and line["id"] == "m2"]
    assert [each["operation"]["kind"] for each in told] == ["create", "edit", "edit", "undo"]


async def test_a_past_goes_with_the_memory(exports: Exports, target: RunningApp) -> None:
    """Also that of a memory which was gone before it came: deleting it for good leaves nothing, nor does erasing its user."""
    await _import(target, exports.everything)
    assert [each["effect"] for each in await _history(target, "f2")] == ["created", "updated", "deleted"]
    deleted = await target.client.delete("/v1/long-term-memory", params={"memory_ids": "f2", "user_id": "alice"})
    assert deleted.status_code == 200
    nothing = await target.client.get("/v1/long-term-memory/f2/history", params={"user_id": "alice"})
    assert nothing.status_code == 404
    assert b"f2 here" not in await _export(target)
    assert b"f1 was here" in await _export(target)
    planned = await target.client.post("/v1/users/alice/erase")
    assert planned.json()["result"]["counts"]["histories"] == 1
    done = await target.client.post("/v1/users/alice/erase", params={"dry_run": "false"})
    for lane in target.app.lanes.values():
        await lane.run_due()
    receipt = (await target.client.get(f"/v1/tasks/{done.json()['id']}")).json()["result"]
    assert receipt["counts"] == planned.json()["result"]["counts"]
    assert receipt["counts"]["summaries"] == 1
    assert b"alice" not in await _export(target)


async def test_what_was_forgotten_here_and_imported_again_has_one_past(exports: Exports, target: RunningApp) -> None:
    """It says that it went and came back, and can be taken along once more."""
    await _import(target, exports.everything)
    policy = {"policy": {"budget": 0}}
    gone = await target.client.post(
        "/v1/long-term-memory/forget", params={"namespace": "work", "dry_run": "false"}, json=policy
    )
    assert gone.json()["deleted"] > 0
    await _import(target, exports.everything)
    kinds = [each["kind"] for each in await _history(target, "m2")]
    assert kinds == ["create", "edit", "import", "forget", "import"]
    export = await _export(target)
    assert [
        each["operation"]["kind"] for each in _lines(export) if each["kind"] == "revision" and each["id"] == "m2"
    ] == [
        "create",
        "edit",
        "forget",
        "import",
    ]
    await target.client.post("/v1/users/alice/erase", params={"dry_run": "false"})
    for lane in target.app.lanes.values():
        await lane.run_due()
    await _import(target, export)
    again = await _export(target)
    assert [line for line in _lines(again) if line["kind"] in ("revision", "gone")] == [
        line for line in _lines(export) if line["kind"] in ("revision", "gone")
    ]


class _Stopped(Exception):
    """Somebody pulled the plug."""


async def test_an_import_that_was_stopped_goes_on(exports: Exports, target: RunningApp) -> None:
    """After some memories, some histories, some sessions: run again it takes over what is missing, and it is all there once."""
    for last in (Kind.MEMORIES, Kind.HISTORY, Kind.SESSIONS, Kind.SUMMARY_VIEWS):

        def stop(kind: Kind, count: int, last: Kind = last) -> None:
            if kind is last and count:
                raise _Stopped

        with pytest.raises(_Stopped):
            await target.app.importing.run(ANONYMOUS, io.BytesIO(exports.everything), tell=stop)
    done = await target.app.importing.run(ANONYMOUS, io.BytesIO(exports.everything))
    assert done.kept == 0
    assert _told(await _export(target)) == _told(exports.everything)


async def test_what_was_deleted_is_imported_again_however_often(target: RunningApp) -> None:
    """A file of one memory after its deletion, twice: what is said to be written is there, with its past."""
    body = {"memories": [{"id": "only", "text": "The only one.", "user_id": "alice"}]}
    assert (await target.client.post("/v1/long-term-memory/", json=body)).status_code == 200
    lines = await _export(target)
    for _ in range(3):
        assert (await target.client.delete("/v1/long-term-memory", params={"memory_ids": "only"})).status_code == 200
        planned = await _import(target, lines, dry_run=True)
        done = await _import(target, lines)
        assert (done["written"], done["histories"]) == (1, 1)
        assert planned == {**done, "dry_run": True}
        assert _told(await _export(target)) == _told(lines)


async def test_a_user_takes_along_what_views_of_others_say_of_them(exports: Exports, target: RunningApp) -> None:
    """The view comes too where the caller may see it, so that another export says the same."""
    lines = _lines(exports.alice)
    (summary,) = [line for line in lines if line["kind"] == "summary"]
    assert (summary["group"], bool(summary["summary"])) == ({"user_id": "alice"}, True)
    assert [line["name"] for line in lines if line["kind"] == "summary_view"] == ["all"]
    await _import(target, exports.alice)
    again = await _export(target, "/v1/users/alice/export")
    assert _told(again) == _told(exports.alice)
    assert (await _import(target, exports.everything))["kept"] == 0
    assert _told(await _export(target, "/v1/users/alice/export")) == _told(exports.alice)


async def test_a_bound_credential_is_told_summaries_and_not_whose_view_they_are(target: RunningApp) -> None:
    """A summary of the user is theirs, the view of somebody who sees more is not; an import counts it and leaves it out."""
    client = target.client
    for user in ("alice", "bob"):
        body = {"memories": [{"id": user, "text": f"{user} likes tea.", "user_id": user}]}
        assert (await client.post("/v1/long-term-memory/", json=body)).status_code == 200
    for group_by in (["user_id"], []):
        asked = {"source": "long_term", "name": "operator's", "prompt": "Be short.", "group_by": group_by}
        view = (await client.post("/v1/summary-views", json=asked)).json()
        for group in [{"user_id": user} for user in ("alice", "bob")] if group_by else [{}]:
            run = await client.post(f"/v1/summary-views/{view['id']}/partitions/run", json={"group": group})
            assert run.status_code == 200
    bound = replace(ANONYMOUS, user_id="alice")
    told = [line async for lines in target.app.exporting.lines(bound.selector(), ExportOptions()) for line in lines]
    (outside,) = [line for line in told if line["kind"] == "outside_summary"]
    assert outside["group"] == {"user_id": "alice"}
    assert not any("operator" in str(line) or "bob" in str(line) for line in told)
    done = await target.app.importing.run(bound, io.BytesIO(encoded_lines(told)))
    assert (done.found["outside_summary"], done.written, done.kept) == (1, 0, 0)


async def test_what_is_forgotten_while_it_is_exported_can_be_imported(target: RunningApp) -> None:
    """It is told as a memory and then as gone: what was read first holds, with its past until then."""
    body = {"memories": [{"id": name, "text": f"{name} likes tea.", "user_id": "alice"} for name in ("one", "two")]}
    assert (await target.client.post("/v1/long-term-memory/", json=body)).status_code == 200
    messages = [{"id": "1", "role": "user", "content": "Hi", "created_at": "2026-01-01T00:00:00Z"}]
    await target.client.put("/v1/working-memory/s", json={"user_id": "alice", "messages": messages})
    export, is_forgotten = b"", False
    async for lines in target.app.exporting.lines(ANONYMOUS.selector(), ExportOptions()):
        export += encoded_lines(lines)
        if lines[0]["kind"] == "memory" and not is_forgotten:
            asked = {"dry_run": "false", "user_id": "alice"}
            gone = await target.client.post("/v1/long-term-memory/forget", params=asked, json={"policy": {"budget": 0}})
            is_forgotten = gone.json()["deleted"] == 2
    assert is_forgotten
    assert json.loads(export.splitlines()[-1])["counts"] == {
        "memory": 2, "revision": 6, "gone": 2, "session": 1, "message": 1,
    }  # fmt: skip
    assert (await _import(target, export))["written"] == 2
    held = (await target.client.get("/v1/long-term-memory", params={"user_id": "alice"})).json()
    assert {each["id"] for each in held["memories"]} == {"one", "two"}
