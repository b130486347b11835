"""Check 4: the disk fills up during writes and has space again: nothing acknowledged is lost, nobody has to restart."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import httpx

from tests.faults.traffic import listed, memory, message
from tests.problem_details import assert_problem
from tests.server_process import ServerProcess, wait_for_no_pending_work
from tests.waiting import wait_until

WRITES = 200
ROOM_BYTES = 256 * 1024
TEXT = "All work and no play makes a memory dull. " * 40


def limit_file_size(server: ServerProcess, size_bytes: int) -> None:
    """From now on no file of the server may grow beyond the size: writes fail as on a full disk."""
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size_bytes, hard))


def largest_file_bytes(folder: Path) -> int:
    return max(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write(client: httpx.Client, index: int) -> tuple[str, httpx.Response]:
    """One of three kinds of write in turn; returns where the stored thing is read."""
    if index % 3 == 0:
        body: dict[str, Any] = {"memories": [memory(f"full-{index}", f"{index} {TEXT}", "full")], "deduplicate": False}
        return f"/v1/long-term-memory/full-{index}", client.post("/v1/long-term-memory/", json=body)
    path = f"/v1/working-memory/full-{index}"
    body = {"messages": [message("m", f"{index} {TEXT}")], "namespace": "full"}
    if index % 3 == 1:
        return path, client.put(path, json=body)
    return path, client.post(f"{path}/messages", json=body)


def test_check_04_disk_full_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """200 writes on a full disk: 200, 507 or 503; old data stays readable; with space again it goes on by itself."""
    data = tmp_path / "data"
    acknowledged: list[str] = []
    refused: list[str] = []
    with ServerProcess(data) as server:
        with server.client() as client:
            old = memory("old", "An old memory from before", "full")
            assert client.post("/v1/long-term-memory/", json={"memories": [old]}).status_code == 200
            limit_file_size(server, largest_file_bytes(data) + ROOM_BYTES)
            for index in range(WRITES):
                path, response = write(client, index)
                if response.status_code == 200:
                    acknowledged.append(path)
                else:
                    assert_problem(response, 507, 503)
                    refused.append(path)
                if index % 20 == 0:
                    assert client.get("/v1/long-term-memory/old").json()["text"] == old["text"]
            assert acknowledged, "no write fitted into the room that was left"
            assert refused, "the disk never filled up"
            for path in acknowledged:
                assert client.get(path, params={"namespace": "full"}).status_code == 200
            limit_file_size(server, resource.RLIM_INFINITY)
            wait_until(
                lambda: write(client, WRITES)[1].status_code == 200, "no write worked after there was space again", 10.0
            )
            wait_for_no_pending_work(client)
        server.kill()
        server.start()
        with server.client() as client:
            for path in acknowledged:
                response = client.get(path, params={"namespace": "full"})
                assert response.status_code == 200, f"acknowledged, then lost: {path}"
                assert TEXT in response.text
            for path in refused:
                assert_problem(client.get(path, params={"namespace": "full"}), 404)
            ids = [each["id"] for each in listed(client, "full")]
            assert len(ids) == len(set(ids))
