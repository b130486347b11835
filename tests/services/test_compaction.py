"""Compaction over the real engine with a scripted model: what becomes one, what stays, and what a failure leaves alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.fusing import MERGED_METADATA
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Effect, OperationKind
from agent_memory_server.domain.records import MemoryType, Source
from agent_memory_server.errors import ModelAnswerUnusable, ModelUnavailable
from agent_memory_server.ports.comparisons import Stage
from agent_memory_server.ports.language_model import Purpose
from agent_memory_server.services.memories import MemoryPatch
from agent_memory_server.testing.language_model import REFUSES, SERVER_DOWN
from tests.services.compacting import (
    ACTOR,
    ALICE,
    CALLER,
    DIFFERENT,
    EVERYTHING,
    T0,
    World,
    asked_about,
    later,
    memory,
    open_world,
    says,
)

TEA = ("User likes green tea", "The user likes green tea a lot", "User really likes green tea")
ONE_TEXT = "User really likes green tea a lot"
TENANT = ScopeSelector("default")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path / "memory.db") as opened:
        yield opened


async def test_near_duplicates_become_one_without_losing_anything(world: World) -> None:
    """The merged memory carries times, counts, tags, sources, dates and metadata of all; they answer as superseded."""
    first = memory(
        "a",
        TEA[0],
        created_at=T0 - timedelta(days=9),
        access_count=3,
        topics=("tea",),
        extracted_from=("m1",),
        metadata={"mood": "calm", "only": 1},
        trust=0.4,
        source=Source.TOOL,
        extraction_strategy="preferences",
    )
    second = memory(
        "b",
        TEA[1],
        last_accessed=T0 + timedelta(days=1),
        access_count=4,
        topics=("drinks", "tea"),
        entities=("Tea",),
        extracted_from=("m2", "m1"),
        event_date=T0,
        metadata={"mood": "happy"},
    )
    await world.write(first, second)
    world.model.script(Purpose.MERGING, says(ONE_TEXT))
    done = await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert (done.merged, done.superseded, done.remaining, done.unfinished) == (1, 2, 1, None)
    (merged,) = (await world.live()).values()
    assert merged.text == ONE_TEXT
    assert (merged.created_at, merged.last_accessed) == (first.created_at, second.last_accessed)
    assert (merged.access_count, merged.topics, merged.entities) == (7, ("tea", "drinks"), ("Tea",))
    assert (merged.extracted_from, merged.derived_from, merged.event_date) == (("m1", "m2"), ("a", "b"), T0)
    assert (merged.trust, merged.source, merged.extraction_strategy) == (0.4, Source.TOOL, "preferences")
    assert merged.metadata["mood"] == "calm"
    assert merged.metadata["only"] == 1
    assert merged.metadata[MERGED_METADATA] == [{"id": "b", "metadata": {"mood": "happy"}}]
    for source in (first, second):
        stored = await world.get(source.id)
        assert (stored.superseded_by, stored.text) == (merged.id, source.text)
    history = await world.stores.journal.history(first.key)
    assert history[-1].operation.kind is OperationKind.MERGE
    assert history[-1].operation.actor == ACTOR
    assert "language model" in history[-1].operation.reason
    assert history[-1].before is not None
    assert history[-1].before.superseded_by is None


async def test_merged_twice_is_one_memory(world: World) -> None:
    """The id follows from the sources, so that two runs that overlap make one memory of them."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.answer_with(lambda _: says(ONE_TEXT))
    await asyncio.gather(*(world.compaction.compact(EVERYTHING, actor=ACTOR) for _ in range(3)))
    assert len(await world.live()) == 1


