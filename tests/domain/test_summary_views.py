"""What a view means: its filters, its groups, when a summary is due, and what a model is given to read."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_memory_server.domain.filters import TextFilter, TimeFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.jobs import TaskStatus, may_become
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory, MemoryType
from agent_memory_server.domain.summary_view_filters import read_filters
from agent_memory_server.domain.summary_views import (
    GROUP_FIELDS,
    SUMMARIZED_MEMORIES_MAX,
    Inputs,
    PromptBudget,
    SummaryView,
    ViewDraft,
    ViewSource,
    checked,
    checked_group,
    criteria,
    group_key,
    group_of,
    member_of,
    summary_content,
)
from agent_memory_server.errors import BadRequest, InvalidInput

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
ROOMY = PromptBudget(window_tokens=128_000, threshold=0.7)


def memory(number: int, text: str = "likes tea", **fields: Any) -> Memory:
    at = NOW - timedelta(days=100 - number)
    made = Memory(
        id=f"m{number:03d}",
        scope=Scope("acme", "work", "alice", "s1"),
        text=text,
        created_at=at,
        updated_at=at,
        last_accessed=at,
        operation_id=f"o{number}",
    )
    return replace(made, **fields)


def draft(**fields: Any) -> ViewDraft:
    given: dict[str, Any] = {"source": ViewSource.LONG_TERM, "group_by": ("user_id",), **fields}
    return ViewDraft(**given)


def view(**fields: Any) -> SummaryView:
    owner = fields.pop("owner", ScopeSelector("acme"))
    return SummaryView(id="v1", owner=owner, created_at=NOW, created_by="tester", draft=draft(**fields))


def lines_of(content: str) -> list[dict[str, Any]]:
    """The memories that a prompt's content holds."""
    listed = content.split("MEMORIES:\n", 1)[1].split("\n\nNOTE:", 1)[0]
    return [json.loads(line) for line in listed.splitlines()]


# -- definitions


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"source": ViewSource.WORKING_MEMORY},
            "SummaryView.source must be 'long_term' for now; 'working_memory' is not yet supported.",
        ),
        ({"group_by": ("z", "user_id", "a", "z")}, "Unsupported group_by fields: a, z"),
        ({"filters": {"entities": "x", "created_at": 1}}, "Unsupported filter fields: created_at, entities"),
    ],
)
def test_what_the_contract_refuses_is_refused_in_its_words(asked: dict[str, Any], sentence: str) -> None:
    """The error strings are the contract's, names sorted."""
    with pytest.raises(BadRequest) as refused:
        checked(draft(**asked))
    assert str(refused.value) == sentence


def test_a_definition_is_tidied() -> None:
    """Fields named twice count once, and a null filter is none."""
    tidy = checked(draft(group_by=("user_id", "namespace", "user_id"), filters={"topics": None, "user_id": "a"}))
    assert (tidy.group_by, tidy.filters) == (("user_id", "namespace"), {"user_id": "a"})


@pytest.mark.parametrize("asked", [{"time_window_days": 0}, {"prompt": "x" * 20_001}, {"name": "x" * 513}])
def test_values_beyond_their_limits_are_refused(asked: dict[str, Any]) -> None:
    """A window of no days, and texts that are too long."""
    with pytest.raises(InvalidInput):
        checked(draft(**asked))


def test_the_group_must_name_exactly_the_views_fields() -> None:
    """In the contract's words, with both lists sorted."""
    made = view(group_by=("user_id", "namespace"))
    assert checked_group(made, {"namespace": "n", "user_id": "u"}) == {"user_id": "u", "namespace": "n"}
    with pytest.raises(BadRequest) as refused:
        checked_group(made, {"session_id": "s"})
    assert str(refused.value) == "group keys ['session_id'] must exactly match view.group_by ['namespace', 'user_id']"


# -- filters


def test_filters_mean_what_they_say() -> None:
    """A text equals, a list is any, an object holds operators under the clients' names; numbers count as text."""
    read = read_filters(
        {
            "user_id": "alice",
            "namespace": ["a", "b"],
            "session_id": 7,
            "memory_type": {"ne": "message"},
            "extraction_strategy": {"in_": ["x"], "not_in": ["y"], "startswith": "z"},
            "topics": {"all": ["p", "q"], "not_eq": "r", "eq": None},
            "event_date": {
                "between": ["2024-01-01", 1714521600],
                "inclusive": "left",
                "lt": "2024-03-01T00:00:00+02:00",
            },
        }
    )
    assert read.user_id == TextFilter(eq="alice")
    assert read.namespace == TextFilter(any=("a", "b"))
    assert read.session_id == TextFilter(eq="7")
    assert read.memory_type == TextFilter(ne="message")
    assert read.extraction_strategy == TextFilter(any=("x",), none=("y",), startswith="z")
    assert read.topics == TextFilter(all=("p", "q"), ne="r")
    assert read.event_date == TimeFilter(
        between=(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)),
        inclusive="left",
        lt=datetime(2024, 2, 29, 22, tzinfo=UTC),
    )
    assert read_filters({"event_date": "2024-01-01T00:00:00.123456789Z"}).event_date == TimeFilter(
        eq=datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
    )


