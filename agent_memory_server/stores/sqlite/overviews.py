"""Counts and lists for people, over SQLite: from covering indexes and the scopes' own counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import numpy as np

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.ports.overviews import Counts, MapPoints, OwnerCount, SessionLine, SessionLines
from agent_memory_server.stores.sqlite.connections import Connected, Row
from agent_memory_server.stores.sqlite.filtering import Condition, prefix_condition
from agent_memory_server.stores.sqlite.listing import matching
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.scoping import Selection, selected
from agent_memory_server.stores.values import instant, micros

_DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)
# Rounded down: before 1970 a plain division would round towards it.
_DAY = f"(m.created_at - ((m.created_at % {_DAY_US}) + {_DAY_US}) % {_DAY_US}) / {_DAY_US}"
_LIVE = "m.superseded_by IS NULL AND (m.expires_at IS NULL OR m.expires_at > ?)"
_LIVE_SESSION = "(x.expires_at IS NULL OR x.expires_at > ?)"


class SqliteOverviews:
    """``ports.overviews.Overviews`` over one file."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def counts(self, selector: ScopeSelector, /, *, now: datetime) -> Counts:
        def work(connected: Connected) -> Counts:
            selection = selected(connected, selector)
            if selection is None:
                return Counts(by_type={}, superseded=0, sessions=0, owners=0)
            connected.leave_event_loop()
            return _counted(connected, selection, micros(now))

        return await self._readers.run(work)

    async def largest_owners(
        self, selector: ScopeSelector, /, *, limit: int, offset: int = 0, user_prefix: str | None = None
    ) -> Sequence[OwnerCount]:
        def work(connected: Connected) -> list[OwnerCount]:
            selection = selected(connected, selector)
            if selection is None:
                return []
            where = _scopes(selection)
            if user_prefix:
                where = Condition.all_of(where, prefix_condition("s.user_id", user_prefix))
            rows = connected.rows(
                f"SELECT s.namespace, s.user_id, s.documents FROM scopes AS s WHERE {where.sql} AND s.documents > 0 "
                "ORDER BY s.documents DESC, s.user_id, s.namespace LIMIT ? OFFSET ?",
                (*where.values, limit, offset),
            )
            return [
                OwnerCount(owner=Scope(selector.tenant, namespace, user_id), memories=documents)
                for namespace, user_id, documents in rows
            ]

        return await self._readers.run(work)

    async def growth(self, selector: ScopeSelector, /, *, since: datetime, now: datetime) -> Mapping[date, int]:
        def work(connected: Connected) -> dict[date, int]:
            selection = selected(connected, selector)
            if selection is None:
                return {}
            connected.leave_event_loop()
            found = _by_day(connected, selection, since=micros(since), now=micros(now))
            return {_EPOCH + timedelta(days=day): count for day, count in found.items() if count > 0}

        return await self._readers.run(work)

    async def sessions(self, selector: ScopeSelector, /, *, now: datetime, limit: int, offset: int = 0) -> SessionLines:
        def work(connected: Connected) -> SessionLines:
            selection = selected(connected, selector)
            if selection is None:
                return SessionLines(sessions=(), total=0)
            where = Condition.all_of(selection.condition("x"), Condition(_LIVE_SESSION, (micros(now),)))
            total = connected.value(f"SELECT count(*) FROM sessions AS x WHERE {where.sql}", where.values)
            rows = connected.rows(
                "SELECT s.namespace, s.user_id, x.session_id, x.created_at, x.updated_at, x.live_count, x.archived_count, "
                f"x.expires_at FROM sessions AS x JOIN scopes AS s ON s.id = x.scope_id WHERE {where.sql} "
                "ORDER BY x.updated_at DESC, x.session_id, x.scope_id LIMIT ? OFFSET ?",
                (*where.values, limit, offset),
            )
            lines = [
                SessionLine(
                    scope=Scope(selector.tenant, namespace, user_id, session_id),
                    created_at=instant(created),
                    updated_at=instant(updated),
                    messages=live,
                    archived=archived,
                    expires_at=None if expires is None else instant(expires),
                )
                for namespace, user_id, session_id, created, updated, live, archived, expires in rows
            ]
            return SessionLines(sessions=lines, total=total)

        return await self._readers.run(work)

    async def map_points(self, criteria: MemoryFilter, /, *, model: str, now: datetime, limit: int) -> MapPoints:
        def work(connected: Connected) -> MapPoints:
            found = matching(connected, criteria, now=now)
            space = connected.value("SELECT id FROM spaces WHERE model = ? AND kind = 'text'", (model,))
            if found is None or space is None:
                return _points(criteria.selector.tenant, [])
            connected.leave_event_loop()
            _, condition = found
            rows = connected.rows(
                "SELECT s.namespace, s.user_id, m.id, m.memory_type, m.topics ->> 0, m.created_at, v.vector FROM "
                f"(SELECT m.* FROM memories AS m WHERE {condition.sql} AND m.has_vector = 1 AND m.space_id = ? "
                "ORDER BY m.created_at DESC, m.id LIMIT ?) AS m "
                "JOIN scopes AS s ON s.id = m.scope_id JOIN vectors AS v ON v.space_id = m.space_id AND "
                "v.tenant_id = m.tenant_id AND v.scope_id = m.scope_id AND v.handle = m.handle "
                "ORDER BY m.created_at DESC, m.id",
                (*condition.values, space, limit),
            )
            return _points(criteria.selector.tenant, rows)

        return await self._readers.run(work)