@pytest.mark.parametrize(
    "answer", ["", "NONE", REFUSES, says(""), says("NONE"), {"same": "yes", "text": "x"}, says("x" * 999)]
)
async def test_an_unusable_answer_changes_nothing_and_is_asked_for_again(world: World, answer: object) -> None:
    """A refusal, an empty or malformed answer is a failure: the originals stay live, and the next good answer counts."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.script(Purpose.MERGING, answer, answer)  # pyright: ignore[reportArgumentType] - the parametrised answers
    with pytest.raises(ModelAnswerUnusable):
        await world.compaction.compact_changed(TENANT)
    assert set(await world.live()) == {"a", "b"}
    world.model.script(Purpose.MERGING, says(ONE_TEXT))
    assert (await world.compaction.compact_changed(TENANT)).merged == 1


async def test_answers_that_stay_unusable_are_not_asked_for_for_ever(world: World) -> None:
    """After five runs only a request, or a change, makes a model look again."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.answer_with(lambda _: "")
    for _ in range(5):
        with pytest.raises(ModelAnswerUnusable):
            await world.compaction.compact_changed(TENANT)
    asked = len(world.questions)
    assert (await world.compaction.compact_changed(TENANT)).compared == 0
    assert len(world.questions) == asked
    world.model.answer_with(lambda _: says(ONE_TEXT))
    assert (await world.compaction.compact(EVERYTHING, actor=ACTOR)).merged == 1


async def test_a_model_that_is_away_leaves_everything_for_later(world: World) -> None:
    """Exact duplicates are settled, near ones stay due; a request says so instead of failing."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]), memory("c", TEA[0]))
    world.model.fail(SERVER_DOWN)
    with pytest.raises(ModelUnavailable):
        await world.compaction.compact_changed(TENANT)
    done = await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert (done.remaining, done.near_duplicates, done.unfinished) == (2, 1, "the scripted model is down")
    world.model.recover()
    world.model.script(Purpose.MERGING, says(ONE_TEXT))
    assert (await world.compaction.compact_changed(TENANT)).merged == 1


async def test_what_is_not_the_same_is_asked_about_once(world: World) -> None:
    """Until one of them changes: then the question is another one."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.answer_with(lambda _: DIFFERENT)
    for _ in range(3):
        await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert len(world.questions) == 1
    await world.memories.edit(CALLER, memory_id="a", patch=MemoryPatch(changes={"topics": ("tea",)}))
    await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert len(world.questions) == 1
    await world.memories.edit(CALLER, memory_id="a", patch=MemoryPatch(changes={"text": TEA[2]}))
    await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert len(world.questions) == 2
    assert len(await world.live()) == 2


async def test_an_idle_run_looks_at_nothing_and_embeds_nothing(world: World) -> None:
    """What was compared is not looked at again, and stored vectors are all that is compared."""
    await world.write(*(memory(f"m{number}", f"Fact {number} about subject {number * 7}") for number in range(50)))
    embedded = world.embedder.texts_embedded
    assert (await world.local.compact_changed(TENANT)).compared == 50
    assert (await world.local.compact_changed(TENANT)).compared == 0
    assert await world.local.tenants_due() == []
    assert world.embedder.texts_embedded == embedded


LOOK_ALIKES = [
    ("User likes tea", "User no longer likes tea"),
    ("User likes tea", "User likes tea, says Ana"),
    ("User likes tea", "Ana likes tea"),
    ("User bought 3 tickets", "User bought 4 tickets"),
    ("User flies on Monday", "User flies on Tuesday"),
    ("User is allergic to nuts", "User is not allergic to nuts"),
]


@pytest.mark.parametrize("texts", LOOK_ALIKES)
async def test_rules_part_look_alikes_whatever_a_model_says(world: World, texts: tuple[str, str]) -> None:
    """A model that would call anything the same is not even asked."""
    await world.write(memory("a", texts[0]), memory("b", texts[1]))
    world.model.answer_with(lambda _: says("The same."))
    done = await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert (done.merged, done.remaining) == (0, 2)
    assert world.questions == []


async def test_a_merge_that_turns_or_drops_something_is_refused(world: World) -> None:
    """A text without the number, or with a no that nobody said, is not stored."""
    await world.write(memory("a", "User drinks 3 cups of tea"), memory("b", "User drinks 3 cups of green tea"))
    for text in ("User drinks cups of green tea", "User does not drink 3 cups of green tea"):
        world.model.script(Purpose.MERGING, says(text), says(text))
        with pytest.raises(ModelAnswerUnusable):
            await world.compaction.compact_changed(TENANT)
    assert len(await world.live()) == 2


