"""Deleted means gone: one memory, one session, one namespace leave no byte and no answer, and nothing brings them back."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import httpx
import pytest

from tests.faults.erasing import Store, opened_store, receipt_of
from tests.server_process import wait_for_no_pending_work

pytestmark = pytest.mark.long

MEMORIES = "/v1/long-term-memory"
MEMORY, SESSION, NAMESPACE = CANARIES = ("ocarinacanary", "bassooncanary", "clarinetcanary")
KEPT = "violakeeper"


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Store]:
    with opened_store(request.param, tmp_path_factory.mktemp("erasing")) as opened:
        yield opened


def test_nothing_is_left_of_what_was_deleted_or_erased(store: Store) -> None:
    """Planted in texts, labels, earlier states, copies, merges of sessions, summaries, data and webhooks; after deletion neither
    history, ``as_of``, operations, events nor any undo tells it, and after the purge no file holds it. The rest is untouched."""
    with store.server.client() as client:
        _plant_in_a_memory(client)
        _plant_in_a_session(client)
        _plant_in_a_namespace(client)
        wait_for_no_pending_work(client, 60)
        # Afterwards: its deliveries fail and are pending.
        hook = {"url": f"http://127.0.0.1:9/{NAMESPACE}", "namespace": "club", "description": NAMESPACE}
        assert client.post("/v1/webhooks", json=hook).status_code == 200
        view = _summarized(client)
        moment = _operations(client)[-1]["at"]
        before = _everything(client, view, moment)
        assert all(word in before and store.files_with([word]) for word in (*CANARIES, KEPT))

        removed = {"memory_ids": ["edited", "home"], "user_id": "ana"}
        assert client.delete(MEMORIES, params=removed).json()["status"] == "ok, deleted 2 memories"
        assert _erased(client, f"{MEMORIES}/gone") == {"histories": 1}
        replaced = client.delete(MEMORIES, params={"memory_ids": _id_of(client, f"Lives in {MEMORY}.")})
        assert replaced.json()["status"] == "ok, deleted 1 memories"
        went = _erased(client, "/v1/working-memory/talk")
        assert (went["sessions"], went["messages"]) == (1, 12)
        assert went["memories"] > 0
        begun = client.post("/v1/namespaces/club/erase", params={"dry_run": "false"}).json()
        counts = receipt_of(client, begun["id"])["counts"]
        assert (counts["histories"], counts["webhooks"]) == (2, 1)

        for _ in range(2):
            told = _everything(client, view, moment)
            assert [word for word in CANARIES if word in told] == []
            assert KEPT in told
            for operation in reversed(_operations(client)):
                client.post(f"/v1/operations/{operation['id']}/undo")
            kept = {"id": "kept", "text": f"Plays the {KEPT}.", "user_id": "ana"}
            client.post(f"{MEMORIES}/", json={"memories": [kept]})
        assert client.get(MEMORIES, params={"namespace": "club"}).json()["total"] == 0
        wait_for_no_pending_work(client, 60)
    purged = store.run("purge")
    assert purged.code == 0, purged.err
    assert store.files_with(CANARIES) == []
    assert store.files_with([KEPT])


def _create(client: httpx.Client, memory_id: str, text: str, **fields: Any) -> None:
    memory = {"id": memory_id, "text": text, "user_id": "ana", **fields}
    assert client.post(f"{MEMORIES}/", json={"memories": [memory]}).status_code == 200


def _plant_in_a_memory(client: httpx.Client) -> None:
    """In what it said before an edit, in labels and metadata, in an exact copy, in a statement that ended, in one forgotten."""
    ana = {"user_id": "ana"}
    _create(client, "edited", f"Plays the {MEMORY}.", topics=[MEMORY], metadata={"about": MEMORY})
    _create(client, "copy", f"Plays the {MEMORY}.")
    edit = {"text": "Plays music.", "topics": ["music"], "clear": ["metadata"]}
    assert client.patch(f"{MEMORIES}/edited", params=ana, json=edit).status_code == 200
    _create(client, "home", f"Lived in {MEMORY}.")
    moved = {"text": f"Lives in {MEMORY}.", "supersede": True}
    assert client.patch(f"{MEMORIES}/home", params=ana, json=moved).status_code == 200
    _create(client, "gone", f"Sold the {MEMORY}.", topics=["sold"], session_id="sale")
    policy = {"policy": {"budget": 0}}
    done = client.post(
        f"{MEMORIES}/forget", params={**ana, "session_id": "sale", "dry_run": "false"}, json=policy
    ).json()
    assert done["deleted_ids"] == ["gone"]
    _create(client, "kept", f"Plays the {KEPT}.")


def _plant_in_a_session(client: httpx.Client) -> None:
    """In messages that are live and archived, their summary, data, context, a structured memory and what is extracted."""
    long = [f"I love my {SESSION} number {number}. " + "It sounds like rain. " * 30 for number in range(12)]
    messages = [
        {"id": f"m{number}", "role": "user", "content": text, "created_at": "2026-01-01T00:00:00Z"}
        for number, text in enumerate(long)
    ]
    body = {
        "messages": messages,
        "user_id": "ana",
        "data": {"note": SESSION},
        "context": f"About the {SESSION}.",
        "memories": [{"id": "structured", "text": f"Owns a {SESSION}.", "memory_type": "semantic"}],
    }
    path = "/v1/working-memory/talk"
    assert client.put(path, params={"context_window_max": "900"}, json=body).status_code == 200
    kept = {"user_id": "ana", "messages": [{"id": "k", "role": "user", "content": f"I live near the {KEPT}."}]}
    assert client.put("/v1/working-memory/other-talk", json=kept).status_code == 200


def _plant_in_a_namespace(client: httpx.Client) -> None:
    """In memories and a session there, in what left for another namespace, and in what was forgotten."""
    club = {"namespace": "club"}
    _create(client, "member", f"Sings of the {NAMESPACE}.", **club)
    _create(client, "lapsed", f"Sang of the {NAMESPACE}.", **club, session_id="tour")
    _create(client, "left", f"Left with the {NAMESPACE}.", **club)
    there = {"namespace": "band", "text": f"Has a {KEPT} now."}
    assert client.patch(f"{MEMORIES}/left", params=club, json=there).status_code == 200
    policy = {"policy": {"budget": 0}}
    client.post(f"{MEMORIES}/forget", params={**club, "session_id": "tour", "dry_run": "false"}, json=policy)
    said = {"messages": [{"id": "c", "role": "user", "content": f"The {NAMESPACE} is loud."}], **club}
    assert client.put("/v1/working-memory/club-talk", json=said).status_code == 200


def _summarized(client: httpx.Client) -> str:
    """A view of everybody's; its id."""
    view = client.post("/v1/summary-views", json={"source": "long_term", "group_by": ["namespace"]}).json()["id"]
    for namespace in ("club", None):
        group = {"group": {"namespace": namespace}}
        run = client.post(f"/v1/summary-views/{view}/partitions/run", json=group)
        assert run.status_code in (200, 422), run.text
    return view


