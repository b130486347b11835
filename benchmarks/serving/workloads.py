"""What the clients ask for: each workload as a sequence of ready-made HTTP requests, the same for the same plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any

from benchmarks import texts

JSON = dict[str, Any]

LOAD_BATCH = 100
SESSION_MESSAGES = 100
PROMPT_MESSAGES = 20
MESSAGE_LENGTH = 200
_PREPARED = 512
"""Requests that are encoded before a read workload starts; then they repeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One measured round: which requests, by how many clients, for how long (or until ``count`` requests are done)."""

    workload: str
    port: int
    server_pid: int
    run: str
    """Leads every id of this run, so that a shared store may be used."""
    engine_pid: int | None = None
    number: int = 0
    """Of the round: writes of different rounds never meet."""
    clients: int = 1
    seconds: float = 1.0
    warm_up_s: float = 0.2
    count: int | None = None
    memories: int = 0
    users: int = 1
    sessions: int = 50
    """Sessions that are there to be read."""
    big_session_messages: int = 10_000
    request_bytes: int = 0
    response_bytes: int = 0


def requests(plan: Plan) -> Iterator[bytes]:
    """The requests of the plan's workload, endless unless the workload itself ends."""
    return _WORKLOADS[plan.workload](plan)


def encoded(method: str, path: str, body: JSON | None = None) -> bytes:
    """One HTTP/1.1 request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body is None:
        return f"{head}\r\n".encode()
    content = json.dumps(body).encode()
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def memory(plan: Plan, index: int, *, kind: str = "m") -> JSON:
    return {
        "id": f"{plan.run}-{kind}{index:08d}",
        "text": texts.text(index),
        "user_id": user_id(plan, index),
        "session_id": f"{plan.run}-past{index % 9973:05d}",
        "memory_type": "semantic",
        "topics": [texts.topic(index)],
    }


def message(identity: str, index: int, length: int = MESSAGE_LENGTH) -> JSON:
    return {
        "id": identity,
        "role": "user" if index % 2 == 0 else "assistant",
        "content": texts.passage(index, length),
        "created_at": datetime.fromtimestamp(1_760_000_000 + index, UTC).isoformat(),
    }


def user_id(plan: Plan, number: int) -> str:
    return f"{plan.run}-u{number % plan.users:05d}"


def session(plan: Plan, name: str, user: str, messages: int) -> bytes:
    """A PUT of a session with this many messages."""
    return encoded(
        "PUT",
        f"/v1/working-memory/{plan.run}-{name}",
        {
            "user_id": user,
            "messages": [message(f"{plan.run}-{name}-{number}", number) for number in range(messages)],
        },
    )


def big_session(plan: Plan) -> tuple[bytes, bytes]:
    """The PUT and the GET of one very long session, of a user whose memories no other request searches."""
    name, user = f"big{plan.number}", f"{plan.run}-talkative"
    return (
        session(plan, name, user, plan.big_session_messages),
        encoded("GET", f"/v1/working-memory/{plan.run}-{name}?user_id={user}"),
    )


def _load(plan: Plan) -> Iterator[bytes]:
    """All memories, in batches, each once."""
    for first in range(0, plan.memories, LOAD_BATCH):
        batch = [memory(plan, index) for index in range(first, min(first + LOAD_BATCH, plan.memories))]
        yield encoded("POST", "/v1/long-term-memory/", {"memories": batch})


def _sessions(plan: Plan) -> Iterator[bytes]:
    """The sessions that later rounds read, each once."""
    for number in range(plan.sessions):
        yield session(plan, f"read{number}", user_id(plan, number), SESSION_MESSAGES)
        yield session(plan, f"prompt{number}", user_id(plan, number), PROMPT_MESSAGES)


def _health(_: Plan) -> Iterator[bytes]:
    return _repeating([encoded("GET", "/v1/health")])


def _get(plan: Plan) -> Iterator[bytes]:
    return _repeating(
        [
            encoded("GET", f"/v1/working-memory/{plan.run}-read{number}?user_id={user_id(plan, number)}")
            for number in range(plan.sessions)
        ]
    )


def _put(plan: Plan) -> Iterator[bytes]:
    """Sessions of ten messages, replaced again and again, each time with one message more than the last (as chat clients do)."""
    prepared = [
        session(plan, f"put{plan.number}-{number}", user_id(plan, number), 1 + version)
        for version in range(10)
        for number in range(20)
    ]
    return _repeating(prepared)


def _append(plan: Plan) -> Iterator[bytes]:
    """One message to one of two hundred sessions."""
    for number in count():
        target = f"{plan.run}-append{plan.number}-{number % 200}"
        yield encoded(
            "POST",
            f"/v1/working-memory/{target}/messages",
            {
                "user_id": user_id(plan, number),
                "messages": [message(f"{target}-{number}", number % 1000)],
            },
        )


def _create(plan: Plan) -> Iterator[bytes]:
    """One memory that was not there before."""
    for number in count(plan.number * 1_000_000):
        yield encoded("POST", "/v1/long-term-memory/", {"memories": [memory(plan, number, kind="c")]})


def _search(mode: str) -> Callable[[Plan], Iterator[bytes]]:
    def requests_of(plan: Plan) -> Iterator[bytes]:
        return _repeating(
            [
                encoded(
                    "POST",
                    "/v1/long-term-memory/search",
                    {
                        "text": texts.query(index),
                        "search_mode": mode,
                        "user_id": {"eq": user_id(plan, index)},
                        "limit": 10,
                    },
                )
                for index in _sampled(plan)
            ]
        )

    return requests_of


def _prompt(plan: Plan) -> Iterator[bytes]:
    """A session's messages and a hybrid search of its user's memories."""
    prepared: list[bytes] = []
    for index in _sampled(plan):
        number = index % plan.sessions
        user = user_id(plan, number)
        body = {
            "query": texts.query(index),
            "session": {"session_id": f"{plan.run}-prompt{number}", "user_id": user},
            "long_term_search": {"search_mode": "hybrid", "user_id": {"eq": user}, "limit": 10},
        }
        prepared.append(encoded("POST", "/v1/memory/prompt", body))
    return _repeating(prepared)


def _bare(method: str, route: str) -> Callable[[Plan], Iterator[bytes]]:
    def requests_of(plan: Plan) -> Iterator[bytes]:
        path = f"/{route}/{plan.response_bytes}"
        body = None if method == "GET" else {"text": "x" * max(0, plan.request_bytes - len('{"text": ""}'))}
        return _repeating([encoded(method, path, body)])

    return requests_of


def _sampled(plan: Plan) -> list[int]:
    return [Random(plan.number * _PREPARED + each).randrange(plan.memories) for each in range(_PREPARED)]


def _repeating(prepared: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from prepared


_WORKLOADS: dict[str, Callable[[Plan], Iterator[bytes]]] = {
    "load": _load,
    "sessions": _sessions,
    "health": _health,
    "get": _get,
    "put": _put,
    "append": _append,
    "create": _create,
    "search_semantic": _search("semantic"),
    "search_keyword": _search("keyword"),
    "search_hybrid": _search("hybrid"),
    "prompt": _prompt,
    "bare_read": _bare("GET", "read"),
    "bare_ask": _bare("POST", "ask"),
    "bare_durable": _bare("POST", "durable"),
}