async def test_owners_types_pins_messages_and_summaries_never_mix(world: World) -> None:
    """Only memories of exactly one owner and one type meet; ownerless ones are an owner of their own."""
    nobody = Scope("default", "work", None)
    await world.write(
        memory("mine", TEA[0]),
        memory("bob", TEA[1], scope=replace(ALICE, user_id="bob")),
        memory("ownerless", TEA[1], scope=nobody),
        memory("elsewhere", TEA[1], scope=replace(ALICE, namespace="home")),
        memory("no namespace", TEA[1], scope=replace(ALICE, namespace=None)),
        memory("event", TEA[1], memory_type=MemoryType.EPISODIC),
        memory("message", TEA[1], memory_type=MemoryType.MESSAGE),
        memory("pinned", TEA[1], pinned=True),
        memory("summary", TEA[2], extraction_strategy="summary"),
    )
    world.model.answer_with(lambda _: says(ONE_TEXT))
    before = await world.live()
    done = await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert (done.merged, done.superseded) == (0, 0)
    assert await world.live() == before
    assert world.questions == []


async def test_events_of_different_times_are_not_the_same(world: World) -> None:
    """Equal words about two days are two events, by hash and by meaning."""
    await world.write(
        memory("a", "User went running", memory_type=MemoryType.EPISODIC, event_date=T0),
        memory("b", "User went running", memory_type=MemoryType.EPISODIC, event_date=T0 + timedelta(days=7)),
        memory("c", "User went running", memory_type=MemoryType.EPISODIC, event_date=T0),
    )
    world.model.answer_with(lambda _: says("User went running"))
    done = await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert (done.superseded, done.remaining) == (1, 2)
    assert {each.event_date for each in (await world.live()).values()} == {T0, T0 + timedelta(days=7)}


async def test_exact_duplicates_leave_one_that_knows_what_all_knew(world: World) -> None:
    """The one used last stays, with the others' tags, counts and metadata; the pinned one stays untouched instead."""
    await world.write(
        memory("old", TEA[0], topics=("tea",), created_at=T0 - timedelta(days=5), access_count=2),
        memory("new", TEA[0], last_accessed=T0 + timedelta(hours=1), metadata={"from": "mail"}, access_count=3),
    )
    done = await world.local.compact(EVERYTHING, actor=ACTOR)
    assert (done.groups, done.superseded) == (1, 1)
    (kept,) = (await world.live()).values()
    assert (kept.id, kept.topics, kept.access_count) == ("new", ("tea",), 5)
    assert (kept.created_at, kept.metadata) == (T0 - timedelta(days=5), {"from": "mail"})
    await world.write(memory("pinned", TEA[0], pinned=True), memory("pinned too", TEA[0], pinned=True))
    pinned = await world.get("pinned")
    await world.local.compact(EVERYTHING, actor=ACTOR)
    assert set(await world.live()) == {"pinned", "pinned too"}
    assert await world.get("pinned") == pinned


async def test_an_edit_during_a_merge_wins(world: World) -> None:
    """The group is looked at anew: the edited text stays, and nothing of it is merged away."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.hold()
    world.model.answer_with(lambda _: says(ONE_TEXT))
    running = asyncio.create_task(world.compaction.compact(EVERYTHING, actor=ACTOR))
    await world.until_asked()
    await world.memories.edit(CALLER, memory_id="a", patch=MemoryPatch(changes={"text": "User moved to Lisbon"}))
    world.model.recover()
    done = await running
    assert (done.merged, set(await world.live())) == (0, {"a", "b"})
    assert (await world.get("a")).text == "User moved to Lisbon"


async def test_a_delete_during_a_merge_wins(world: World) -> None:
    """What was deleted while the model thought about it does not live on in a merged text."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.hold()
    world.model.answer_with(lambda _: says(ONE_TEXT))
    running = asyncio.create_task(world.compaction.compact(EVERYTHING, actor=ACTOR))
    await world.until_asked()
    await world.memories.delete(CALLER, memory_ids=["a"])
    world.model.recover()
    assert (await running).merged == 0
    assert set(await world.live()) == {"b"}


