"""A conversation in, five questions out: the main job of the server, over its REST API, with nothing but HTTP and JSON.

    python -m examples.demo [FILE]

It starts a server of its own on a temporary store, appends the sessions of a conversation (LoCoMo format), waits until
every message has become a searchable memory, shows the memories that formed of them, and asks questions by search and by
memory prompt.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent_memory_server.importers.conversations import FileSession, read_sessions
from examples.own_server import server_process

SHIPPED = Path(__file__).with_name("conversation.json")
FULL_SIZE = Path(__file__).resolve().parents[2] / "shared" / "retrieval" / "locomo_dev.json"
"""A data set beside the repository, where there is one: a conversation of 19 sessions over five months."""
SETTINGS = {"EXTRACTION_DEBOUNCE_SECONDS": "1"}
"""Extraction waits until a conversation pauses, half a minute by default; nobody wants to watch that."""
QUESTIONS_ASKED = 5
HITS_ASKED = 10
"""A page of the API's default size."""
FORMED_SHOWN = 5
SEARCHABLE_WITHIN_S = 60.0


class MemoryApi:
    """The four calls that an agent needs. Any HTTP client does; this one is the standard library's."""

    def __init__(self, url: str, user_id: str) -> None:
        self._url = url
        self._user_id = user_id

    def append(self, session_id: str, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Add messages to a session. Safe to repeat: a message id that is there already is not stored twice."""
        path = f"/v1/working-memory/{urllib.parse.quote(session_id, safe='')}/messages"
        return self._call("POST", path, {"messages": messages, "user_id": self._user_id})

    def pending(self) -> int:
        """How much is still to be done in the background for this user's memories."""
        return self._call("GET", f"/v1/pending?user_id={urllib.parse.quote(self._user_id)}")["pending"]

    def search(self, text: str, limit: int) -> list[dict[str, Any]]:
        return self._call("POST", "/v1/long-term-memory/search", {"text": text, **self._asked(limit)})["memories"]

    def prompt(self, query: str, session_id: str, limit: int) -> list[dict[str, Any]]:
        """Messages for a language model: the session so far, the memories that matter, and the query."""
        body = {
            "query": query,
            "session": {"session_id": session_id, "user_id": self._user_id},
            "long_term_search": self._asked(limit),
        }
        return self._call("POST", "/v1/memory/prompt", body)["messages"]

    def formed(self, limit: int) -> dict[str, Any]:
        """What was extracted from the messages: a page of memories, newest first, and how many there are."""
        user = urllib.parse.quote(self._user_id)
        return self._call("GET", f"/v1/long-term-memory?user_id={user}&memory_type=semantic&limit={limit}")

    def _asked(self, limit: int) -> dict[str, Any]:
        """By meaning and by words, for this user alone. The questions are about years ago: what is recent is no better."""
        return {
            "search_mode": "hybrid",
            "limit": limit,
            "user_id": {"eq": self._user_id},
            "recency_boost": False,
        }

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(self._url + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """``evidence``: ids of the messages that hold the answer."""

    text: str
    answer: str
    evidence: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the server gave for one question. ``memory_lines``: the memories in the prompt."""

    question: Question
    hits: list[dict[str, Any]]
    memory_lines: list[str]
    search_ms: float

    @property
    def found_at(self) -> int | None:
        """The place of the first hit that holds the answer, from 1."""
        return next((place for place, hit in enumerate(self.hits, 1) if self.holds_answer(hit)), None)

    def holds_answer(self, hit: dict[str, Any]) -> bool:
        """Whether the memory is one of the messages with the answer, or was extracted from one."""
        return not self.question.evidence.isdisjoint([hit["id"], *(hit["extracted_from"] or [])])


def load(api: MemoryApi, sessions: Sequence[FileSession]) -> int:
    """Append every session; returns how many messages were stored. Waits until they are searchable."""
    stored = 0
    for session in sessions:
        messages = [
            {
                "id": each.id,
                "role": each.role,
                "name": each.name,
                "content": each.content,
                "created_at": each.created_at.isoformat() if each.created_at else None,
            }
            for each in session.messages
        ]
        stored += api.append(session.session_id, messages)["appended"]
    # They are stored and durable already; becoming memories happens in the background, a moment later.
    deadline = time.monotonic() + SEARCHABLE_WITHIN_S
    while api.pending():
        if time.monotonic() > deadline:
            raise TimeoutError(f"messages were still pending after {SEARCHABLE_WITHIN_S:g} s")
        time.sleep(0.02)
    return stored


def ask(api: MemoryApi, question: Question, session_id: str) -> Asked:
    started = time.perf_counter()
    hits = api.search(question.text, HITS_ASKED)
    search_ms = (time.perf_counter() - started) * 1000
    messages = api.prompt(question.text, session_id, HITS_ASKED)
    heading = "## Long term memories"
    texts = [message["content"]["text"] for message in messages]
    memories = next((text for text in texts if text.startswith(heading)), "")
    lines = [line.strip() for line in memories.splitlines()[1:] if line.strip()]
    return Asked(question=question, hits=hits, memory_lines=lines, search_ms=search_ms)


def questions_of(path: Path) -> tuple[str, list[Question]]:
    """The first conversation's id, and questions spread evenly over those whose answer stands in the conversation."""
    content: Any = json.loads(path.read_bytes())
    sample: dict[str, Any] = content if _is_single(path) else content[0]
    sample_id = str(sample["sample_id"])
    answerable = [each for each in sample["qa"] if each.get("evidence") and each.get("answer") is not None]
    step = max(1, len(answerable) // QUESTIONS_ASKED)
    return sample_id, [
        Question(
            text=each["question"],
            answer=str(each["answer"]),
            evidence=frozenset(f"{sample_id}-{dialogue_id}" for dialogue_id in each["evidence"]),
        )
        for each in answerable[::step][:QUESTIONS_ASKED]
    ]


def run(path: Path, url: str) -> list[Asked]:
    """Load the first conversation of the file into the server at ``url`` and ask."""
    sample_id, questions = questions_of(path)
    sessions = read_sessions(path, conversation=None if _is_single(path) else "1")
    api = MemoryApi(url, user_id=sample_id)
    started = time.perf_counter()
    stored = load(api, sessions)
    _say(
        f"Appended {stored} messages of {len(sessions)} sessions, searchable in {time.perf_counter() - started:.1f} s."
    )
    show_formed(api.formed(FORMED_SHOWN))
    return [ask(api, question, sessions[-1].session_id) for question in questions]


def _is_single(path: Path) -> bool:
    return isinstance(json.loads(path.read_bytes()), dict)


def _say(text: str) -> None:
    Console(highlight=False).print(text, soft_wrap=True)


def show_formed(page: dict[str, Any]) -> None:
    _say(f"{page['total']} facts formed in the background, without a language model. The newest:")
    for memory in page["memories"]:
        topics = f"  [dim]{escape(', '.join(memory['topics']))}[/dim]" if memory["topics"] else ""
        _say(f"   {escape(memory['text'])}{topics}")
    _say("")


def show(asked: Sequence[Asked]) -> None:
    console = Console(highlight=False)
    for number, each in enumerate(asked, 1):
        table = Table(
            title=f"{number}. {each.question.text}",
            title_justify="left",
            title_style="bold",
            expand=True,
            show_edge=False,
        )
        table.add_column("score", width=6)
        table.add_column("when", width=10)
        table.add_column("memory", ratio=1)
        for hit in each.hits[:3]:
            style = "green" if each.holds_answer(hit) else ""
            said = " ".join(hit["text"].split())
            who = hit["name"] or "extracted"
            table.add_row(f"{hit['score']:.3f}", hit["created_at"][:10], escape(f"{who}: {said}"), style=style)
        console.print(table)
        place = f"is hit {each.found_at}" if each.found_at else f"is not among the first {HITS_ASKED} hits"
        expected = (
            f"   expected: {escape(each.question.answer)}  [dim]· its source {place} · {each.search_ms:.0f} ms[/dim]"
        )
        console.print(expected, soft_wrap=True)
        prompt = f"   [dim]memory prompt: {len(each.memory_lines)} memories, first: {_short(each.memory_lines)}[/dim]\n"
        console.print(prompt, soft_wrap=True)
    found = sum(each.found_at is not None for each in asked)
    console.print(f"{found} of {len(asked)} answers' sources are among the first {HITS_ASKED} hits.")


def _short(lines: Sequence[str]) -> str:
    first = lines[0] if lines else "none"
    return escape(first if len(first) <= 90 else f"{first[:87]}...")


def main(arguments: Sequence[str]) -> None:
    path = Path(arguments[0]) if arguments else (FULL_SIZE if FULL_SIZE.is_file() else SHIPPED)
    with (
        tempfile.TemporaryDirectory(prefix="agent-memory-demo-") as folder,
        server_process(Path(folder), settings=SETTINGS) as server,
    ):
        _say(f"A server of its own is ready at {server.url} after {server.ready_s:.1f} s; its store is temporary.")
        show(run(path, server.url))


if __name__ == "__main__":
    main(sys.argv[1:])
