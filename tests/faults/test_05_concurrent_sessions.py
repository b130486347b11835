"""Checks 5, 6 and 7: many writers on one session lose nothing, conditional writes hold, repetition changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.faults.traffic import found_by_search, message
from tests.problem_details import assert_problem
from tests.server_process import ServerProcess, wait_for_no_pending_work

pytestmark = pytest.mark.long

CLIENTS = 20


def all_messages(client: httpx.Client, session: str, namespace: str) -> list[dict[str, Any]]:
    """Every message of a session in order, through the paged listing."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        query: dict[str, str | int] = {"namespace": namespace, "limit": 300}
        if cursor is not None:
            query["cursor"] = cursor
        response = client.get(f"/v1/working-memory/{session}/messages", params=query)
        assert response.status_code == 200, response.text
        page = response.json()
        found.extend(page["messages"])
        cursor = page["next_cursor"]
        if cursor is None:
            assert page["total"] == len(found)
            return found


@pytest.mark.parametrize(("processes", "appends"), [(1, 10), (2, 50)])
async def test_check_05_concurrent_appends_lose_nothing(
    two_servers: list[ServerProcess], namespace: str, processes: int, appends: int
) -> None:
    """20 clients append to one session, through one process, and 50 messages each through two: all are stored, in order."""
    async with two_servers[0].async_client() as first, two_servers[processes - 1].async_client() as second:

        async def one_client(number: int) -> None:
            http = (first, second)[number % 2]
            for index in range(appends):
                body = {"messages": [message(f"{number}-{index}", f"{number} says {index}")], "namespace": namespace}
                response = await http.post("/v1/working-memory/shared/messages", json=body)
                assert response.status_code == 200, response.text
                assert response.json()["appended"] == 1

        await asyncio.gather(*(one_client(number) for number in range(CLIENTS)))
    with two_servers[0].client() as client:
        stored = all_messages(client, "shared", namespace)
        assert len(stored) == CLIENTS * appends
        for number in range(CLIENTS):
            mine = [each["id"] for each in stored if each["id"].startswith(f"{number}-")]
            assert mine == [f"{number}-{index}" for index in range(appends)]
        whole = client.get("/v1/working-memory/shared", params={"namespace": namespace}).json()
        assert [each["id"] for each in whole["messages"]] == [each["id"] for each in stored]


@pytest.mark.parametrize("processes", [1, 2])
async def test_check_06_one_of_two_conditional_puts_wins(
    two_servers: list[ServerProcess], namespace: str, processes: int
) -> None:
    """Two PUTs with the same If-Match, at one and at two processes: one 200 and one 412; the winner's document is stored."""
    path = "/v1/working-memory/etag"
    async with two_servers[0].async_client() as http, two_servers[processes - 1].async_client() as other:
        for round_number in range(5):
            body = {"messages": [message("m", "start")], "namespace": namespace}
            etag = (await http.put(path, json=body)).headers["etag"]
            assert not etag.startswith("W/")
            answers = await asyncio.gather(
                *(
                    connection.put(path, json={"context": word, "namespace": namespace}, headers={"If-Match": etag})
                    for connection, word in ((http, "left"), (other, "right"))
                )
            )
            assert sorted(answer.status_code for answer in answers) == [200, 412], f"round {round_number}"
            winner = next(answer for answer in answers if answer.status_code == 200)
            assert_problem(next(answer for answer in answers if answer.status_code == 412), 412)
            read = await http.get(path, params={"namespace": namespace})
            assert read.json()["context"] == winner.json()["context"]
            assert read.headers["etag"] == winner.headers["etag"] != etag


def test_check_06_conditions_hold_for_every_write(shared_server: ServerProcess, namespace: str) -> None:
    """If-None-Match: * on an existing session, a stale PATCH and a stale append are 412 and change nothing."""
    path = "/v1/working-memory/conditional"
    scope = {"namespace": namespace}
    with shared_server.client() as client:
        created = client.put(path, json={"context": "one", **scope}, headers={"If-None-Match": "*"})
        assert created.status_code == 200, created.text
        assert_problem(client.put(path, json={"context": "two", **scope}, headers={"If-None-Match": "*"}), 412)
        first = created.headers["etag"]
        patched = client.patch(path, json={"context": "three", **scope}, headers={"If-Match": first})
        assert patched.status_code == 200, patched.text
        assert patched.headers["etag"] != first
        assert_problem(client.patch(path, json={"context": "four", **scope}, headers={"If-Match": first}), 412)
        assert_problem(client.put(path, json={"context": "five", **scope}, headers={"If-Match": first}), 412)
        assert_problem(client.put("/v1/working-memory/none-yet", json=scope, headers={"If-Match": "*"}), 412)
        several = f'"other", {patched.headers["etag"]}'
        assert client.put(path, json={"context": "six", **scope}, headers={"If-Match": several}).status_code == 200
        read = client.get(path, params=scope)
        assert read.json()["context"] == "six"
        assert client.get("/v1/working-memory/none-yet", params=scope).status_code == 404


