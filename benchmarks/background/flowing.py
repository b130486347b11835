"""From append to extracted and searchable: messages a second, and the calls to models and embedders that they cost."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_memory_server.app import MemoryApp, open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import ANONYMOUS, DEFAULT_TENANT, ScopeSelector
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.domain.sessions import Message
from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.testing.language_model import ScriptedLanguageModel, content_of
from agent_memory_server.testing.model_server import ModelServer
from benchmarks import texts

APPENDED_AT_ONCE = 10
MESSAGES_PER_SESSION = 40
_HOBBIES = ("sailing", "pottery", "chess", "gardening", "climbing", "cycling", "painting", "judo", "baking", "diving")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flowed:
    """``memories`` are those extracted (messages that are indexed as they are do not count). Calls are requests."""

    mode: str
    messages: int
    messages_per_s: float
    memories: int
    model_calls_per_message: float
    model_calls_per_memory: float
    embedding_calls_per_message: float | None
    embedding_calls_per_memory: float | None
    """None: the embedder is in the process, where a call is a function call."""


async def flowed_locally(messages: int) -> Flowed:
    """Local mode: rules and bundled vectors."""
    return await _flowed("local mode (rules)", messages, None)


async def flowed_with_model(messages: int) -> Flowed:
    """A scripted model that answers at once, one memory for each message; bundled vectors."""
    model = ScriptedLanguageModel()
    model.answer_with(_answer)
    return await _flowed("model without latency", messages, model)


async def calls_over_the_wire(messages: int) -> Flowed:
    """The same with a remote embedder, to count its requests: an endpoint on loopback."""
    model = ScriptedLanguageModel()
    model.answer_with(_answer)
    async with ModelServer() as server:
        return await _flowed("model and remote embedder", messages, model, server)


async def _flowed(
    mode: str, messages: int, model: ScriptedLanguageModel | None, server: ModelServer | None = None
) -> Flowed:
    with tempfile.TemporaryDirectory(prefix="background-") as folder:
        remote: Mapping[str, Any] = {"openai_api_base": server.base_url, "openai_api_key": "none"} if server else {}
        settings = Settings(
            _env_file=None,  # pyright: ignore[reportCallIssue] - of pydantic-settings
            storage_url=f"sqlite:///{folder}/memory.db",
            data_dir=Path(folder),
            embedding_model="text-embedding-3-small" if server else "wordllama",
            extraction_debounce_seconds=0,
            **remote,
        )
        async with open_app(settings, language_model=model) as app:
            begun = time.perf_counter()
            for session in range(0, messages, MESSAGES_PER_SESSION):
                await _converse(app, session)
                await _work(app)
            spent_s = time.perf_counter() - begun
            found = await _extracted(app)
            await _check_searchable(app)
        calls = len(model.calls) if model else 0
        embedded = None
        if server is not None:
            embedded = sum(request.path.endswith("/embeddings") for request in server.requests)
        return Flowed(
            mode=mode,
            messages=messages,
            messages_per_s=messages / spent_s,
            memories=found,
            model_calls_per_message=calls / messages,
            model_calls_per_memory=calls / max(1, found),
            embedding_calls_per_message=None if embedded is None else embedded / messages,
            embedding_calls_per_memory=None if embedded is None else embedded / max(1, found),
        )


async def _converse(app: MemoryApp, first: int) -> None:
    """One session, appended in portions."""
    for start in range(first, first + MESSAGES_PER_SESSION, APPENDED_AT_ONCE):
        said = [
            Message(id=f"m{index}", role="user", content=_said(index), created_at=app.now())
            for index in range(start, start + APPENDED_AT_ONCE)
        ]
        await app.working_memory.append(ANONYMOUS, session_id=f"s{first}", user_id=f"u{first}", messages=said)


def _said(index: int) -> str:
    word = texts.text(index).split()[-1]
    return f"I like {_HOBBIES[index % len(_HOBBIES)]} with my {word} club number {index}."


async def _work(app: MemoryApp) -> None:
    """All that is due, in every lane, until nothing is."""
    while sum([await lane.run_due() for lane in app.lanes.values()]):
        pass


def _answer(call: ModelCall) -> Mapping[str, Any] | None:
    if call.purpose is not Purpose.EXTRACTION:
        return None
    document = content_of(call)
    memories = [
        {
            "type": "semantic",
            "text": f"User said: {message['text']}",
            "topics": ["hobbies"],
            "entities": ["User"],
            "event_date": None,
            "sources": [message["n"]],
        }
        for message in document["messages"]
    ]
    return json.loads(json.dumps({"memories": memories}))


async def _extracted(app: MemoryApp) -> int:
    everything = MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT), memory_type=TextFilter(ne="message"))
    return (await app.memories.list(everything)).total


async def _check_searchable(app: MemoryApp) -> None:
    """A benchmark of what is not found would be fast for nothing."""
    page = await app.search.search(
        MemoryFilter(selector=ScopeSelector(DEFAULT_TENANT)),
        SearchQuery(text="club number 3", mode=SearchMode.HYBRID),
    )
    assert page.hits
