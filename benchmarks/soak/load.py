"""The mixed load: half appends, a third searches over all memories, the rest reads, creates and prompts, at a fixed rate.

The rate is kept whether or not the server keeps up: who is late shows as latency, not as fewer requests.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random

from benchmarks import texts
from benchmarks.serving.connections import Answer, Connection, connect
from benchmarks.serving.workloads import JSON, LOAD_BATCH, Plan, encoded, memory, message, user_id

SESSIONS = 2_000
CLIENTS = 16
_ERROR_SAMPLES_MAX = 5


@dataclass(frozen=True, slots=True)
class Request:
    kind: str
    content: bytes


@dataclass
class Heard:
    """What the answers were, since the last look or over all."""

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    late_s: float = 0.0
    """The longest that a request had to wait for a free client."""
    errors: Counter[str] = field(default_factory=Counter[str])
    samples: list[str] = field(default_factory=list[str])

    def note(self, kind: str, answer: Answer) -> None:
        if answer.status == 200:
            self.seconds.setdefault(kind, []).append(answer.seconds)
            return
        self.errors[f"{kind} {answer.status}"] += 1
        if len(self.samples) < _ERROR_SAMPLES_MAX:
            self.samples.append(f"{kind}: {answer.status} {answer.sample}")

    def quantile_ms(self, share: float, kind: str | None = None) -> float:
        found = sorted(each for name, all_of in self.seconds.items() for each in all_of if kind in (None, name))
        return found[min(len(found) - 1, int(share * len(found)))] * 1000 if found else 0.0

    @property
    def answered(self) -> int:
        return sum(len(each) for each in self.seconds.values())


def filling(plan: Plan) -> Iterator[Request]:
    """All memories, in batches."""
    for first in range(0, plan.memories, LOAD_BATCH):
        batch = [memory(plan, index) for index in range(first, min(first + LOAD_BATCH, plan.memories))]
        yield Request("fill", encoded("POST", "/v1/long-term-memory/", {"memories": batch}))


def mixed(plan: Plan) -> Iterator[Request]:
    """Six of six: three appends, two searches, one of the rest; the same sequence for the same plan."""
    chosen = Random(plan.run)
    for number in count():
        turn = number % 6
        if turn % 2 == 0:
            yield _append(plan, number, chosen)
        elif turn in (1, 3):
            yield _search(plan, chosen, ("hybrid", "hybrid", "keyword", "semantic")[number // 6 % 4])
        else:
            yield (_read, _create, _prompt, _get)[number // 6 % 4](plan, number, chosen)


def _session(plan: Plan, chosen: Random) -> tuple[str, str]:
    number = chosen.randrange(SESSIONS)
    return f"{plan.run}-s{number}", user_id(plan, number)


def _append(plan: Plan, number: int, chosen: Random) -> Request:
    session, user = _session(plan, chosen)
    body: JSON = {"messages": [message(f"{plan.run}-{number}", number)], "user_id": user}
    return Request("append", encoded("POST", f"/v1/working-memory/{session}/messages", body))


def _search(plan: Plan, chosen: Random, mode: str) -> Request:
    index = chosen.randrange(plan.memories)
    body: JSON = {
        "text": texts.query(index),
        "search_mode": mode,
        "user_id": {"eq": user_id(plan, index)},
        "limit": 10,
    }
    return Request("search", encoded("POST", "/v1/long-term-memory/search", body))


def _read(plan: Plan, number: int, chosen: Random) -> Request:
    del number
    user = user_id(plan, chosen.randrange(plan.memories))
    return Request("list", encoded("GET", f"/v1/long-term-memory?user_id={user}&limit=20"))


def _create(plan: Plan, number: int, chosen: Random) -> Request:
    del chosen
    made = memory(plan, plan.memories + number, kind="new")
    return Request("create", encoded("POST", "/v1/long-term-memory/", {"memories": [made]}))


def _prompt(plan: Plan, number: int, chosen: Random) -> Request:
    del number
    index = chosen.randrange(plan.memories)
    search = {"text": texts.query(index), "user_id": {"eq": user_id(plan, index)}, "limit": 5}
    return Request(
        "prompt", encoded("POST", "/v1/memory/prompt", {"query": texts.query(index), "long_term_search": search})
    )


def _get(plan: Plan, number: int, chosen: Random) -> Request:
    del number
    index = chosen.randrange(plan.memories)
    return Request(
        "get", encoded("GET", f"/v1/long-term-memory/{plan.run}-m{index:08d}?user_id={user_id(plan, index)}")
    )


class Clients:
    """Connections that take one request after the other, at most ``rate`` a second in all (0: as fast as answers come).

    ``patient``: what is answered with 503 or 504 is asked again and is no error, as when the data are put in as fast as can be.
    """

    def __init__(
        self, port: int, requests: Iterator[Request], *, rate: float, clients: int = CLIENTS, patient: bool = False
    ) -> None:
        self._port = port
        self._requests = requests
        self._rate = rate
        self._clients = clients
        self._patient = patient
        self._again: list[Request] = []
        self._sent = 0
        self.total = Heard()
        self.recent = Heard()

    def look(self) -> Heard:
        """What was heard since the last look."""
        seen, self.recent = self.recent, Heard()
        return seen

    async def run(self, *, seconds: float | None = None) -> None:
        """Until the time is over or the requests are, and every answer is there."""
        begun = time.perf_counter()
        end = None if seconds is None else begun + seconds
        await asyncio.gather(*(self._client(begun, end) for _ in range(self._clients)))

    async def _client(self, begun: float, end: float | None) -> None:
        waiting: asyncio.Future[Answer] | None = None

        def answered(_: Connection, answer: Answer) -> None:
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)

        connection = await connect(self._port, answered)
        while True:
            due = begun + self._sent / self._rate if self._rate else time.perf_counter()
            if end is not None and due >= end:
                break
            request = self._again.pop() if self._again else next(self._requests, None)
            if request is None:
                break
            self._sent += 1
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                self.recent.late_s = max(self.recent.late_s, -wait)
                self.total.late_s = max(self.total.late_s, -wait)
            if connection.closed:
                connection = await connect(self._port, answered)
            waiting = asyncio.get_running_loop().create_future()
            connection.send(request.content)
            answer = await waiting
            if self._patient and answer.status in (503, 504):
                self._again.append(request)
                continue
            self.recent.note(request.kind, answer)
            self.total.note(request.kind, answer)
        connection.close()
