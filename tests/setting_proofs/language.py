"""Proofs of the settings of enrichment, of query rewriting and of the prompts that an operator may write."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent_memory_server.app import open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ANONYMOUS, Scope
from agent_memory_server.domain.records import Memory
from agent_memory_server.domain.search import SearchQuery
from agent_memory_server.domain.sessions import Message, SessionDraft
from agent_memory_server.ports.language_model import ModelCall, Purpose
from agent_memory_server.services.working_memory import Window
from agent_memory_server.testing.language_model import ScriptedLanguageModel
from tests.setting_proofs.running import settings_of


async def _created(settings: Settings) -> Memory:
    """A memory as it is read after it was created without labels."""
    async with open_app(settings) as app:
        at = app.now()
        text = "User works as a nurse in Lisbon."
        memory = Memory(id="m", scope=Scope("default"), text=text, created_at=at, updated_at=at, last_accessed=at)
        await app.memories.create(ANONYMOUS, [memory])
        return await app.memories.get(ANONYMOUS, memory_id="m")


async def enable_topic_extraction(folder: Path) -> None:
    """Off: no topics are added."""
    assert (await _created(settings_of(folder / "on"))).topics
    off = await _created(settings_of(folder / "off", enable_topic_extraction=False))
    assert not off.topics
    assert off.entities


async def enable_ner(folder: Path) -> None:
    """Off: no entities are added."""
    assert (await _created(settings_of(folder / "on"))).entities
    off = await _created(settings_of(folder / "off", enable_ner=False))
    assert not off.entities
    assert off.topics


async def progressive_summarization_prompt(folder: Path) -> None:
    """It is what the model is told when a session is summarised."""
    prompt = "In verse: {prev_summary} {messages_joined}"
    model = ScriptedLanguageModel()
    settings = settings_of(folder, progressive_summarization_prompt=prompt)
    async with open_app(settings, language_model=model) as app:
        messages = tuple(
            Message(id=f"m{number}", role="user", content="words " * 50, created_at=app.now()) for number in range(9)
        )
        draft = SessionDraft(scope=Scope("default", session_id="s"), messages=messages)
        await app.working_memory.put(ANONYMOUS, draft, window=Window(context_window_max=100))
        await app.pending_work.run_due()
    assert model.calls_for(Purpose.SUMMARIZATION)[0].instructions.startswith("In verse:")


async def _asked_to_rewrite(settings: Settings, answer: str) -> Sequence[ModelCall]:
    """What the model is asked when a search wants its query rewritten, and when one wants the answer's own words."""
    model = ScriptedLanguageModel()
    model.answer_with(lambda call: {"query": answer} if call.purpose is Purpose.QUERY else None)
    async with open_app(settings, language_model=model) as app:
        await app.optimized_search.search(
            MemoryFilter(selector=ANONYMOUS.selector()), SearchQuery(text="what about tea"), optimize=True
        )
    return model.calls_for(Purpose.QUERY)


async def query_optimization_prompt_template(folder: Path) -> None:
    """It is what the model is told when a query is rewritten."""
    settings = settings_of(folder, query_optimization_prompt_template="As keywords: {query}")
    (call,) = await _asked_to_rewrite(settings, "tea")
    assert call.instructions.startswith("As keywords:")


async def min_optimized_query_length(folder: Path) -> None:
    """A rewritten query that is shorter is not used: then what was asked for is found and not what was answered."""

    async def found(settings: Settings) -> str:
        model = ScriptedLanguageModel()
        model.answer_with(lambda call: {"query": "piano"} if call.purpose is Purpose.QUERY else None)
        async with open_app(settings, language_model=model) as app:
            at = app.now()
            for text in ("likes green tea", "plays the piano"):
                memory = Memory(
                    id=text, scope=Scope("default"), text=text, created_at=at, updated_at=at, last_accessed=at
                )
                await app.memories.create(ANONYMOUS, [memory])
            query = SearchQuery(text="green tea", limit=1)
            criteria = MemoryFilter(selector=ANONYMOUS.selector())
            page = await app.optimized_search.search(criteria, query, optimize=True)
            return page.hits[0].memory.text

    assert await found(settings_of(folder / "default")) == "plays the piano"
    assert await found(settings_of(folder / "long", min_optimized_query_length=6)) == "likes green tea"