def _erased(client: httpx.Client, path: str) -> dict[str, int]:
    """The counts of a memory's or session's receipt, without those of which there was none."""
    begun = client.post(f"{path}/erase", params={"user_id": "ana", "dry_run": "false"}).json()
    receipt = receipt_of(client, begun["id"])
    assert client.post("/v1/erasure-receipts/check", json=receipt).json() == {"genuine": True}
    return {kind: count for kind, count in receipt["counts"].items() if count}


def _operations(client: httpx.Client) -> Sequence[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = client.get("/v1/operations", params={"limit": 100, **after}).json()
        found += page["operations"]
        if page["next_cursor"] is None:
            return found
        after = {"after": page["next_cursor"]}


def _id_of(client: httpx.Client, text: str) -> str:
    listed = client.get(MEMORIES, params={"limit": 100}).json()["memories"]
    return next(each["id"] for each in listed if each["text"] == text)


def _everything(client: httpx.Client, view: str, moment: str) -> str:
    """What the API tells: lists, searches now and then, histories, operations with their undos, events, views, webhooks."""
    paths = [
        *(f"{MEMORIES}?limit=100", f"{MEMORIES}?limit=100&as_of={moment}", "/v1/webhooks", "/v1/tasks?limit=100"),
        *(f"/v1/summary-views/{view}/partitions", "/v1/events?start=beginning&wait_seconds=0"),
        *("/v1/working-memory/talk", "/v1/working-memory/talk/messages?include_archived=true"),
        *("/v1/working-memory/club-talk", "/v1/users/ana/export", f"{MEMORIES}/left/history"),
        *(f"{MEMORIES}/{name}/history?user_id=ana" for name in ("edited", "copy", "home", "gone", "structured")),
        *(f"{MEMORIES}/{name}/history?namespace=club" for name in ("member", "lapsed")),
    ]
    told = [client.get(path).text for path in paths]
    for mode in ("semantic", "keyword", "hybrid"):
        for asked in ({}, {"as_of": moment}, {"include_superseded": True}):
            query = {"text": "instruments that somebody plays", "search_mode": mode, "limit": 100, **asked}
            told.append(client.post(f"{MEMORIES}/search", json=query).text)
    for operation in _operations(client):
        path = f"/v1/operations/{operation['id']}"
        told += [client.get(path).text, client.post(f"{path}/undo", params={"dry_run": "true"}).text]
    return "\n".join(told)
