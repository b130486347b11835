"""The requests that this process could not serve, for whoever runs it: the last of each kind, and how often it happened.

Kinds are a route and a status, never an id or a text. It forgets with the process; the log and ``/metrics`` have all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus

KINDS_MAX = 200
SERVER_ERROR = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRequests:
    """Requests of one kind that were answered with a 5xx. ``trace_id`` and ``at`` are the last one's."""

    method: str
    route: str
    status: int
    count: int
    at: datetime
    trace_id: str

    @property
    def phrase(self) -> str:
        return HTTPStatus(self.status).phrase


class RecentFailures:
    """Kept for each tenant by itself: nobody learns how often another's requests fail."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str | None, str, str, int], FailedRequests] = OrderedDict()

    def note(self, tenant: str | None, method: str, route: str, status: int, *, trace_id: str, at: datetime) -> None:
        """Count it if it is a failure of ours. ``tenant`` None: it failed before it was known who asked."""
        if status < SERVER_ERROR:
            return
        kind = (tenant, method, route, status)
        before = self._held.pop(kind, None)
        count = 1 if before is None else before.count + 1
        self._held[kind] = FailedRequests(
            method=method, route=route, status=status, count=count, at=at, trace_id=trace_id
        )
        if len(self._held) > KINDS_MAX:
            self._held.popitem(last=False)

    def newest(self, tenant: str, *, limit: int) -> Sequence[FailedRequests]:
        """Of this tenant, and of nobody known; the last one first."""
        found = [each for (whose, *_), each in self._held.items() if whose in (tenant, None)]
        merged: dict[tuple[str, str, int], FailedRequests] = {}
        for each in reversed(found):
            kind = (each.method, each.route, each.status)
            held = merged.get(kind)
            merged[kind] = each if held is None else replace(held, count=held.count + each.count)
        return list(merged.values())[:limit]
