"""Every page with what a person asks it for, and what the first content of each costs."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from agent_memory_server.domain.records import Memory
from benchmarks.processes import processor_exact_s

FIRST_CONTENT_MS = 200.0
"""What a page may take."""


class PageFailed(RuntimeError):
    """A page answered with another status than 200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    title: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """``first_ms``: the first time that this server is asked. ``after_write_ms``: the middle one of several, each right after
    something was stored, so that nothing remembered is still exact. ``processor_ms``: of the server and its engine, a request."""

    title: str
    first_ms: float
    after_write_ms: float
    slowest_ms: float
    processor_ms: float
    kilobytes: float


def pages_for(shown: Memory, *, points: int) -> Sequence[Page]:
    """``shown``: a memory whose page is looked at; its owner is the user who is looked at."""
    owner = {"user_id": shown.scope.user_id, "namespace": shown.scope.namespace}
    mine = urlencode({name: value for name, value in owner.items() if value is not None})
    return (
        Page(title="Overview", path="/"),
        Page(title="Overview of a user", path=f"/?{mine}"),
        Page(title="Search, everybody", path="/search?text=tea+in+the+garden"),
        Page(title="Search, one user", path=f"/search?text=tea+in+the+garden&{mine}"),
        Page(title="Why not this one?", path=f"/search?text=tea&{mine}&expected={shown.id}"),
        Page(title="Memories", path="/memories"),
        Page(title="Memories, longest unused", path="/memories?order=used"),
        Page(title="Memories of a type", path="/memories?memory_type=episodic"),
        Page(title="Memories of a topic", path="/memories?topic=edited"),
        Page(title="Memories of some months", path="/memories?since=2025-01-01&until=2025-06-30"),
        Page(title="Memories of a user", path=f"/memories?{mine}"),
        Page(title="A memory", path=f"/memory?id={shown.id}&{mine}"),
        Page(title="Sessions", path="/sessions"),
        Page(title="A session", path=f"/session?id=talk-00000&{mine}"),
        Page(title="Users", path="/users"),
        Page(title="A user", path=f"/user?{mine}"),
        Page(title="Operations", path="/operations"),
        Page(title="Map", path="/map"),
        Page(title="Background", path="/background"),
        Page(title="Access", path="/access"),
        Page(title="Connect", path="/connect"),
        Page(title=f"Points of the map, {points:,} at most", path="/map/points"),
    )


class Visitor:
    """One connection that asks for pages, and stores something in between."""

    def __init__(self, port: int, pids: Sequence[int]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._pids = pids
        self._writes = 0

    def close(self) -> None:
        self._connection.close()

    def measured(self, page: Page, *, rounds: int, writes: bool = True) -> Cost:
        first_ms, _, size = self._asked(page)
        spent: list[float] = []
        worked = 0.0
        for _ in range(rounds):
            if writes:
                self._write()
            took_ms, processor_ms, size = self._asked(page)
            spent.append(took_ms)
            worked += processor_ms
        spent.sort()
        return Cost(
            title=page.title,
            first_ms=first_ms,
            after_write_ms=spent[len(spent) // 2],
            slowest_ms=spent[-1],
            processor_ms=worked / rounds,
            kilobytes=size / 1024,
        )

    def _asked(self, page: Page) -> tuple[float, float, int]:
        """(milliseconds, processor milliseconds, bytes)."""
        worked, begun = self._processor_s(), time.perf_counter()
        self._connection.request("GET", page.path)
        answer = self._connection.getresponse()
        body = answer.read()
        took_s, worked_s = time.perf_counter() - begun, self._processor_s() - worked
        if answer.status != 200:
            raise PageFailed(f"{page.path} answered {answer.status}: {body[:300]!r}")
        return took_s * 1000, worked_s * 1000, len(body)

    def _write(self) -> None:
        self._writes += 1
        memory = {"id": f"now-{self._writes}", "text": f"Note number {self._writes}.", "user_id": "writer"}
        body = json.dumps({"memories": [memory], "deduplicate": False})
        self._connection.request(
            "POST", "/v1/long-term-memory/", body=body, headers={"Content-Type": "application/json"}
        )
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status != 200:
            raise PageFailed(f"a write answered {answer.status}: {said[:300]!r}")

    def _processor_s(self) -> float:
        return sum(processor_exact_s(pid) or 0.0 for pid in self._pids)
