"""Indexing conversations and asking questions over a server's API, as any client would."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from agent_memory_server.importers.conversations import FileMessage
from benchmarks.retrieval.figures import DEPTH_MAX, fused, of_ranking
from benchmarks.retrieval.samples import Question, Sample

_BATCH = 100
_WAIT_S = 600.0
FOREIGN_MAX = 40
"""Questions of another conversation that each is asked."""
RRF = "rrf"
SYSTEMS = {"hybrid": "hybrid", "keyword": "keyword only (BM25)", "semantic": "vector only", RRF: "naive RRF of the two"}
_NAMESPACE = "retrieval"


Scored = list[tuple[str, float]]
"""Ids with their scores, best first."""


class Refused(RuntimeError):
    """The server answered a request with an error; the message holds what it said."""


@dataclass(slots=True)
class Answers:
    """Of one system: each question's category, figures, ranking and time."""

    categories: list[str] = field(default_factory=list[str])
    figures: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    rankings: list[list[str]] = field(default_factory=list[list[str]])
    seconds: list[float] = field(default_factory=list[float])
    evidence: list[frozenset[str]] = field(default_factory=list[frozenset[str]])
    scored: list[Scored] = field(default_factory=list["Scored"])
    """Ids with scores, which a fusion by rank does not have."""
    unanswerable: dict[str, list[Scored]] = field(default_factory=dict[str, "list[Scored]"])
    """What questions without an answer were answered: ``adversarial`` ones, and ``foreign`` ones of another conversation."""

    def add(self, question: Question, scored: Scored, seconds: float) -> None:
        ranking = [identity for identity, _ in scored]
        self.categories.append(question.category)
        self.figures.append(of_ranking(ranking, question.evidence))
        self.rankings.append(ranking)
        self.seconds.append(seconds)
        self.evidence.append(question.evidence)
        self.scored.append(scored)


def index_memories(client: httpx.Client, samples: Sequence[Sample]) -> float:
    """Way (b): every message as a long-term memory of type message. Returns how long it took in seconds."""
    begun = time.perf_counter()
    for sample in samples:
        records = [
            {
                "id": message.id,
                "text": message.content,
                "memory_type": "message",
                "session_id": session.session_id,
                "user_id": sample.name,
                "namespace": _NAMESPACE,
                "name": message.name,
                "created_at": _wire_time(message.created_at),
            }
            for session in sample.sessions
            for message in session.messages
        ]
        for start in range(0, len(records), _BATCH):
            body = {"memories": records[start : start + _BATCH], "deduplicate": False}
            _sent(client.post("/v1/long-term-memory/", json=body))
    _wait_for_background(client)
    return time.perf_counter() - begun


def index_sessions(client: httpx.Client, samples: Sequence[Sample]) -> float:
    """Way (a): every session as working memory; the server indexes its messages. Returns how long it took in seconds."""
    begun = time.perf_counter()
    for sample in samples:
        for session in sample.sessions:
            messages = [_message(message) for message in session.messages]
            body = {"messages": messages, "user_id": sample.name, "namespace": _NAMESPACE}
            _sent(client.put(f"/v1/working-memory/{session.session_id}", json=body))
    _wait_for_background(client)
    return time.perf_counter() - begun


def embedding_model(client: httpx.Client) -> str:
    """The model that the server says it uses."""
    return str(_sent(client.get("/v1/ready"))["checks"]["embedding_model"]["detail"])


def ask_all(
    client: httpx.Client,
    samples: Sequence[Sample],
    systems: Sequence[str],
    say: Callable[[str], None],
    *,
    recency: bool = True,
) -> dict[str, Answers]:
    """Every question of every sample to every system; the vector and the keyword side are asked once, also for the fusion."""
    answers = {system: Answers() for system in systems}
    modes = [
        mode for mode in ("hybrid", "keyword", "semantic") if mode in systems or (RRF in systems and mode != "hybrid")
    ]
    for sample in samples:
        say(f"{sample.name}: {sample.messages} messages, {len(sample.questions)} questions")
        for question in sample.questions:
            rankings: dict[str, tuple[Scored, float]] = {}
            for mode in modes:
                rankings[mode] = _search(client, sample.name, question.text, mode, recency=recency)
            if RRF in systems:
                both = [rankings[mode] for mode in ("keyword", "semantic")]
                order = fused([identity for identity, _ in scored] for scored, _ in both)[:DEPTH_MAX]
                rankings[RRF] = [(identity, 0.0) for identity in order], sum(seconds for _, seconds in both)
            for system in systems:
                answers[system].add(question, *rankings[system])
    return answers


def ask_unanswerable(client: httpx.Client, samples: Sequence[Sample], mode: str) -> dict[str, list[Scored]]:
    """Questions whose right answer is none: those that the data mark so, and those of the next conversation."""
    found: dict[str, list[Scored]] = {"adversarial": [], "foreign": []}
    for place, sample in enumerate(samples):
        found["adversarial"] += [_search(client, sample.name, text, mode)[0] for text in sample.unanswerable]
        other = samples[(place + 1) % len(samples)]
        if other is not sample:
            texts = [question.text for question in other.questions[:FOREIGN_MAX]]
            found["foreign"] += [_search(client, sample.name, text, mode)[0] for text in texts]
    return found


def _search(client: httpx.Client, user: str, text: str, mode: str, *, recency: bool = True) -> tuple[Scored, float]:
    body: dict[str, Any] = {
        "text": text,
        "search_mode": mode,
        "limit": DEPTH_MAX,
        "user_id": {"eq": user},
        "namespace": {"eq": _NAMESPACE},
        **({} if recency else {"recency_boost": False}),
    }
    begun = time.perf_counter()
    response = client.post("/v1/long-term-memory/search", json=body)
    seconds = time.perf_counter() - begun
    return [(each["id"], each["score"]) for each in _sent(response)["memories"]], seconds


def _message(message: FileMessage) -> dict[str, Any]:
    return {
        "id": message.id,
        "role": message.role,
        "content": message.content,
        "name": message.name,
        "created_at": _wire_time(message.created_at),
    }


def _wire_time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _sent(response: httpx.Response) -> Any:
    if response.status_code != 200:
        raise Refused(
            f"{response.request.method} {response.request.url.path}: {response.status_code} {response.text[:300]}"
        )
    return response.json()


def _wait_for_background(client: httpx.Client) -> None:
    begun = time.perf_counter()
    while (pending := int(_sent(client.get("/v1/pending"))["pending"])) > 0:
        if time.perf_counter() - begun > _WAIT_S:
            raise Refused(f"{pending} pieces of background work are still pending after {_WAIT_S:g} s")
        time.sleep(0.1)
