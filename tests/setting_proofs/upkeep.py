"""Proofs of the settings of deduplication, compaction and forgetting."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.app import MemoryApp, open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ANONYMOUS, Scope
from agent_memory_server.domain.jobs import Lane
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.errors import Conflict, InvalidInput, NotUndoable
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.services.memories import MemoryPatch
from agent_memory_server.testing.language_model import ScriptedLanguageModel
from tests.setting_proofs.running import settings_of

START = datetime(2026, 3, 1, tzinfo=UTC)
EVERYTHING = MemoryFilter(selector=ANONYMOUS.selector())


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def _memory(memory_id: str, text: str, **fields: Any) -> Memory:
    at = fields.pop("at", START)
    owner = Scope("default", None, fields.pop("user", None))
    return Memory(id=memory_id, scope=owner, text=text, created_at=at, updated_at=at, last_accessed=at, **fields)


async def _upkeep(app: MemoryApp) -> None:
    """Everything that schedules ask for now."""
    await app.schedules.run_due()
    await app.lanes[Lane.UPKEEP].run_due()


async def _left(folder: Path, *memories: Memory, deduplicate: bool = False, **values: Any) -> set[str]:
    """The live memories after they were created and one round of upkeep was done."""
    model = ScriptedLanguageModel()
    model.answer_with(
        lambda call: {"same": True, "text": "User drinks tea."} if call.purpose is Purpose.MERGING else None
    )
    settings = settings_of(folder, **values)
    async with open_app(settings, now=Clock(), language_model=model) as app:
        await app.memories.create(ANONYMOUS, memories, deduplicate=deduplicate)
        await _upkeep(app)
        return {memory.text for memory in (await app.memories.list(EVERYTHING)).memories}


ALIKE = (_memory("a", "User likes to drink tea."), _memory("b", "User likes drinking tea."))


async def compact_semantic_duplicates(folder: Path) -> None:
    """Off: what says the same in other words stays two memories."""
    assert await _left(folder / "on", *ALIKE) == {"User drinks tea."}
    assert len(await _left(folder / "off", *ALIKE, compact_semantic_duplicates=False)) == 2


async def deduplication_distance_threshold(folder: Path) -> None:
    """A distance of nothing finds no duplicate at write time; compaction, an hour away, does not matter here."""

    async def asked(where: Path, **values: Any) -> int:
        model = ScriptedLanguageModel()
        async with open_app(settings_of(where, **values), now=Clock(), language_model=model) as app:
            await app.memories.create(ANONYMOUS, ALIKE)
            await app.lanes[Lane.UPKEEP].run_due()
        return len(model.calls_for(Purpose.MERGING))

    assert await asked(folder / "wide", deduplication_distance_threshold=0.9) == 1
    assert await asked(folder / "none", deduplication_distance_threshold=0.0) == 0


async def _rounds_within_the_hour(
    folder: Path, happens: Callable[[MemoryApp, int], Awaitable[bool]], **values: Any
) -> int:
    """In how many of the next six rounds, ten minutes apart, something happened; the first round is not counted."""
    clock = Clock()
    async with open_app(settings_of(folder, **values), now=clock) as app:
        await _upkeep(app)
        rounds = 0
        for number in range(6):
            clock.now += timedelta(minutes=10)
            rounds += await happens(app, number)
        return rounds


async def _compacts(app: MemoryApp, number: int) -> bool:
    copies = [_memory(f"{number}{name}", f"The same {number}") for name in "ab"]
    await app.memories.create(ANONYMOUS, copies, deduplicate=False)
    before = (await app.memories.list(EVERYTHING)).total
    await _upkeep(app)
    return (await app.memories.list(EVERYTHING)).total < before


async def compaction_every_minutes(folder: Path) -> None:
    """Copies that were written since go with the next round."""
    assert await _rounds_within_the_hour(folder / "often", _compacts, compaction_every_minutes=10) == 6
    assert await _rounds_within_the_hour(folder / "seldom", _compacts, compaction_every_minutes=30) == 2


async def _forgets(app: MemoryApp, number: int) -> bool:
    await app.memories.create(ANONYMOUS, [_memory(f"m{number}", f"Old {number}", at=START - timedelta(days=9))])
    await _upkeep(app)
    return (await app.memories.list(EVERYTHING)).total == 0


async def forgetting_every_minutes(folder: Path) -> None:
    """What is too old goes with the next round."""
    on = {"forgetting_enabled": True, "forgetting_max_age_days": 5}
    assert await _rounds_within_the_hour(folder / "often", _forgets, forgetting_every_minutes=10, **on) == 6
    assert await _rounds_within_the_hour(folder / "seldom", _forgets, forgetting_every_minutes=30, **on) == 2


OLD = _memory("old", "Old.", at=START - timedelta(days=30))
NEW = _memory("new", "New.")


async def forgetting_enabled(folder: Path) -> None:
    """Off: a policy alone removes nothing."""
    assert await _left(folder / "off", OLD, NEW, forgetting_max_age_days=5) == {"Old.", "New."}
    assert await _left(folder / "on", OLD, NEW, forgetting_max_age_days=5, forgetting_enabled=True) == {"New."}


async def forgetting_max_age_days(folder: Path) -> None:
    """What is older goes."""
    assert await _left(folder / "5", OLD, NEW, forgetting_max_age_days=5, forgetting_enabled=True) == {"New."}
    assert len(await _left(folder / "50", OLD, NEW, forgetting_max_age_days=50, forgetting_enabled=True)) == 2


async def forgetting_max_inactive_days(folder: Path) -> None:
    """What was unused for longer goes."""
    assert await _left(folder / "5", OLD, NEW, forgetting_max_inactive_days=5, forgetting_enabled=True) == {"New."}
    assert len(await _left(folder / "50", OLD, NEW, forgetting_max_inactive_days=50, forgetting_enabled=True)) == 2


async def forgetting_budget_keep_top_n(folder: Path) -> None:
    """So many stay of each owner, and another's many cost nobody anything."""
    others = [_memory(f"o{number}", f"Noise {number}.", user="noisy") for number in range(5)]
    kept = await _left(folder, OLD, NEW, *others, forgetting_budget_keep_top_n=1, forgetting_enabled=True)
    assert "New." in kept
    assert len(kept) == 2