async def test_deleting_a_source_takes_its_text_out_of_the_merge(world: World) -> None:
    """The merged memory goes with its history, and the other sources live again, due to be compared."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]), memory("c", TEA[2]))
    world.model.answer_with(lambda call: says(max(asked_about(call), key=len) + " really"))
    await world.compaction.compact(EVERYTHING, actor=ACTOR)
    (merged,) = (await world.live()).values()
    assert set(merged.derived_from) == {"a", "b", "c"}
    await world.memories.delete(CALLER, memory_ids=["a"])
    assert set(await world.live()) == {"b", "c"}
    assert await world.stores.memories.get(merged.key) is None
    history = await world.stores.journal.history(merged.key)
    assert all(each.scrubbed and each.before is None for each in history)
    again = await world.compaction.compact_changed(TENANT)
    assert again.merged == 1
    (anew,) = (await world.live()).values()
    assert set(anew.derived_from) == {"b", "c"}


async def test_deleting_a_merged_memory_takes_its_sources(world: World) -> None:
    """They say the same, so the fact would otherwise still answer by id."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.answer_with(lambda _: says(ONE_TEXT))
    await world.compaction.compact(EVERYTHING, actor=ACTOR)
    (merged,) = await world.live()
    await world.memories.delete(CALLER, memory_ids=[merged])
    for gone in ("a", "b", merged):
        assert await world.stores.memories.get(memory(gone, "").key) is None
    history = await world.stores.journal.history(memory("a", "").key)
    assert all(each.before is None for each in history)
    assert history[-1].effect is Effect.DELETED


