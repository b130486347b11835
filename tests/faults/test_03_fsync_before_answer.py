"""Check 3: each acknowledged write leaves the process after its fsync finished, seen from outside with strace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.faults.traffic import memory, message
from tests.server_process import ServerProcess, wait_for_no_pending_work
from tests.system_tools import require_system_tool

SYSTEM_CALLS = "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,fsync,fdatasync,pwrite64,pwritev"
_REQUEST = re.compile(r'"(?P<line>(POST|PUT|PATCH|DELETE) /v1/[^ ]*) HTTP/1\.1')
_RESPONSE = re.compile(r'"HTTP/1\.1 (?P<status>\d{3}) ')
_STARTED = re.compile(r"^(?P<thread>\d+)\s+(?P<call>fsync|fdatasync|pwrite64|pwritev)\((?P<rest>.*)$")
_RESUMED = re.compile(r"^(?P<thread>\d+)\s+<\.\.\. (?P<call>fsync|fdatasync) resumed>.*= 0$")


@dataclass
class Write:
    """What strace saw between one writing request and its answer: page writes and finished syncs of the log, in order."""

    request: str
    status: int = 0
    events: str = ""
    """``w`` for a write into the database's files, ``s`` for a finished sync of one of them."""


def writes_seen(trace: str) -> list[Write]:
    """The writing requests of a trace, each with what happened on disk until its answer left."""
    seen: list[Write] = []
    current: Write | None = None
    syncing: set[str] = set()
    for line in trace.splitlines():
        if request := _REQUEST.search(line):
            current = Write(request["line"])
            syncing.clear()
        elif current is None:
            continue
        elif response := _RESPONSE.search(line):
            current.status = int(response["status"])
            seen.append(current)
            current = None
        elif started := _STARTED.match(line):
            if started["call"].startswith("pwrite"):
                if "memory.db" in started["rest"]:
                    current.events += "w"
            elif line.endswith("= 0"):
                current.events += "s"
            else:
                syncing.add(started["thread"])
        elif (resumed := _RESUMED.match(line)) and resumed["thread"] in syncing:
            syncing.discard(resumed["thread"])
            current.events += "s"
    return seen


def test_check_03_every_2xx_leaves_after_its_fsync(tmp_path: Path) -> None:
    """Create, PUT, append, PATCH and DELETE, one after another: pages written, then synced, then answered."""
    strace = require_system_tool("strace")
    trace = tmp_path / "trace"
    prefix = [strace, "-f", "-y", "-s", "96", "-e", f"trace={SYSTEM_CALLS}", "-o", str(trace)]
    with ServerProcess(tmp_path / "data", prefix=prefix) as server, server.client() as client:
        requests = [
            ("POST", "/v1/long-term-memory/", {"memories": [memory("m1", "tea", "fsync")]}),
            ("PATCH", "/v1/long-term-memory/m1", {"text": "coffee"}),
            ("PUT", "/v1/working-memory/s1", {"messages": [message("a", "hello")], "namespace": "fsync"}),
            ("POST", "/v1/working-memory/s1/messages", {"messages": [message("b", "again")], "namespace": "fsync"}),
            ("PATCH", "/v1/working-memory/s1", {"data": {"k": 1}, "namespace": "fsync"}),
            ("DELETE", "/v1/long-term-memory?memory_ids=m1", None),
            ("DELETE", "/v1/working-memory/s1?namespace=fsync", None),
        ]
        for method, path, body in requests:
            response = client.request(method, path, json=body) if body else client.request(method, path)
            assert response.status_code == 200, response.text
            wait_for_no_pending_work(client)
        server.stop()
    seen = writes_seen(trace.read_text(errors="replace"))
    assert [write.request.split("?")[0] for write in seen] == [f"{m} {p.split('?')[0]}" for m, p, _ in requests]
    for write in seen:
        assert write.status == 200
        assert "ws" in write.events, f"{write.request} was answered before its pages were synced: {write.events!r}"
        assert write.events.endswith("s"), f"{write.request}: pages were written after the last sync: {write.events!r}"