NONSENSE: list[tuple[str, Any]] = [
    ("user_id", ""),
    ("user_id", "  "),
    ("user_id", True),
    ("user_id", [1, None]),
    ("user_id", "x" * (LIMITS.id_length_max + 1)),
    ("topics", []),
    ("topics", {}),
    ("topics", {"eq": None}),
    ("topics", {"like": "x"}),
    ("topics", {"any": "x"}),
    ("topics", {"any": [{}]}),
    ("topics", {"any": ["a"], "in_": ["b"]}),
    ("topics", ["x"] * (LIMITS.filter_values_max + 1)),
    ("memory_type", "fact"),
    ("memory_type", {"none": ["semantic", "fact"]}),
    ("event_date", "yesterday"),
    ("event_date", True),
    ("event_date", 1e300),
    ("event_date", float("nan")),
    ("event_date", {}),
    ("event_date", {"inclusive": "both"}),
    ("event_date", {"between": ["2024-01-01"]}),
    ("event_date", {"gte": "2024-01-01", "inclusive": "maybe"}),
    ("event_date", {"startswith": "2024"}),
]


@pytest.mark.parametrize(("field", "value"), NONSENSE)
def test_a_filter_that_makes_no_sense_is_refused_with_its_place(field: str, value: Any) -> None:
    """At creation, naming the field: not when the view is run."""
    with pytest.raises(InvalidInput) as refused:
        checked(draft(filters={field: value}))
    assert refused.value.field[:3] == ("body", "filters", field)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_operators = st.sampled_from(
    ["eq", "ne", "any", "all", "in_", "none", "startswith", "gt", "between", "inclusive", "odd"]
)


@given(
    st.sampled_from(["user_id", "memory_type", "topics", "event_date"]),
    _json | st.dictionaries(_operators, _json, max_size=3),
)
def test_any_json_is_either_read_or_refused(field: str, value: Any) -> None:
    """Whatever a client sends as a filter, it ends in a filter or in a 4xx."""
    try:
        read_filters({field: value})
    except (InvalidInput, BadRequest):
        pass


# -- what a view reads


def test_a_view_never_reads_beyond_its_owners_reach() -> None:
    """The owner is the hard scope; filters and group only narrow it."""
    owner = ScopeSelector("acme", "work", "alice")
    wanted = criteria(view(owner=owner, filters={"user_id": "bob"}), now=NOW, group={"user_id": "bob"})
    assert wanted.selector == owner
    bobs = memory(1, scope=Scope("acme", "work", "bob"))
    assert not wanted.matches(bobs, NOW)
    assert not wanted.matches(memory(1), NOW)


def test_the_group_is_anded_with_the_views_filter() -> None:
    """A group outside the filter is empty; one inside it holds only the group's memories."""
    made = view(filters={"user_id": {"any": ["alice", "bob"]}})
    alice, bob = memory(1), memory(2, scope=Scope("acme", "work", "bob"))
    of_alice = criteria(made, now=NOW, group={"user_id": "alice"})
    assert (of_alice.matches(alice, NOW), of_alice.matches(bob, NOW)) == (True, False)
    assert not criteria(made, now=NOW, group={"user_id": "carol"}).matches(
        memory(3, scope=Scope("acme", "work", "carol")), NOW
    )


def test_the_window_counts_days_back_from_the_run() -> None:
    """By creation, its edge included; a window longer than the calendar holds everything."""
    made = view(time_window_days=10)
    for days, inside in ((9, True), (10, True), (10.001, False)):
        old = memory(1, created_at=NOW - timedelta(days=days))
        assert criteria(made, now=NOW).matches(old, NOW) is inside
    assert criteria(view(time_window_days=10**12), now=NOW).created_at is None


def test_a_memory_that_lacks_a_group_field_belongs_to_no_group() -> None:
    """It is skipped; with no field to group by everything is one group."""
    lone = memory(1, scope=Scope("acme"))
    assert group_of(member_of(lone), ("user_id",)) is None
    assert group_of(member_of(lone), ("memory_type", "user_id")) is None
    assert group_of(member_of(lone), ()) == {}
    assert group_of(member_of(memory(1)), GROUP_FIELDS) == {
        "user_id": "alice",
        "namespace": "work",
        "session_id": "s1",
        "memory_type": MemoryType.SEMANTIC.value,
    }


@given(
    st.dictionaries(st.sampled_from(GROUP_FIELDS), st.text(max_size=4)),
    st.dictionaries(st.sampled_from(GROUP_FIELDS), st.text(max_size=4)),
)
def test_two_groups_never_share_a_key(one: dict[str, str], other: dict[str, str]) -> None:
    """The key tells groups apart whatever their values hold, and does not know their order."""
    assert (group_key(one) == group_key(other)) == (one == other)
    assert group_key(dict(reversed(one.items()))) == group_key(one)


# -- when a summary is due


def inputs_of(memories: list[Memory], method: str = "method") -> Inputs:
    made = Inputs(method)
    for each in memories:
        made.add(each)
    return made