async def test_local_mode_reports_near_duplicates_and_leaves_them(world: World) -> None:
    """The plan and every report name them; as soon as there is a model they are decided."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]), memory("c", "User lives in Lisbon"))
    for _ in range(2):
        done = await world.local.compact(EVERYTHING, actor=ACTOR)
        assert (done.near_duplicates, done.merged, done.remaining) == (1, 0, 3)
    assert (await world.local.compact_changed(TENANT)).compared == 0
    plan = await world.local.plan(EVERYTHING)
    assert [[each.text for each in group.memories] for group in plan.groups] == [list(TEA[:2])]
    assert "no language model" in plan.groups[0].reason
    world.model.answer_with(lambda _: says(ONE_TEXT))
    assert (await world.compaction.compact_changed(TENANT)).merged == 1


async def test_a_plan_changes_nothing_and_asks_nobody(world: World) -> None:
    """It shows exact groups with their survivor, and near groups that a model decides."""
    await world.write(
        *(memory(f"m{number}", "Same words", last_accessed=T0 + timedelta(number)) for number in range(3))
    )
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    before = await world.live()
    plan = await world.compaction.plan(EVERYTHING)
    assert [(group.kind, group.survivor, len(group.memories)) for group in plan.groups] == [
        ("exact", "m2", 3),
        ("near", None, 2),
    ]
    assert (plan.total, plan.remaining) == (2, 5)
    assert await world.live() == before
    assert world.questions == []


async def test_compaction_keeps_to_its_selection(world: World) -> None:
    """Other users, namespaces and, where one is named, other sessions are left alone, and stay due."""
    bob = replace(ALICE, user_id="bob")
    for scope in (ALICE, bob):
        await world.write(*(memory(name, "Same words", scope=scope) for name in "ab"))
    mine = MemoryFilter(selector=ScopeSelector("default", "work", "alice"))
    assert (await world.local.compact(mine, actor=ACTOR)).remaining == 1
    assert len(await world.live(ScopeSelector("default", "work", "bob"))) == 2
    in_session = replace(bob, session_id="s")
    await world.write(*(memory(f"s{name}", "Same words", scope=in_session) for name in "ab"))
    session = MemoryFilter(selector=ScopeSelector("default"), session_id=TextFilter(eq="s"))
    assert (await world.local.compact(session, actor=ACTOR)).remaining == 1
    assert len(await world.live(ScopeSelector("default", "work", "bob"))) == 3
    assert (await world.local.compact(EVERYTHING, actor=ACTOR)).remaining == 3


async def test_the_duplicate_that_fusion_would_hide_is_found(world: World) -> None:
    """First by meaning and nowhere by keyword: neighbours come from vectors alone, so no shared word is needed."""
    await world.write(
        memory("a", "keeps felines"),
        memory("b", "owns cats"),
        *(memory(f"n{number}", f"keeps felines, cats and {number} dogs which owns Rex") for number in range(20, 30)),
    )
    world.model.answer_with(lambda _: says("owns cats"))
    done = await world.compaction.compact(EVERYTHING, actor=ACTOR)
    assert sorted(world.questions[0]) == ["keeps felines", "owns cats"]
    assert done.merged == 1


async def test_what_is_written_is_deduplicated_by_meaning_in_the_background(world: World) -> None:
    """Within the wider threshold for writes; what was written without ``deduplicate`` waits for compaction."""
    await world.write(memory("a", "User likes green tea and cake"), deduplicate=False)
    assert (await world.compaction.deduplicate(TENANT)).compared == 0
    await world.write(memory("b", "User likes green tea"), deduplicate=True)
    world.model.answer_with(lambda _: says("User likes green tea and cake"))
    done = await world.compaction.deduplicate(TENANT)
    assert (done.compared, done.merged) == (1, 1)
    due = await world.stores.comparisons.due(TENANT, stage_max=Stage.REFUSED, limit=9)
    assert [each.stage for each in due] == [Stage.CHANGED], "the merged memory is due for compaction"


async def test_a_request_waits_for_a_model_no_longer_than_it_was_told(world: World) -> None:
    """What is undecided then stays due, and the report says why."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.hold()
    done = await world.compaction.compact(EVERYTHING, actor=ACTOR, within_s=0.05)
    assert (done.merged, done.near_duplicates) == (0, 1)
    assert done.unfinished == "time was up before every group was decided"
    world.model.answer_with(lambda _: says(ONE_TEXT))
    world.model.recover()
    assert (await world.compaction.compact_changed(TENANT)).merged == 1


async def test_without_meaning_only_exact_duplicates_go(tmp_path: Path) -> None:
    """COMPACT_SEMANTIC_DUPLICATES off: no vector is compared and no model asked; turned on, everything is caught up."""
    path = tmp_path / "memory.db"
    async with open_world(path, by_meaning=False) as world:
        await world.write(memory("a", TEA[0]), memory("b", TEA[1]), memory("c", TEA[1]))
        done = await world.compaction.compact(EVERYTHING, actor=ACTOR)
        assert (done.superseded, done.near_duplicates, world.questions) == (1, 0, [])
        assert await world.compaction.tenants_due() == []
    async with open_world(path) as world:
        world.model.answer_with(lambda _: says(ONE_TEXT))
        assert (await world.compaction.compact_changed(TENANT)).merged == 1


async def test_a_memory_merged_before_merges_again(world: World) -> None:
    """A paraphrase that comes later joins what was merged; every id still leads to the one that stands."""
    await world.write(memory("a", TEA[0]), memory("b", TEA[1]))
    world.model.answer_with(lambda _: says(ONE_TEXT))
    await world.compaction.compact(EVERYTHING, actor=ACTOR)
    later(world.clock, hours=1)
    await world.write(memory("c", TEA[2]))
    assert (await world.compaction.compact_changed(TENANT)).merged == 1
    (kept,) = (await world.live()).values()
    assert (await world.get("c")).superseded_by == kept.id
    assert (await world.get((await world.get("a")).superseded_by or "")).superseded_by == kept.id