def test_check_06_background_work_is_not_a_change(shared_server: ServerProcess, namespace: str) -> None:
    """Promotion and extraction marks leave the ETag as it is: a client that read before them is not stale."""
    path, scope = "/v1/working-memory/quiet", {"namespace": namespace}
    with shared_server.client() as client:
        said = [message(f"{namespace}-{number}", f"I own {number} boats in Oslo") for number in range(3)]
        session = {"messages": said, "memories": [{"id": f"{namespace}-f", "text": "Boats"}], **scope}
        etag = client.put(path, json=session).headers["etag"]
        wait_for_no_pending_work(client)
        read = client.get(path, params=scope)
        assert read.headers["etag"] == etag
        assert all(each["persisted_at"] for each in read.json()["messages"]), (
            "nothing was marked: the test shows nothing"
        )
        assert client.get(f"{path}/messages", params=scope).headers["etag"] == etag
        assert client.patch(path, json={"context": "x", **scope}, headers={"If-Match": etag}).status_code == 200


def test_check_06_stale_patch_of_a_memory(shared_server: ServerProcess, namespace: str) -> None:
    """A memory's strong ETag protects its PATCH in the same way."""
    identifier = f"{namespace}-etag"
    with shared_server.client() as client:
        body = {"memories": [{"id": identifier, "text": "one", "namespace": namespace}]}
        assert client.post("/v1/long-term-memory/", json=body).status_code == 200
        path = f"/v1/long-term-memory/{identifier}"
        etag = client.get(path).headers["etag"]
        assert client.patch(path, json={"text": "two"}, headers={"If-Match": etag}).status_code == 200
        assert_problem(client.patch(path, json={"text": "three"}, headers={"If-Match": etag}), 412)
        assert client.get(path).json()["text"] == "two"


async def test_check_07_the_same_message_ten_times_is_stored_once(
    two_servers: list[ServerProcess], namespace: str
) -> None:
    """Ten appends of one message, at once, through two processes: one counts as appended, nine as duplicates."""
    body = {"messages": [message("once", "only once")], "namespace": namespace}
    path = "/v1/working-memory/dup/messages"
    async with two_servers[0].async_client() as first, two_servers[1].async_client() as second:
        answers = await asyncio.gather(*((first, second)[number % 2].post(path, json=body) for number in range(10)))
        assert [answer.status_code for answer in answers] == [200] * 10
        assert sum(answer.json()["appended"] for answer in answers) == 1
        assert sum(answer.json()["duplicates"] for answer in answers) == 9
        assert {answer.json()["total"] for answer in answers} == {1}
    with two_servers[0].client() as client:
        assert [each["id"] for each in all_messages(client, "dup", namespace)] == ["once"]


def test_check_07_a_known_id_with_other_content_conflicts(shared_server: ServerProcess, namespace: str) -> None:
    """The same id with other words is 409 and nothing of the request is applied."""
    path = "/v1/working-memory/conflict/messages"
    with shared_server.client() as client:
        first = client.post(path, json={"messages": [message("a", "one")], "namespace": namespace})
        assert first.status_code == 200
        mixed = {"messages": [message("b", "new"), message("a", "other")], "namespace": namespace}
        assert_problem(client.post(path, json=mixed), 409)
        assert [each["id"] for each in all_messages(client, "conflict", namespace)] == ["a"]


def test_check_07_duplicate_ids_in_one_body(shared_server: ServerProcess, namespace: str) -> None:
    """One id twice in a body is 422 in append, PUT and create, and nothing is stored."""
    twice = [message("x", "one"), message("x", "one")]
    with shared_server.client() as client:
        session = {"messages": twice, "namespace": namespace}
        assert_problem(client.post("/v1/working-memory/twice/messages", json=session), 422)
        assert_problem(client.put("/v1/working-memory/twice", json=session), 422)
        memories = [{"id": f"{namespace}-x", "text": text, "namespace": namespace} for text in ("one", "two")]
        assert_problem(client.post("/v1/long-term-memory/", json={"memories": memories}), 422)
        assert_problem(client.put("/v1/working-memory/twice", json={"memories": memories, "namespace": namespace}), 422)
        assert client.get("/v1/working-memory/twice", params={"namespace": namespace}).status_code == 404
        assert client.get(f"/v1/long-term-memory/{namespace}-x").status_code == 404


def test_what_one_process_acknowledged_the_other_reads_at_once(
    two_servers: list[ServerProcess], namespace: str
) -> None:
    """P1: created, edited and deleted through one process, seen by the other in the very next request, in every way."""
    scope = {"namespace": namespace}
    with two_servers[0].client() as first, two_servers[1].client() as second:
        for turn in range(12):
            writer, reader = (first, second) if turn % 2 else (second, first)
            identifier, text = f"{namespace}-{turn}", f"Parrot number {turn} speaks {turn * 7} words"
            body = {"memories": [{"id": identifier, "text": text, **scope}], "deduplicate": False}
            assert writer.post("/v1/long-term-memory/", json=body).status_code == 200
            assert reader.get(f"/v1/long-term-memory/{identifier}").json()["text"] == text
            assert reader.get("/v1/long-term-memory", params=scope).json()["total"] == (turn + 1) // 2 + 1
            for mode in ("semantic", "keyword", "hybrid"):
                assert identifier in found_by_search(reader, namespace, text, mode), mode
            edited = writer.patch(f"/v1/long-term-memory/{identifier}", json={"text": f"Iguana {turn}"})
            assert edited.status_code == 200
            assert found_by_search(reader, namespace, f"Iguana {turn}", "keyword")[0] == identifier
            if turn % 2:
                deleted = reader.delete("/v1/long-term-memory", params={"memory_ids": identifier})
                assert deleted.json()["status"] == "ok, deleted 1 memories"
                assert writer.get(f"/v1/long-term-memory/{identifier}").status_code == 404
                assert identifier not in found_by_search(writer, namespace, f"Iguana {turn}", "semantic")