def _counted(connected: Connected, selection: Selection, moment: int) -> Counts:
    where = selection.condition("m")
    by_type = connected.rows(
        f"SELECT m.memory_type, count(*) FILTER (WHERE {_LIVE}), count(*) FILTER (WHERE m.superseded_by IS NOT NULL) "
        f"FROM memories AS m WHERE {where.sql} GROUP BY m.memory_type",
        (moment, *where.values),
    )
    sessions = selection.condition("x")
    scopes = _scopes(selection)
    return Counts(
        by_type={kind: live for kind, live, _ in by_type if live},
        superseded=sum(superseded for _, _, superseded in by_type),
        sessions=connected.value(
            f"SELECT count(*) FROM sessions AS x WHERE {sessions.sql} AND {_LIVE_SESSION}", (*sessions.values, moment)
        ),
        owners=connected.value(
            f"SELECT count(*) FROM scopes AS s WHERE {scopes.sql} AND s.documents > 0", scopes.values
        ),
    )


def _by_day(connected: Connected, selection: Selection, *, since: int, now: int) -> Mapping[int, int]:
    """Live memories by the day that they are from: all of them, which one index tells without a look at any memory, less the
    few that are superseded or expired, which have indexes of their own."""
    owned = selection.condition("m")
    where = Condition.all_of(owned, Condition("m.created_at >= ? AND m.created_at <= ?", (since, now)))
    found = dict(
        connected.rows(
            f"SELECT {_DAY} AS day, count(*) FROM memories AS m WHERE {where.sql} GROUP BY day", where.values
        )
    )
    for index, gone in (
        ("memories_superseded", Condition("m.superseded_by IS NOT NULL")),
        ("memories_expiring", Condition("m.superseded_by IS NULL AND m.expires_at <= ?", (now,))),
    ):
        without = Condition.all_of(where, gone)
        rows = connected.rows(
            f"SELECT {_DAY} AS day, count(*) FROM memories AS m INDEXED BY {index} WHERE {without.sql} GROUP BY day",
            without.values,
        )
        for day, count in rows:
            found[day] = found.get(day, 0) - count
    return found


def _scopes(selection: Selection) -> Condition:
    """The selection, over ``scopes AS s``."""
    tenant = Condition("s.tenant_id = ?", (selection.tenant_id,))
    if selection.scope_ids is None:
        return tenant
    marks = ", ".join("?" * len(selection.scope_ids))
    return Condition.all_of(tenant, Condition(f"s.id IN ({marks})", selection.scope_ids))


def _points(tenant: str, rows: Sequence[Row]) -> MapPoints:
    owners = {place: Scope(tenant, *place) for place in {(row[0], row[1]) for row in rows}}
    vectors = np.frombuffer(b"".join(row[6] for row in rows), dtype=np.float32)
    return MapPoints(
        owners=[owners[row[0], row[1]] for row in rows],
        ids=[str(row[2]) for row in rows],
        types=[str(row[3]) for row in rows],
        topics=[None if row[4] is None else str(row[4]) for row in rows],
        created_us=np.array([row[5] for row in rows], dtype=np.int64),
        vectors=vectors.reshape(len(rows), -1) if rows else np.empty((0, 0), dtype=np.float32),
    )
