"""The meaning of every filter operator, alone and together: what each engine has to agree with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.records import Memory, MemoryType

NOW = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
ALL = ScopeSelector("default")
TICK = timedelta(microseconds=1)

MEMORY = Memory(
    id="m",
    scope=Scope("default", "work", "ana", "s1"),
    text="tea",
    created_at=NOW,
    updated_at=NOW,
    last_accessed=NOW,
    topics=("tea", "food"),
    entities=(),
)


@pytest.mark.parametrize(
    ("operators", "matches"),
    [
        (TextFilter(), True),
        (TextFilter(eq="tea"), True),
        (TextFilter(eq="Tea"), False),
        (TextFilter(eq="te"), False),
        (TextFilter(ne="tea"), False),
        (TextFilter(ne="coffee"), True),
        (TextFilter(any=("coffee", "food")), True),
        (TextFilter(any=("coffee",)), False),
        (TextFilter(all=("tea", "food")), True),
        (TextFilter(all=("tea", "coffee")), False),
        (TextFilter(none=("coffee",)), True),
        (TextFilter(none=("coffee", "food")), False),
        (TextFilter(startswith="fo"), True),
        (TextFilter(startswith="oo"), False),
        (TextFilter(eq="tea", ne="food"), False),
        (TextFilter(any=("tea",), none=("coffee",), startswith="t"), True),
    ],
)
def test_operators_over_tags(operators: TextFilter, *, matches: bool) -> None:
    """Each operator has its plain meaning over a set of values, and all of one field hold together."""
    assert MemoryFilter(selector=ALL, topics=operators).matches(MEMORY, NOW) is matches


@pytest.mark.parametrize(
    ("operators", "matches"),
    [
        (TextFilter(eq="x"), False),
        (TextFilter(any=("x",)), False),
        (TextFilter(all=("x",)), False),
        (TextFilter(startswith="x"), False),
        (TextFilter(ne="x"), True),
        (TextFilter(none=("x",)), True),
    ],
)
def test_an_absent_value_is_an_empty_set(operators: TextFilter, *, matches: bool) -> None:
    """Only the negative operators hold where there is no value, for tags and for single values alike."""
    assert MemoryFilter(selector=ALL, entities=operators).matches(MEMORY, NOW) is matches
    without_session = replace(MEMORY, scope=Scope("default", "work", "ana"))
    assert MemoryFilter(selector=ALL, session_id=operators).matches(without_session, NOW) is matches


@pytest.mark.parametrize(
    ("operators", "matches"),
    [
        (TimeFilter(), True),
        (TimeFilter(eq=NOW), True),
        (TimeFilter(eq=NOW + TICK), False),
        (TimeFilter(ne=NOW), False),
        (TimeFilter(ne=NOW + TICK), True),
        (TimeFilter(gt=NOW - TICK), True),
        (TimeFilter(gt=NOW), False),
        (TimeFilter(gte=NOW), True),
        (TimeFilter(lt=NOW + TICK), True),
        (TimeFilter(lt=NOW), False),
        (TimeFilter(lte=NOW), True),
        (TimeFilter(gte=NOW - TICK, lt=NOW), False),
        (TimeFilter(gte=NOW, lte=NOW), True),
        (TimeFilter(between=(NOW, NOW)), True),
        (TimeFilter(between=(NOW, NOW), inclusive="neither"), False),
        (TimeFilter(between=(NOW, NOW + TICK), inclusive="left"), True),
        (TimeFilter(between=(NOW - TICK, NOW), inclusive="left"), False),
        (TimeFilter(between=(NOW - TICK, NOW), inclusive="right"), True),
        (TimeFilter(between=(NOW, NOW + TICK), inclusive="right"), False),
        (TimeFilter(between=(NOW - TICK, NOW + TICK), gt=NOW), False),
        (TimeFilter(between=(NOW - TICK, NOW + TICK), gte=NOW, lte=NOW), True),
        (TimeFilter(between=(NOW + TICK, NOW - TICK)), False),
    ],
)
def test_operators_over_times(operators: TimeFilter, *, matches: bool) -> None:
    """Comparisons are exact to the microsecond; every bound of one field holds, the ends of ``between`` as asked."""
    assert MemoryFilter(selector=ALL, created_at=operators).matches(MEMORY, NOW) is matches


@pytest.mark.parametrize(
    ("operators", "matches"),
    [
        (TimeFilter(), True),
        (TimeFilter(ne=NOW), True),
        (TimeFilter(eq=NOW), False),
        (TimeFilter(gt=NOW), False),
        (TimeFilter(gte=NOW), False),
        (TimeFilter(lt=NOW), False),
        (TimeFilter(lte=NOW), False),
        (TimeFilter(between=(NOW, NOW)), False),
        (TimeFilter(ne=NOW, lt=NOW), False),
    ],
)
def test_an_absent_time(operators: TimeFilter, *, matches: bool) -> None:
    """A memory without an event date is in no range; it differs from every date."""
    assert MemoryFilter(selector=ALL, event_date=operators).matches(MEMORY, NOW) is matches


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (ScopeSelector("default"), True),
        (ScopeSelector("other"), False),
        (ScopeSelector("default", "work"), True),
        (ScopeSelector("default", "home"), False),
        (ScopeSelector("default", None, "ana"), True),
        (ScopeSelector("default", "work", "bob"), False),
        (ScopeSelector("default", "WORK", "ana"), False),
    ],
)
def test_the_selector_is_hard(selector: ScopeSelector, *, matches: bool) -> None:
    """Tenant always, namespace and user where they are named; exactly as written."""
    assert MemoryFilter(selector=selector).matches(MEMORY, NOW) is matches


def test_a_selector_never_means_none() -> None:
    """A memory without a namespace is outside every named one, and inside when none is named."""
    bare = replace(MEMORY, scope=Scope("default"))
    assert MemoryFilter(selector=ALL).matches(bare, NOW)
    assert not MemoryFilter(selector=ScopeSelector("default", "work")).matches(bare, NOW)


def test_superseded_memories_are_left_out_unless_asked_for() -> None:
    """What another memory took the place of is in no listing and no search by itself."""
    replaced = replace(MEMORY, superseded_by="n")
    assert not MemoryFilter(selector=ALL).matches(replaced, NOW)
    assert MemoryFilter(selector=ALL, include_superseded=True).matches(replaced, NOW)


def test_expired_memories_are_gone() -> None:
    """At the moment of its expiry a memory is gone; nothing asks it back."""
    assert not MemoryFilter(selector=ALL, include_superseded=True).matches(replace(MEMORY, expires_at=NOW), NOW)
    assert MemoryFilter(selector=ALL).matches(replace(MEMORY, expires_at=NOW + TICK), NOW)


def test_all_fields_hold_together() -> None:
    """One field that does not match is enough to leave a memory out."""
    criteria = MemoryFilter(
        selector=ALL,
        namespace=TextFilter(eq="work"),
        user_id=TextFilter(any=("ana", "bob")),
        memory_type=TextFilter(eq=MemoryType.SEMANTIC.value),
        created_at=TimeFilter(lte=NOW),
    )
    assert criteria.matches(MEMORY, NOW)
    assert not replace(criteria, memory_type=TextFilter(ne=MemoryType.SEMANTIC.value)).matches(MEMORY, NOW)


def test_what_narrows_only_the_owner_says_so() -> None:
    """Engines may take a short cut when nothing but the owner scope narrows."""
    assert MemoryFilter(selector=ALL, user_id=TextFilter(eq="ana"), include_superseded=True).is_scope_only
    assert not MemoryFilter(selector=ALL, session_id=TextFilter(eq="s1")).is_scope_only
