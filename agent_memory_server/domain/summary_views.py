"""Summary views: a saved definition of summaries over long-term memory, one *partition* for each group of memories.

A view belongs to the reach of the caller that made it (``owner``): it summarises what that caller may read, and is visible
to callers that may read all of that. So nobody reads through a view what they could not read themselves.
"""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from agent_memory_server.domain.filters import MemoryFilter, TextFilter, TimeFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.summary_view_filters import read_filters
from agent_memory_server.errors import BadRequest, InvalidInput

GROUP_FIELDS = ("user_id", "namespace", "session_id", "memory_type")
NO_MATCHING_MEMORIES = "no_matching_memories"
SOURCE_DELETED = "source_deleted"
"""A memory that the summary was made of was deleted for good, and the summary with it; the next run makes a new one."""
SUMMARIZED_MEMORIES_MAX = 200
"""A summary is made of the newest of a group's memories, at most this many."""

Group = Mapping[str, str]
"""One value for each field that a view groups by."""


class ViewSource(StrEnum):
    LONG_TERM = "long_term"
    WORKING_MEMORY = "working_memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewDraft:
    """What a caller asks a view to be."""

    source: ViewSource
    name: str | None = None
    group_by: tuple[str, ...] = ()
    filters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """As given, in JSON; ``summary_view_filters`` knows what it means."""
    time_window_days: int | None = None
    """Only memories created within so many days before the run."""
    continuous: bool = False
    """Refreshed on a schedule."""
    prompt: str | None = None
    model_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryView:
    id: str
    owner: ScopeSelector
    created_at: datetime
    created_by: str
    draft: ViewDraft

    @property
    def owner_scope(self) -> Scope:
        """The owner as the scope of the view's own record and of its tasks."""
        return Scope(self.owner.tenant, self.owner.namespace, self.owner.user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The summary of one group, as of ``computed_at``. ``fingerprint`` says what it was made of; None: to be made anew."""

    view_id: str
    group: Group
    summary: str
    memory_count: int
    computed_at: datetime
    fingerprint: str | None
    empty_reason: str | None = None

    @property
    def empty(self) -> bool:
        return self.empty_reason is not None


def checked(draft: ViewDraft) -> ViewDraft:
    """The draft with each group field once and without null filters.

    Raises BadRequest for what the contract refuses, InvalidInput for values that cannot be read.
    """
    if draft.source is not ViewSource.LONG_TERM:
        raise BadRequest("SummaryView.source must be 'long_term' for now; 'working_memory' is not yet supported.")
    unsupported = sorted({name for name in draft.group_by if name not in GROUP_FIELDS})
    if unsupported:
        raise BadRequest(f"Unsupported group_by fields: {', '.join(unsupported)}")
    read_filters(draft.filters)
    for name, limit in (
        ("name", LIMITS.id_length_max),
        ("model_name", LIMITS.id_length_max),
        ("prompt", LIMITS.view_prompt_length_max),
    ):
        value = getattr(draft, name)
        if value is not None and len(value) > limit:
            raise InvalidInput(f"{name} has at most {limit} characters", field=("body", name))
    if draft.time_window_days is not None and draft.time_window_days < 1:
        raise InvalidInput("time_window_days is at least 1", field=("body", "time_window_days"))
    return replace(
        draft,
        group_by=tuple(dict.fromkeys(draft.group_by)),
        filters={name: value for name, value in draft.filters.items() if value is not None},
    )


def checked_group(view: SummaryView, group: Group) -> Group:
    """The group, when it names exactly the fields that the view groups by; else BadRequest."""
    if sorted(group) != sorted(view.draft.group_by):
        raise BadRequest(f"group keys {sorted(group)} must exactly match view.group_by {sorted(view.draft.group_by)}")
    return {name: group[name] for name in view.draft.group_by}


class Member(NamedTuple):
    """What decides a memory's group, and whether a summary of the group is due: all that a run reads of every memory."""

    key: MemoryKey
    session_id: str | None
    memory_type: str
    operation_id: str


def member_of(memory: Memory) -> Member:
    return Member(memory.key, memory.scope.session_id, memory.memory_type.value, memory.operation_id)


def group_of(member: Member, group_by: Sequence[str]) -> Group | None:
    """The group that a memory belongs to, or None when it lacks one of the fields."""
    values = {
        "user_id": member.key.user_id,
        "namespace": member.key.namespace,
        "session_id": member.session_id,
        "memory_type": member.memory_type,
    }
    group: dict[str, str] = {}
    for name in group_by:
        value = values[name]
        if value is None:
            return None
        group[name] = value
    return group


def group_key(group: Group) -> str:
    """One text for one group, whatever its values hold and in whatever order its fields stand."""
    return json.dumps(sorted(group.items()), ensure_ascii=False, separators=(",", ":"))


def criteria(view: SummaryView, *, now: datetime, group: Group | None = None) -> MemoryFilter:
    """The memories of the view (of one group): always within the owner's reach, whatever the filters say."""
    parts = read_filters(view.draft.filters).as_mapping()
    for name, value in (group or {}).items():
        given = parts.get(name)
        # ANDed with the view's own filter: a field of one value holds "all of (x)" exactly when it is x.
        parts[name] = (
            replace(given, all=(*(given.all or ()), value)) if isinstance(given, TextFilter) else TextFilter(eq=value)
        )
    return MemoryFilter(
        selector=view.owner,
        created_at=_window(view.draft.time_window_days, now),
        **parts,  # pyright: ignore[reportArgumentType]
    )


def _window(days: int | None, now: datetime) -> TimeFilter | None:
    if days is None:
        return None
    try:
        return TimeFilter(gte=now - timedelta(days=days))
    except OverflowError:
        return None  # longer than the calendar: every memory is within it


def moment(memory: Memory) -> tuple[datetime, datetime, str, str, str]:
    """The order of memories in a summary: by when it happened, oldest first."""
    return (
        memory.event_date or memory.created_at,
        memory.created_at,
        memory.scope.session_id or "",
        memory.extraction_strategy,
        memory.id,
    )


class Inputs:
    """What a summary is made of: counts and fingerprints every memory, and keeps the newest of those that are added whole.

    Equal memories noted in any order by the same ``method`` (prompt, model, version) give the same fingerprint, so an
    unchanged partition is known without summarising it.
    """

    def __init__(self, method: str) -> None:
        self._sum = int.from_bytes(hashlib.sha256(method.encode("utf-8", "surrogatepass")).digest(), "big")
        self._newest: list[Memory] = []
        self.count = 0

    def note(self, member: Member) -> None:
        """Count a memory in. Digests are added up, so that the order in which they come does not matter."""
        key = member.key
        # repr tells texts from None and quotes them, so that no two memories are written alike.
        written = repr((key.namespace, key.user_id, key.id, member.operation_id)).encode("utf-8", "surrogatepass")
        self._sum = (self._sum + int.from_bytes(hashlib.sha256(written).digest(), "big")) % _FINGERPRINTS
        self.count += 1

    def add(self, memory: Memory) -> None:
        """Count a memory in, and keep it while it is among the newest."""
        self.note(member_of(memory))
        bisect.insort(self._newest, memory, key=moment)
        if len(self._newest) > SUMMARIZED_MEMORIES_MAX:
            del self._newest[0]

    @property
    def newest(self) -> Sequence[Memory]:
        """At most ``SUMMARIZED_MEMORIES_MAX``, oldest first."""
        return tuple(self._newest)

    @property
    def fingerprint(self) -> str:
        return f"{self._sum:064x}"


_FINGERPRINTS = 1 << 256


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBudget:
    """How much of a model's context window a prompt may take."""

    window_tokens: int
    threshold: float

    @property
    def text_tokens_max(self) -> int:
        """Of one memory's text."""
        return max(1, min(1_024, self.window_tokens // 20))

    @property
    def prompt_tokens_max(self) -> int:
        """Of the whole prompt: the rest of the window is for the answer."""
        return int(self.window_tokens * self.threshold) - min(4_096, self.window_tokens // 10)


_CHARACTERS_PER_TOKEN = 4


def summary_content(
    memories: Sequence[Memory], *, group: Group, total: int, budget: PromptBudget, instructions_length: int = 0
) -> str:
    """What a model summarises, after its instructions: ``GROUP:`` and ``MEMORIES:``, one JSON object a line.

    ``memories`` are in the order of ``moment``; ``total`` counts the whole group. When they do not all fit, the newest stay
    (at least one), and a note says so. Memory text is data: JSON keeps each on its own line. ``instructions_length`` is in
    characters and comes off the room.
    """
    head = f"GROUP: {json.dumps(dict(sorted(group.items())), ensure_ascii=False)}\n\nMEMORIES:\n"
    room = budget.prompt_tokens_max * _CHARACTERS_PER_TOKEN - instructions_length - len(head)
    text_max = budget.text_tokens_max * _CHARACTERS_PER_TOKEN
    lines: list[str] = []
    for memory in reversed(memories[-SUMMARIZED_MEMORIES_MAX:]):
        line = _line(memory, text_max)
        room -= len(line) + 1
        if room < 0 and lines:
            break
        lines.append(line)
    note = ""
    if len(lines) < total:
        note = f"\n\nNOTE: these are the newest {len(lines)} of {total} memories; older ones were left out to fit."
    return head + "\n".join(reversed(lines)) + note


def _line(memory: Memory, text_max: int) -> str:
    text = memory.text if len(memory.text) <= text_max else memory.text[: text_max - 1] + "…"
    metadata = dict(memory.metadata)
    if len(json.dumps(metadata, ensure_ascii=False, default=str)) > text_max:
        metadata = None
    return json.dumps(
        {
            "id": memory.id,
            "text": text,
            "created_at": _iso(memory.created_at),
            "event_date": None if memory.event_date is None else _iso(memory.event_date),
            "extraction_strategy": memory.extraction_strategy,
            "session_id": memory.scope.session_id,
            "namespace": memory.scope.namespace,
            "user_id": memory.scope.user_id,
            "topics": _within(memory.topics, text_max),
            "metadata": metadata,
        },
        ensure_ascii=False,
        default=str,
    ).translate(_LINE_BREAKS)


_LINE_BREAKS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
"""JSON leaves these as they are, and some readers end a line at them."""


def _within(tags: Iterable[str], length_max: int) -> list[str]:
    kept: list[str] = []
    for tag in tags:
        length_max -= len(tag)
        if length_max < 0:
            break
        kept.append(tag)
    return kept


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
