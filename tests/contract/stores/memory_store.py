"""What every engine's MemoryStore has to do. Inherit and give a ``stores`` fixture."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.operations import Delete, Effect, Embedded, Supersede
from agent_memory_server.domain.records import EmbeddingStatus, Memory, MemoryType, Source
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.second_stage import Passage
from agent_memory_server.domain.sessions import SessionDraft, SessionGuard
from agent_memory_server.errors import Conflict, InvalidInput, StaleRevision
from agent_memory_server.ports.memories import Order
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import (
    ALICE,
    MODEL,
    T0,
    memory,
    message,
    operation,
    put,
    selector,
    session_scope,
    unit_vectors,
)

WEIRD = ("a-b", "a b", "über", "u\u0308ber", "a|b", "A", "a", "None", "nul\0in", "quo'te\"", "100%_", "x\ny", "é" * 512)
NEAR_SCOPES = [
    *(Scope("acme", part, "alice") for part in (*WEIRD, None)),
    *(Scope("acme", "work", part) for part in (*WEIRD, None)),
    Scope("ACME", "work", "alice"),
    Scope("acme", None, None),
]


def everything(scope: Scope = ALICE, **fields: object) -> MemoryFilter:
    return replace(MemoryFilter(selector=selector(scope)), **fields)


def content(stored: Memory | None) -> Memory | None:
    """A stored memory without what the store sets."""
    return None if stored is None else replace(stored, revision=0, operation_id="", embedding=EmbeddingStatus.PENDING)


class MemoryStoreContract:
    async def test_a_record_reads_back_equal(self, stores: Stores) -> None:
        """Every field comes back as it was written, whatever characters, sizes and times it holds."""
        full = memory(
            "id\0'%\n|é",
            "text \0 with ' \" % \n ü 🎉",
            scope=Scope("acme", "a|b\0", "None", "s\n1"),
            created_at=datetime(1, 1, 1, tzinfo=UTC),
            updated_at=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
            memory_type=MemoryType.EPISODIC,
            topics=("ü", "a\0b"),
            entities=("E e",),
            name="Ann",
            access_count=7,
            pinned=True,
            extracted=False,
            persisted_at=T0,
            extracted_from=("m\0", "n"),
            event_date=T0,
            extraction_strategy="custom",
            extraction_strategy_config={"a": [1, None, {"b": 0.1}]},
            metadata={"big": 2**80, "float": 1e-300, "text": "\0ü", "none": None, "nested": {"": []}},
            source=Source.TOOL,
            author="sub",
            trust=0.3,
            derived_from=("x",),
            valid_from=T0,
            valid_to=T0,
            expires_at=T0 + timedelta(days=1),
        )
        await stores.memories.commit(operation(put(full), operation_id="first"))
        stored = await stores.memories.get(full.key)
        assert stored == replace(full, revision=1, operation_id="first")

    async def test_near_equal_scopes_never_meet(self, stores: Stores) -> None:
        """One id in many scopes that differ by a hair is as many records, each found in its own scope alone."""
        for number, scope in enumerate(NEAR_SCOPES):
            made = memory("same", f"text {number}", scope=scope)
            await stores.memories.commit(
                operation(put(made, tokens={f"t{number}": 1, "all": 1}, vector=unit_vectors(1)[0]), tenant=scope.tenant)
            )
        for number, scope in enumerate(NEAR_SCOPES):
            found = await stores.memories.get(memory("same", scope=scope).key)
            assert found is not None
            assert found.text == f"text {number}"
            admitted = sum(selector(scope).admits(other) for other in NEAR_SCOPES)
            assert await stores.memories.count(everything(scope), now=T0) == admitted
            page = await stores.memories.list(everything(scope), now=T0, limit=100)
            assert all(selector(scope).admits(listed.scope) for listed in page.memories)
            assert len(page.memories) == page.total == admitted
            candidates = await stores.memories.holding(everything(scope), tokens=["all"], now=T0, limit=100)
            assert candidates.statistics.documents == candidates.statistics.document_frequency["all"] == admitted
            near = await stores.memories.nearest(
                everything(scope), vector=unit_vectors(1)[0], model=MODEL, now=T0, limit=100
            )
            assert len(near.handles) == admitted
        assert await stores.memories.find(ScopeSelector("nobody"), memory_id="same") == []
        assert len(await stores.memories.find(ScopeSelector("acme"), memory_id="same")) == 2

    async def test_an_operation_committed_twice_has_one_effect(self, stores: Stores) -> None:
        """The second commit of an operation id answers as the first did and changes nothing."""
        made = operation(put(memory("a")), put(memory("b"), deduplicate=True))
        first, second = await asyncio.gather(stores.memories.commit(made), stores.memories.commit(made))
        assert first == second
        assert [outcome.effect for outcome in first.outcomes] == [Effect.CREATED, Effect.DUPLICATE]
        stored = await stores.memories.get(memory("a").key)
        assert stored is not None
        assert stored.revision == 1
        assert len(await stores.journal.history(memory("a").key)) == 1

    async def test_racing_duplicates_leave_one_live(self, stores: Stores) -> None:
        """However many copies arrive at once, one is live and each id still answers, naming the survivor."""
        copies = [memory(f"copy{number}") for number in range(20)]
        committed = await asyncio.gather(
            *(stores.memories.commit(operation(put(copy, deduplicate=True))) for copy in copies)
        )
        survivors = {each.outcomes[0].survivor for each in committed}
        assert len(survivors) == 1
        assert await stores.memories.count(everything(), now=T0) == 1
        assert await stores.memories.count(everything(include_superseded=True), now=T0) == 20
        for copy in copies:
            stored = await stores.memories.get(copy.key)
            assert stored is not None
            assert stored.id in survivors or stored.superseded_by in survivors

    async def test_deduplication_keeps_to_the_owner(self, stores: Stores) -> None:
        """The same hash in another owner scope is not a duplicate; the survivor's last access becomes now."""
        later = T0 + timedelta(hours=1)
        bob = replace(ALICE, user_id="bob")
        await stores.memories.commit(operation(put(memory("a", memory_hash="h"))))
        outcome = await stores.memories.commit(
            operation(
                put(memory("b", scope=bob, memory_hash="h"), deduplicate=True),
                put(memory("c", memory_hash="h"), deduplicate=True),
                at=later,
            )
        )
        assert [each.effect for each in outcome.outcomes] == [Effect.CREATED, Effect.DUPLICATE]
        survivor = await stores.memories.get(memory("a").key)
        assert survivor is not None
        assert survivor.last_accessed == later

    async def test_preconditions_fail_the_whole_operation(self, stores: Stores) -> None:
        """A stale ``if_operation`` undoes the changes before it; ``if_absent`` leaves what is there."""
        await stores.memories.commit(operation(put(memory("a")), operation_id="one"))
        with pytest.raises(StaleRevision):
            await stores.memories.commit(
                operation(put(memory("other")), put(memory("a", "new"), if_operation="not this"))
            )
        assert await stores.memories.get(memory("other").key) is None
        kept = await stores.memories.commit(operation(put(memory("a", "new"), if_absent=True)))
        assert kept.outcomes[0].effect is Effect.UNCHANGED
        await stores.memories.commit(operation(put(memory("a", "new"), if_operation="one")))
        stored = await stores.memories.get(memory("a").key)
        assert stored is not None
        assert (stored.text, stored.revision) == ("new", 2)

    async def test_equal_content_changes_nothing(self, stores: Stores) -> None:
        """Putting what is stored already makes neither a revision nor a journal entry of a change."""
        await stores.memories.commit(operation(put(memory("a"))))
        again = await stores.memories.commit(operation(put(memory("a", updated_at=T0 + timedelta(1)))))
        assert again.outcomes[0].effect is Effect.UNCHANGED
        stored = await stores.memories.get(memory("a").key)
        assert stored is not None
        assert stored.revision == 1

    async def test_a_move_takes_everything_along(self, stores: Stores) -> None:
        """A record under a new key keeps history and vector, leaves nothing behind, and never replaces another."""
        bob = replace(ALICE, user_id="bob")
        vector = unit_vectors(1)[0]
        await stores.memories.commit(operation(put(memory("a"), vector=vector)))
        moved = memory("a", scope=bob, memory_hash="h")
        await stores.memories.commit(operation(put(moved, previous_key=memory("a").key)))
        assert await stores.memories.get(memory("a").key) is None
        for scope, held in ((ALICE, 0), (bob, 1)):
            near = await stores.memories.nearest(everything(scope), vector=vector, model=MODEL, now=T0, limit=5)
            words = await stores.memories.holding(everything(scope), tokens=["tea"], now=T0, limit=5)
            assert (len(near.handles), len(words.handles), words.statistics.documents) == (held, held, held)
        assert [each.effect for each in await stores.journal.history(moved.key)] == [Effect.CREATED, Effect.UPDATED]
        assert await stores.journal.history(memory("a").key) == []
        await stores.memories.commit(operation(put(memory("a", "another"))))
        with pytest.raises(Conflict):
            await stores.memories.commit(operation(put(memory("a", "x"), previous_key=moved.key)))

    async def test_superseded_memories_leave_but_answer(self, stores: Stores) -> None:
        """They leave listings, search and statistics, come back with ``include_superseded``; pinned ones stay."""
        vector = unit_vectors(1)[0]
        made = [memory("a"), memory("b", "other"), memory("p", "third", pinned=True)]
        await stores.memories.commit(operation(*(put(each, vector=vector) for each in made)))
        done = await stores.memories.commit(
            operation(*(Supersede(key=memory(name).key, by="b") for name in ("a", "p", "gone")))
        )
        assert [each.effect for each in done.outcomes] == [Effect.SUPERSEDED, Effect.SPARED, Effect.ABSENT]
        for include, held in ((False, 2), (True, 3)):
            criteria = everything(include_superseded=include)
            near = await stores.memories.nearest(criteria, vector=vector, model=MODEL, now=T0, limit=9)
            words = await stores.memories.holding(criteria, tokens=["tea"], now=T0, limit=9)
            assert (len(near.handles), len(words.handles)) == (held, held)
            assert words.statistics.documents == 2
            assert await stores.memories.count(criteria, now=T0) == held
        with pytest.raises(Conflict):
            await stores.memories.commit(operation(Supersede(key=memory("b").key, by="nothing")))

    async def test_deletion_by_policy_keeps_history_and_explicit_deletion_scrubs(self, stores: Stores) -> None:
        """Forgetting spares pinned ones and keeps the state before; a scrub leaves a tombstone without text."""
        await stores.memories.commit(operation(put(memory("a", "secret one")), put(memory("p", "kept", pinned=True))))
        await stores.memories.commit(operation(put(memory("a", "secret two"))))
        done = await stores.memories.commit(
            operation(*(Delete(key=memory(name).key, scrub=False) for name in ("a", "p", "gone")))
        )
        assert [each.effect for each in done.outcomes] == [Effect.DELETED, Effect.SPARED, Effect.ABSENT]
        history = await stores.journal.history(memory("a").key)
        assert [each.effect for each in history] == [Effect.CREATED, Effect.UPDATED, Effect.DELETED]
        texts = [each.before.text if each.before else None for each in history]
        assert texts == [None, "secret one", "secret two"]
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=True)))
        scrubbed = await stores.journal.history(memory("a").key)
        assert [each.effect for each in scrubbed][:3] == [each.effect for each in history]
        assert all(each.scrubbed and each.before is None and each.after is None for each in scrubbed)

    async def test_deleting_a_survivor_takes_its_copies(self, stores: Stores) -> None:
        """The duplicates that stepped back behind a memory hold its text, so they go with it."""
        for name in ("a", "b", "c"):
            await stores.memories.commit(operation(put(memory(name), deduplicate=True)))
        await stores.memories.commit(operation(Delete(key=memory("a").key, scrub=True)))
        for name in ("a", "b", "c"):
            assert await stores.memories.get(memory(name).key) is None
        assert await stores.memories.count(everything(include_superseded=True), now=T0) == 0

    async def test_a_guard_that_fails_changes_nothing(self, stores: Stores) -> None:
        """A write for a session's earlier life is not applied, and is not remembered as done."""
        scope = session_scope()
        await stores.working_memory.replace(SessionDraft(scope=scope, messages=(message("m"),)), at=T0, epoch="second")
        late = operation(put(memory("a")), guard=SessionGuard(scope=scope, epoch="first"))
        assert not (await stores.memories.commit(late)).applied
        assert await stores.memories.get(memory("a").key) is None
        fresh = replace(late, guard=SessionGuard(scope=scope, epoch="second"))
        assert (await stores.memories.commit(fresh)).applied

    async def test_touching(self, stores: Stores) -> None:
        """An access is counted at most once an interval, changes no revision, and revives nothing."""
        await stores.memories.commit(operation(put(memory("a"))))
        keys = [memory("a").key, memory("gone").key]
        later = T0 + timedelta(seconds=60)
        assert await stores.memories.touch(keys, at=later, interval_min_s=60) == 1
        assert await stores.memories.touch(keys, at=later + timedelta(seconds=59), interval_min_s=60) == 0
        stored = await stores.memories.get(memory("a").key)
        assert stored is not None
        assert (stored.access_count, stored.last_accessed, stored.revision) == (1, later, 1)
        assert await stores.memories.get(memory("gone").key) is None

    async def test_cursors_walk_every_memory_once(self, stores: Stores) -> None:
        """Pages by cursor are the whole listing in its order, for both orders, with ties and weird ids."""
        made = [
            memory(f"{weird}{number}", f"{number}", created_at=T0 + timedelta(seconds=number % 3))
            for number, weird in enumerate(WEIRD)
        ]
        await stores.memories.commit(operation(*(put(each) for each in made)))
        expected = sorted(made, key=lambda each: (-each.created_at.timestamp(), each.id))
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await stores.memories.list(everything(), now=T0, limit=4, cursor=cursor)
            assert page.total == len(made)
            seen += [each.id for each in page.memories]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == [each.id for each in expected]
        offset = await stores.memories.list(everything(), now=T0, limit=4, offset=5)
        assert [each.id for each in offset.memories] == seen[5:9]
        ascending = await stores.memories.list(everything(), now=T0, limit=99, order=Order.LAST_ACCESSED_ASC)
        assert [each.id for each in ascending.memories] == sorted(seen)
        for bad in ("x", "", "é", "AAAA", "W10", "W251bGxd", "9" * 400):
            with pytest.raises(InvalidInput):
                await stores.memories.list(everything(), now=T0, limit=4, cursor=bad)

    async def test_nearest_is_exact(self, stores: Stores) -> None:
        """Handles and distances are those of numpy over all vectors, with ties by handle and a maximal distance."""
        vectors = unit_vectors(301)
        vectors[7] = vectors[3]
        made = [memory(f"m{number}", f"{number}") for number in range(300)]
        await stores.memories.commit(
            operation(*(put(each, vector=vector) for each, vector in zip(made, vectors[:300], strict=True)))
        )
        for query in (vectors[300], vectors[3]):
            found = await stores.memories.nearest(everything(), vector=query, model=MODEL, now=T0, limit=20)
            distances = 1 - vectors[:300] @ query
            np.testing.assert_allclose(found.distances, np.sort(distances)[:20], atol=1e-6)
            assert found.total == 300
            records = await stores.memories.get_many(found.handles)
            own = [distances[int(records[handle].id[1:])] for handle in found.handles]
            np.testing.assert_allclose(found.distances, own, atol=1e-6)
            assert list(found.handles[:2]) == sorted(found.handles[:2]) or found.distances[0] < found.distances[1]
        limited = await stores.memories.nearest(
            everything(), vector=vectors[3], model=MODEL, now=T0, limit=20, distance_max=0.001
        )
        assert len(limited.handles) == 2
        other = await stores.memories.nearest(everything(), vector=vectors[3], model="other", now=T0, limit=20)
        assert (len(other.handles), other.total) == (0, 0)

    async def test_keyword_counts_are_exact(self, stores: Stores) -> None:
        """Counts, lengths and statistics are those of a plain count over the live memories of the caller's scope."""
        drawn = np.random.default_rng(1)
        bob = replace(ALICE, user_id="bob")
        documents: dict[str, Counter[str]] = {}
        for number in range(60):
            words = Counter(f"w{value}" for value in drawn.zipf(1.5, 12) if value < 50)
            scope = ALICE if number % 3 else bob
            session = replace(scope, session_id=f"s{number % 2}")
            if scope is ALICE:
                documents[f"m{number}"] = words
            await stores.memories.commit(operation(put(memory(f"m{number}", f"{number}", scope=session), tokens=words)))
        tokens = ["w1", "w2", "w7", "absent"]
        for criteria in (everything(), everything(session_id=TextFilter(eq="s0"))):
            found = await stores.memories.holding(criteria, tokens=tokens, now=T0, limit=100)
            records = await stores.memories.get_many(found.handles)
            wanted = {
                name: words
                for name, words in documents.items()
                if any(words[token] for token in tokens) and (criteria.session_id is None or int(name[1:]) % 2 == 0)
            }
            assert {records[handle].id for handle in found.handles} == set(wanted)
            for row, handle in enumerate(found.handles):
                words = wanted[records[handle].id]
                assert list(found.counts[row]) == [words[token] for token in tokens]
                assert found.lengths[row] == words.total()
            assert found.statistics.documents == len(documents)
            average = sum(words.total() for words in documents.values()) / len(documents)
            assert found.statistics.average_length == pytest.approx(average)
            assert found.statistics.document_frequency == {
                token: sum(token in words for words in documents.values()) for token in tokens
            }

    async def test_the_rarest_tokens_win_when_there_are_too_many(self, stores: Stores) -> None:
        """With more matches than the limit those that hold the rarest token are kept, with all their counts."""
        changes = [
            put(memory(f"m{number}", f"{number}"), tokens={"common": 2, **({"rare": 1} if number % 10 == 9 else {})})
            for number in range(50)
        ]
        await stores.memories.commit(operation(*changes))
        found = await stores.memories.holding(everything(), tokens=["common", "rare"], now=T0, limit=5)
        assert found.counts.tolist() == [[2, 1]] * 5
        assert found.statistics.document_frequency == {"common": 50, "rare": 5}

    async def test_words_of_one_owner_are_counted_the_same_however_the_filter_is_written(self, stores: Stores) -> None:
        """A filter that narrows nothing gives what the scope alone gives: candidates, counts, lengths and statistics."""
        for number in range(6):
            made = memory(f"m{number}", text="tea " * (number + 1))
            await stores.memories.commit(operation(put(made, tokens={"tea": number + 1, f"only{number % 2}": 1})))
        await stores.memories.commit(operation(Supersede(key=memory("m5").key, by="m4")))
        tokens = ["tea", "only0", "only1", "absent"]
        plain = await stores.memories.holding(everything(), tokens=tokens, now=T0, limit=50)
        same = await stores.memories.holding(
            replace(everything(), memory_hash=TextFilter(ne="no such hash")), tokens=tokens, now=T0, limit=50
        )
        assert list(plain.handles) == list(same.handles)
        assert len(plain.handles) == 5
        assert plain.counts.tolist() == same.counts.tolist()
        assert plain.lengths.tolist() == same.lengths.tolist()
        assert plain.statistics == same.statistics

    async def test_expired_memories_are_gone_everywhere(self, stores: Stores) -> None:
        """From the moment of expiry a memory is in no listing, search or statistic."""
        vector = unit_vectors(1)[0]
        soon = T0 + timedelta(seconds=1)
        await stores.memories.commit(
            operation(put(memory("a", expires_at=soon), vector=vector), put(memory("b", "stays"), vector=vector))
        )
        for scope in (ALICE, Scope("acme")):
            for now, held in ((T0, 2), (soon, 1)):
                near = await stores.memories.nearest(everything(scope), vector=vector, model=MODEL, now=now, limit=5)
                words = await stores.memories.holding(everything(scope), tokens=["tea"], now=now, limit=5)
                assert (near.total, len(words.handles), words.statistics.documents) == (held, held, held)
                assert words.statistics.document_frequency["tea"] == held
                assert await stores.memories.count(everything(scope), now=now) == held

    async def test_vectors_follow_the_text(self, stores: Stores) -> None:
        """A late vector is stored only for the text it was made of, and a changed text drops the old vector."""
        vector = unit_vectors(1)[0]
        await stores.memories.commit(operation(put(memory("a")), put(memory("blank", "   ")), operation_id="one"))
        waiting = await stores.memories.without_vector(model=MODEL, limit=10)
        assert [(key.id, text, made_at) for _, key, text, made_at in waiting] == [
            ("a", "likes tea", "one"),
            ("blank", "   ", "one"),
        ]
        handle, blank = waiting[0][0], waiting[1][0]
        embedded = Embedded(model=MODEL, vector=vector)
        assert await stores.memories.put_vectors([(handle, "stale", embedded)]) == 0
        nothing = Embedded(model=MODEL, vector=None)
        assert await stores.memories.put_vectors([(handle, "one", embedded), (blank, "one", nothing)]) == 2
        assert await stores.memories.without_vector(model=MODEL, limit=10) == []
        assert len(await stores.memories.without_vector(model="newer", limit=10)) == 2
        assert list(await stores.memories.vectors([handle, blank], model=MODEL)) == [handle]
        status = {name: await stores.memories.get(memory(name).key) for name in ("a", "blank")}
        assert [each.embedding for each in status.values() if each] == [EmbeddingStatus.READY, EmbeddingStatus.NONE]
        await stores.memories.commit(operation(put(memory("a", "likes coffee"))))
        assert [key.id for _, key, _, _ in await stores.memories.without_vector(model=MODEL, limit=10)] == ["a"]
        assert await stores.memories.drop_vectors_except(model=MODEL) == 0

    async def test_vectors_of_words_come_and_go_with_the_texts(self, stores: Stores) -> None:
        """Whatever bytes they are, they read back equal; another text, another vector or another model leaves none."""
        vectors = unit_vectors(2)
        full = Embedded(model=MODEL, vector=vectors[0], tokens=bytes(range(256)) * 3)
        puts = [replace(put(memory(each, f"about {each}")), embedded=full) for each in ("a", "b", "c")]
        await stores.memories.commit(operation(*puts, operation_id="one"))
        everything = MemoryFilter(selector=selector())
        near = await stores.memories.nearest(everything, vector=vectors[0], model=MODEL, now=T0, limit=10)
        keys = await stores.memories.keys(near.handles)
        handle_of = {key.id: handle for handle, key in keys.items()}

        async def held(model: str = MODEL) -> dict[str, bytes]:
            found = await stores.memories.token_vectors(list(handle_of.values()), model=model)
            return {keys[handle].id: tokens for handle, tokens in found.items()}

        assert await held() == dict.fromkeys("abc", full.tokens)
        assert await held("other") == {}
        assert await stores.memories.token_vectors([], model=MODEL) == {}
        await stores.memories.commit(operation(put(memory("a", "another text"))))
        without = Embedded(model=MODEL, vector=vectors[1])
        assert await stores.memories.put_vectors([(handle_of["b"], "one", without)]) == 1
        assert await held() == {"c": full.tokens}
        assert await stores.memories.drop_vectors_except(model="newer") == 2
        assert await held() == {}

    async def test_neighbours_are_those_of_the_conversation(self, stores: Stores) -> None:
        """A message's neighbours are the live messages around it in its own session and scope, by time and then arrival."""
        times = {1: 0, 2: 1, 3: 1, 4: 1, 5: 2, 6: 3, 7: 4}
        said = session_scope("talk")

        def spoken(name: str, seconds: int, scope: Scope = said, **fields: object) -> Memory:
            at = T0 + timedelta(seconds=seconds)
            return memory(name, f"{name} spoke", scope=scope, created_at=at, memory_type=MemoryType.MESSAGE, **fields)

        for number in (2, 3, 4, 5, 6, 7, 1):
            await stores.memories.commit(
                operation(put(spoken(f"m{number}", times[number])), operation_id=f"op{number}")
            )
        others = [
            spoken("elsewhere", 1, session_scope("other")),
            spoken("alone", 1, ALICE),
            spoken("bob", 1, replace(said, user_id="bob")),
            spoken("gone", 2, superseded_by="m5"),
            memory("fact", "m5 said so", scope=said, created_at=T0 + timedelta(seconds=2), extracted_from=("m5",)),
        ]
        await stores.memories.commit(operation(*(put(each) for each in others)))
        found = await stores.memories.holding(everything(include_superseded=True), tokens=["tea"], now=T0, limit=50)
        records = await stores.memories.get_many(found.handles)
        handle_of = {each.id: handle for handle, each in records.items()}
        near = await stores.memories.neighbours(list(handle_of.values()), span=2)
        windows = {records[handle].id: [records[each].id for each in window] for handle, window in near.items()}
        assert (windows["m1"], windows["m7"]) == (["m1", "m2", "m3"], ["m5", "m6", "m7"])
        assert windows["m4"] == ["m2", "m3", "m4", "m5", "m6"]
        assert windows["elsewhere"] == ["elsewhere"]
        assert "alone" not in windows
        assert "fact" not in windows
        assert await stores.memories.neighbours([], span=2) == {}
        pool = await stores.memories.pool(everything(), [handle_of["m4"], handle_of["fact"]], span=1, now=T0)
        assert [each.id for each in pool.passages.values()] == ["m4", "fact", "m5", "m3", "m6"]
        assert pool.passages[handle_of["fact"]].opening == "m5 said so"
        assert pool.around == {
            handle_of[middle]: [handle_of[each] for each in window]
            for middle, window in (("m4", ("m3", "m4", "m5")), ("m5", ("m4", "m5", "m6")))
        }
        narrowed = everything(created_at=TimeFilter(lte=records[handle_of["m4"]].created_at))
        pool = await stores.memories.pool(narrowed, [handle_of["m4"], handle_of["m5"]], span=1, now=T0)
        assert pool.around == {handle_of["m4"]: [handle_of["m3"], handle_of["m4"]]}

    async def test_the_pool_holds_the_messages_that_a_memory_came_from(self, stores: Stores) -> None:
        """The first few, of its own session and owner, that match the filter; what is no message is no source."""
        said = session_scope("talk")
        spoken = [
            memory(name, f"{name} spoke of tea", scope=scope, memory_type=MemoryType.MESSAGE)
            for name, scope in (("m1", said), ("m2", said), ("there", session_scope("other")))
        ]
        facts = [
            memory("fact", "tea was spoken of", scope=said, extracted_from=("m2", "there", "note", "gone")),
            memory("summary", "much tea", scope=said, extracted_from=("x1", "x2", "x3", "x4", "m1")),
            memory("note", "tea", scope=said),
        ]
        await stores.memories.commit(operation(*(put(each) for each in (*spoken, *facts))))
        found = await stores.memories.holding(everything(), tokens=["tea"], now=T0, limit=50)
        handle_of = {each.id: handle for handle, each in (await stores.memories.get_many(found.handles)).items()}

        async def pooled(criteria: MemoryFilter, *names: str) -> list[str]:
            pool = await stores.memories.pool(criteria, [handle_of[name] for name in names], span=1, now=T0)
            return [each.id for each in pool.passages.values()]

        assert await pooled(everything(), "fact") == ["fact", "m2", "m1"]
        assert await pooled(everything(), "summary") == ["summary"]
        assert await pooled(everything(memory_type=TextFilter(ne="message")), "fact") == ["fact"]

    async def test_passages_say_who_when_and_where_of_what_matches(self, stores: Stores) -> None:
        """Candidates that match the filter come with session, name, times, ending and sources; others are missing."""
        asked = memory(
            "q",
            "Is it warm there?",
            scope=session_scope("talk"),
            memory_type=MemoryType.MESSAGE,
            name="Ana",
            event_date=T0 + timedelta(days=1),
        )
        derived = memory("fact", "It is warm", scope=session_scope("talk"), extracted_from=("q", "x"))
        loose = memory("loose", "ü🎉")
        await stores.memories.commit(operation(put(asked), put(derived), put(loose)))
        found = await stores.memories.holding(everything(), tokens=["tea"], now=T0, limit=50)
        passages = {each.id: each for each in (await _passages(stores, found.handles)).values()}
        assert set(passages) == {"q", "fact", "loose"}
        question, fact = passages["q"], passages["fact"]
        assert (question.name, question.is_message, question.is_question, question.sources) == ("Ana", True, True, ())
        assert question.session is not None
        assert question.session == fact.session
        assert (fact.name, fact.is_message, fact.is_question, fact.sources) == (None, False, False, ("q", "x"))
        assert passages["loose"].session is None
        assert passages["loose"].ending.endswith("🎉")
        assert question.event_us == question.created_us + 86_400_000_000
        times = await stores.memories.times(found.handles)
        assert (question.created_us, question.accessed_us) in times.values()
        narrowed = everything(memory_type=TextFilter(eq="message"))
        assert len((await stores.memories.pool(narrowed, found.handles, span=0, now=T0)).passages) == 1
        bobs = everything(replace(ALICE, user_id="bob"))
        assert await stores.memories.pool(bobs, found.handles, span=0, now=T0) == ({}, {})

    async def test_duplicate_groups(self, stores: Stores) -> None:
        """Groups hold live memories of one owner and hash, in the order of a cursor."""
        for number in range(12):
            scope = ALICE if number % 2 else replace(ALICE, user_id="bob")
            await stores.memories.commit(
                operation(put(memory(f"m{number}", f"{number}", scope=scope, memory_hash=f"h{number % 6}")))
            )
        criteria = MemoryFilter(selector=ScopeSelector("acme"))
        first = await stores.memories.duplicate_groups(criteria, now=T0, limit=4)
        assert [[each.memory_hash for each in group] for group in first] == [[f"h{n}"] * 2 for n in range(4)]
        rest = await stores.memories.duplicate_groups(criteria, now=T0, limit=4, after="h3")
        assert [group[0].memory_hash for group in rest] == ["h4", "h5"]


async def _passages(stores: Stores, handles: Sequence[Handle]) -> Mapping[Handle, Passage]:
    return (await stores.memories.pool(everything(), handles, span=0, now=T0)).passages
