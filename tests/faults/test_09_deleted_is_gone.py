"""P9: deleted means gone, also while background promotion of the same session is in flight."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.faults.traffic import found_by_search, listed, message
from tests.server_process import ServerProcess, wait_for_no_pending_work

ROUNDS = 30


def body_of(round_number: int, namespace: str) -> dict[str, object]:
    return {
        "messages": [message(f"{namespace}-{round_number}-{index}", f"secret word {index}") for index in range(20)],
        "memories": [],
        "namespace": namespace,
        "user_id": "alice",
    }


@pytest.mark.parametrize("processes", [1, 2])
async def test_deletes_that_race_with_promotion_bring_nothing_back(
    two_servers: list[ServerProcess], namespace: str, processes: int
) -> None:
    """Sessions are written and deleted at once, some many times over, while either process promotes: nothing stays."""
    async with two_servers[0].async_client() as http, two_servers[processes - 1].async_client() as other:

        async def write_and_delete(round_number: int) -> None:
            path = f"/v1/working-memory/race-{round_number % 10}"
            scope = {"namespace": namespace, "user_id": "alice"}
            written = await http.put(path, json=body_of(round_number, namespace))
            assert written.status_code == 200, written.text
            deleted = await other.delete(path, params=scope)
            assert deleted.status_code == 200, deleted.text

        await asyncio.gather(*(write_and_delete(number) for number in range(ROUNDS)))
        for number in range(10):
            scope = {"namespace": namespace, "user_id": "alice"}
            await http.delete(f"/v1/working-memory/race-{number}", params=scope)
    with two_servers[0].client() as client:
        wait_for_no_pending_work(client)
        assert listed(client, namespace) == []
        for mode in ("keyword", "semantic", "hybrid"):
            assert found_by_search(client, namespace, "secret word 3", mode) == []
        sessions = client.get("/v1/working-memory/", params={"namespace": namespace}).json()
        assert sessions == {"sessions": [], "total": 0}


async def test_a_session_written_again_keeps_only_its_new_life(shared_server: ServerProcess, namespace: str) -> None:
    """Delete, then the same session id again at once: only the second life's messages are found, all of them."""
    scope = {"namespace": namespace}
    async with shared_server.async_client() as http:

        async def two_lives(number: int) -> None:
            path = f"/v1/working-memory/life-{number}"
            for life in ("first", "second"):
                said = [message(f"{namespace}-{number}-{life}-{index}", f"{life} life") for index in range(10)]
                assert (await http.put(path, json={"messages": said, **scope})).status_code == 200
                if life == "first":
                    assert (await http.delete(path, params=scope)).status_code == 200

        await asyncio.gather(*(two_lives(number) for number in range(10)))
    with shared_server.client() as client:
        wait_for_no_pending_work(client)
        stored = listed(client, namespace)
        assert {each["text"] for each in stored} == {"second life"}
        assert len(stored) == 100


def test_deleted_memories_leave_no_text_in_the_files(tmp_path: Path) -> None:
    """An explicit delete scrubs: after it neither record, index, journal nor pending work holds the words."""
    word = "xylophonequartz"
    with ServerProcess(tmp_path / "data") as server, server.client() as client:
        scope = {"namespace": "scrub"}
        memories = [{"id": "m", "text": f"The {word} is mine", "topics": [word], **scope}]
        assert client.post("/v1/long-term-memory/", json={"memories": memories}).status_code == 200
        assert client.patch("/v1/long-term-memory/m", json={"text": f"{word} twice"}).status_code == 200
        session = {"messages": [message("a", f"I own a {word}")], "data": {"k": word}, **scope}
        assert client.put("/v1/working-memory/s", json=session).status_code == 200
        wait_for_no_pending_work(client)
        assert client.delete("/v1/long-term-memory", params={"memory_ids": "m"}).status_code == 200
        assert client.delete("/v1/working-memory/s", params={**scope, "cascade": "true"}).status_code == 200
        wait_for_no_pending_work(client)
        assert listed(client, "scrub") == []
        assert found_by_search(client, "scrub", word, "keyword") == []
        server.stop()
        held = [path.name for path in server.data_dir.iterdir() if word.encode() in path.read_bytes()]
        assert held == [], "deleted text is still in the files after an orderly stop"


@pytest.mark.parametrize("same_user", [True, False])
def test_sessions_with_equal_message_ids_do_not_touch_each_other(
    shared_server: ServerProcess, namespace: str, same_user: bool
) -> None:
    """P7: clients number messages 1, 2, 3 in every session; all of them stay searchable, and a delete takes only its own."""
    users = ("alice", "alice" if same_user else "bob")
    with shared_server.client() as client:
        for number, user in enumerate(users):
            said = [message("1", f"session{number} likes walnuts"), message("2", f"session{number} fears spiders")]
            session = {"messages": said, "namespace": namespace, "user_id": user}
            assert client.put(f"/v1/working-memory/s{number}", json=session).status_code == 200
        wait_for_no_pending_work(client)
        texts = sorted(each["text"] for each in listed(client, namespace))
        assert texts == sorted(f"session{n} {what}" for n in (0, 1) for what in ("likes walnuts", "fears spiders"))
        scope = {"namespace": namespace, "user_id": users[0]}
        assert client.delete("/v1/working-memory/s0", params=scope).status_code == 200
        texts = sorted(each["text"] for each in listed(client, namespace))
        assert texts == ["session1 fears spiders", "session1 likes walnuts"]


def test_a_message_never_overwrites_a_memory_with_the_same_id(shared_server: ServerProcess, namespace: str) -> None:
    """P7: an explicit memory whose id a message happens to carry keeps its text, and survives the session's deletion."""
    identifier = f"{namespace}-1"
    scope = {"namespace": namespace, "user_id": "alice"}
    with shared_server.client() as client:
        explicit = {"id": identifier, "text": "Alice is allergic to nuts", "pinned": True, **scope}
        assert client.post("/v1/long-term-memory/", json={"memories": [explicit]}).status_code == 200
        session = {"messages": [message(identifier, "Hello there")], **scope}
        assert client.put("/v1/working-memory/s", json=session).status_code == 200
        wait_for_no_pending_work(client)

        def kept() -> httpx.Response:
            return client.get(f"/v1/long-term-memory/{identifier}", params=scope)

        assert kept().json()["text"] == explicit["text"]
        assert client.delete("/v1/working-memory/s", params=scope).status_code == 200
        assert kept().status_code == 200
        assert kept().json()["text"] == explicit["text"]


def test_a_corrected_message_replaces_its_memory(shared_server: ServerProcess, namespace: str) -> None:
    """A PUT that changes a message's words changes what search finds: the old words are not found as current."""
    identifier, scope = f"{namespace}-m", {"namespace": namespace}
    with shared_server.client() as client:
        for words in ("The meeting is on Tuesday", "The meeting is on Thursday"):
            session = {"messages": [message(identifier, words)], **scope}
            assert client.put("/v1/working-memory/s", json=session).status_code == 200
            wait_for_no_pending_work(client)
        texts = [each["text"] for each in listed(client, namespace, memory_type="message")]
        assert texts == ["The meeting is on Thursday"]
        assert found_by_search(client, namespace, "Tuesday", "keyword", memory_type={"eq": "message"}) == []