async def refuse_erased_content(folder: Path) -> None:
    """What was deleted comes again only where it is not refused."""
    for refuses in (True, False):
        async with open_app(settings_of(folder / str(refuses), refuse_erased_content=refuses), now=Clock()) as app:
            await app.memories.create(ANONYMOUS, [OLD])
            await app.memories.delete(ANONYMOUS, memory_ids=["old"])
            with pytest.raises(Conflict) if refuses else contextlib.nullcontext():
                await app.memories.create(ANONYMOUS, [OLD])


async def undo_retention_days(folder: Path) -> None:
    """After so many days an operation cannot be undone."""
    for days, refused in ((3, False), (1, True)):
        clock = Clock()
        async with open_app(settings_of(folder / str(days), undo_retention_days=days), now=clock) as app:
            await app.memories.create(ANONYMOUS, [OLD])
            await app.memories.edit(ANONYMOUS, memory_id="old", patch=MemoryPatch(changes={"text": "New."}))
            page = await app.history.operations(ANONYMOUS, newest_first=True, limit=1)
            clock.now += timedelta(days=2)
            with pytest.raises(NotUndoable) if refused else contextlib.nullcontext():
                await app.undo.undo(ANONYMOUS, operation_id=page.operations[0].operation.id)


async def retention_policies(folder: Path) -> None:
    """Memories of the named namespace and type go at their age, and no others; the journal names the policy."""
    policies = '[{"name": "notes", "namespace": "notes", "memory_types": ["semantic"], "max_age_days": 5}]'
    notes, kept = Scope("default", "notes", None), Scope("default", "other", None)
    event = replace(OLD, id="event", scope=notes, memory_type=MemoryType.EPISODIC)
    memories = [replace(OLD, scope=notes), replace(NEW, scope=notes), replace(OLD, scope=kept), event]
    for named, left in ((policies, 3), ("", 4)):
        values: dict[str, Any] = {"retention_policies": named}
        settings = settings_of(folder / str(left), retention_policies=Settings(**values).retention_policies)
        async with open_app(settings, now=Clock()) as app:
            await app.memories.create(ANONYMOUS, memories, deduplicate=False)
            await _upkeep(app)
            assert (await app.memories.list(EVERYTHING)).total == left
            page = await app.history.operations(ANONYMOUS, newest_first=True, limit=1)
            assert ("policy notes" in page.operations[0].operation.reason) is (left == 3)


async def webhook_allow_private_addresses(folder: Path) -> None:
    """Off: an address of this machine is refused as a webhook's."""
    for allowed in (True, False):
        values = {"webhook_allow_private_addresses": allowed}
        async with open_app(settings_of(folder / str(allowed), **values), now=Clock()) as app:
            with contextlib.nullcontext() if allowed else pytest.raises(InvalidInput):
                await app.webhooks.create(ANONYMOUS, url="http://127.0.0.1:9/hook")