def test_a_fingerprint_changes_with_everything_that_decides_a_summary() -> None:
    """Another memory, another revision, another owner, another method: another fingerprint. The same: the same."""
    base = [memory(1), memory(2)]
    same = inputs_of(base).fingerprint
    assert inputs_of(base[::-1]).fingerprint == same
    noted = Inputs("method")
    for each in base:
        noted.note(member_of(each))
    assert (noted.fingerprint, noted.count, noted.newest) == (same, 2, ())
    others = [
        inputs_of(base, "another method"),
        inputs_of(base[:1]),
        inputs_of([*base, memory(3)]),
        inputs_of([replace(base[0], operation_id="o9"), base[1]]),
        inputs_of([replace(base[0], scope=Scope("acme", None, "alice")), base[1]]),
        inputs_of([replace(base[0], scope=Scope("acme", "work", None)), base[1]]),
    ]
    assert len({same, *(each.fingerprint for each in others)}) == 1 + len(others)


def test_the_newest_memories_are_kept_oldest_first() -> None:
    """By when it happened, else by when it was written; the rest is counted only."""
    numbers = list(range(SUMMARIZED_MEMORIES_MAX + 2))
    shuffled = [memory(number) for number in numbers[1::2] + numbers[::2]]
    happened_long_ago = memory(999, event_date=NOW - timedelta(days=900))
    kept = inputs_of([happened_long_ago, *shuffled])
    assert [each.id for each in kept.newest] == [f"m{number:03d}" for number in numbers[2:]]
    assert kept.count == len(numbers) + 1


# -- what a model is given


def test_the_content_has_the_contracts_layout() -> None:
    """GROUP as JSON, then one JSON object a line with the contract's fields and dates, oldest first; no note when all fit."""
    event = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = memory(1, topics=("tea",), metadata={"source": "chat"}, event_date=event)
    content = summary_content(
        [first, memory(2)], group={"user_id": "alice", "namespace": "wörk"}, total=2, budget=ROOMY
    )
    assert content.startswith('GROUP: {"namespace": "wörk", "user_id": "alice"}\n\nMEMORIES:\n')
    lines = lines_of(content)
    assert lines[0] == {
        "id": "m001",
        "text": "likes tea",
        "created_at": "2026-01-22T12:00:00Z",
        "event_date": "2026-01-02T03:04:05Z",
        "extraction_strategy": "discrete",
        "session_id": "s1",
        "namespace": "work",
        "user_id": "alice",
        "topics": ["tea"],
        "metadata": {"source": "chat"},
    }
    assert [line["id"] for line in lines] == ["m001", "m002"]
    assert "NOTE" not in content


def test_truncation_keeps_the_newest_and_says_so() -> None:
    """When the window is too small, the oldest go first, and the note counts what was left out."""
    memories = [memory(number, f"fact {number} " + "x" * 60) for number in range(50)]
    small = PromptBudget(window_tokens=2_000, threshold=0.7)
    content = summary_content(memories, group={}, total=60, budget=small)
    kept = [line["id"] for line in lines_of(content)]
    assert 1 < len(kept) < 50
    assert kept == [each.id for each in memories][-len(kept) :]
    assert content.endswith(f"NOTE: these are the newest {len(kept)} of 60 memories; older ones were left out to fit.")
    assert len(content) / 4 <= small.prompt_tokens_max + 50
    fewer = summary_content(memories, group={}, total=60, budget=small, instructions_length=1_000)
    assert len(lines_of(fewer)) < len(kept)


def test_at_least_the_newest_is_always_there() -> None:
    """However small the window is, one memory stays, with its text cut and too large metadata left out."""
    huge = memory(1, "word " * 5_000, metadata={"blob": "y" * 50_000}, topics=("t" * 400,) * 200)
    content = summary_content(
        [memory(0), huge], group={}, total=2, budget=PromptBudget(window_tokens=40, threshold=0.7)
    )
    (line,) = lines_of(content)
    assert line["id"] == "m001"
    assert line["text"].endswith("…")
    assert (line["metadata"], line["topics"]) == (None, [])
    assert len(content) < 1_000


@given(st.text(max_size=80))
def test_memory_text_cannot_leave_its_line(text: str) -> None:
    """Line breaks of every kind are escaped: text cannot pose as another memory or as an instruction of its own."""
    content = summary_content([memory(1, text or "x"), memory(2)], group={}, total=2, budget=ROOMY)
    listed = content.split("MEMORIES:\n", 1)[1]
    assert [json.loads(line)["id"] for line in listed.splitlines()] == ["m001", "m002"]


# -- tasks


def test_a_task_ends_once() -> None:
    """Success is final; failed and dead are left by a replay alone; the same status again is no change."""
    allowed = {(a, b) for a in TaskStatus for b in TaskStatus if a is not b and may_become(a, b)}
    pending, running, success, failed, dead = TaskStatus
    assert allowed == {
        (pending, running),
        (pending, success),
        (pending, failed),
        (running, success),
        (running, failed),
        (failed, pending),
        (dead, pending),
    }
    assert all(may_become(each, each) for each in TaskStatus)
