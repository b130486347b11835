"""Messages beside messages, and what the second stage of search looks at of each candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.search import Handle
from agent_memory_server.domain.second_stage import ENDING_CHARACTERS, OPENING_CHARACTERS, Passage, Pool
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.filtering import Condition
from agent_memory_server.stores.sqlite.listing import matching


def _beside(comparison: str, direction: str) -> str:
    # The message itself comes first: one seek of the index finds it and those beside it.
    return (
        "(SELECT json_group_array(handle) FROM (SELECT b.handle FROM memories AS b INDEXED BY messages_in_order "
        "WHERE b.scope_id = m.scope_id AND b.session_id = m.session_id AND b.memory_type = 'message' "
        f"AND b.superseded_by IS NULL AND (b.created_at, b.handle) {comparison} (m.created_at, m.handle) "
        f"ORDER BY b.created_at {direction}, b.handle {direction} LIMIT ?))"
    )


_NEIGHBOURS = (
    f"SELECT json_group_array(json_array(m.handle, {_beside('<', 'DESC')}, {_beside('>', 'ASC')})) "
    "FROM json_each(?) AS h CROSS JOIN memories AS m WHERE m.handle = h.value AND m.memory_type = 'message' "
    "AND m.session_id IS NOT NULL"
)


_SOURCES = (
    "SELECT json_group_array(s.handle) FROM json_each(?) AS w CROSS JOIN memories AS f CROSS JOIN memories AS s "
    "WHERE f.handle = w.value ->> 0 AND s.tenant_id = f.tenant_id AND s.id = w.value ->> 1 AND s.scope_id = f.scope_id "
    "AND s.session_id = f.session_id AND s.memory_type = 'message'"
)


def neighbours(connected: Connected, handles: Sequence[Handle], *, span: int) -> dict[Handle, Sequence[Handle]]:
    """The port's ``neighbours``: one seek of the index before and one after each message."""
    text = connected.value(_NEIGHBOURS, (span, span, orjson.dumps(list(handles)).decode()))
    found: dict[Handle, Sequence[Handle]] = {}
    for handle, before, after in orjson.loads(text):
        found[handle] = [*reversed(_list(before)), handle, *_list(after)]
    return found


def pool(connected: Connected, criteria: MemoryFilter, handles: Sequence[int], *, span: int, now: datetime) -> Pool:
    """The port's ``pool`` within one read: neighbours are looked up for messages only."""
    found = matching(connected, criteria, now=now)
    if found is None:
        return Pool({}, {})
    _, condition = found
    passages = _passages(connected, condition, handles)
    if not span:
        return Pool(passages, {})
    told = _sources(connected, passages)
    if told:
        passages.update(_passages(connected, condition, told))
    spoken = [handle for handle, each in passages.items() if each.is_message and each.session is not None]
    if not spoken:
        return Pool(passages, {})
    around = neighbours(connected, spoken, span=span)
    further = dict.fromkeys(each for window in around.values() for each in window if each not in passages)
    if further:
        passages.update(_passages(connected, condition, list(further)))
    return Pool.of(passages, around)


def _sources(connected: Connected, passages: Mapping[Handle, Passage]) -> list[Handle]:
    """The messages that these passages came from and that are not among them."""
    wanted = [(handle, source) for handle, each in passages.items() for source in each.sources_looked_at]
    if not wanted:
        return []
    found = _list(connected.value(_SOURCES, (orjson.dumps(wanted).decode(),)))
    return [handle for handle in dict.fromkeys(found) if handle not in passages]


def _passages(connected: Connected, condition: Condition, handles: Sequence[Handle]) -> dict[Handle, Passage]:
    """In the order of the handles; those that do not match are missing."""
    text = connected.value(
        "SELECT json_group_array(json_array(m.handle, m.id, m.scope_id, m.session_id, m.memory_type = 'message', "
        "json_extract(m.extra, '$.name'), m.created_at, m.last_accessed, m.event_date, "
        f"substr(m.text, 1, {OPENING_CHARACTERS}), substr(m.text, -{ENDING_CHARACTERS}), "
        "json_extract(m.extra, '$.extracted_from'))) "
        f"FROM json_each(?) AS h CROSS JOIN memories AS m WHERE m.handle = h.value AND {condition.sql}",
        (orjson.dumps(handles).decode(), *condition.values),
    )
    # By position: there are a hundred of them in every search.
    return {
        handle: Passage(
            memory_id,
            None if session_id is None else (scope_id, session_id),
            bool(is_message),
            name,
            created,
            accessed,
            event,
            opening,
            ending,
            () if is_message or sources is None else tuple(_list(sources)),
        )
        for (
            handle, memory_id, scope_id, session_id, is_message, name, created, accessed, event, opening, ending, sources,
        ) in orjson.loads(text)
    }  # fmt: skip


def _list(value: str | list[Any]) -> list[Any]:
    """SQLite hands nested arrays on as arrays or as their text, by the way they were made."""
    return orjson.loads(value) if isinstance(value, str) else value
