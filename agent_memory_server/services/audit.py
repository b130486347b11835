"""The audit log: security events as structured log lines of the logger ``agent_memory_server.audit``.

An event says who, what and why. It never holds memory text, a credential, or what was sent in its place. Events that a
stranger can cause at will are counted when there are too many of them, so that a flood does not fill the disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

LOGGER = "agent_memory_server.audit"
FAILURES_PER_SECOND_MAX = 10

_log = structlog.stdlib.get_logger(LOGGER)


class Audit:
    """One for each process."""

    def __init__(self, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._second = -1
        self._logged = 0
        self._suppressed = 0

    def authentication_failed(self, reason: str) -> None:
        """A credential was missing or not valid."""
        second = int(self._clock_s())
        if second != self._second:
            if self._suppressed:
                _log.warning("authentication failures not logged", count=self._suppressed)
            self._second, self._logged, self._suppressed = second, 0, 0
        if self._logged >= FAILURES_PER_SECOND_MAX:
            self._suppressed += 1
            return
        self._logged += 1
        _log.warning("authentication failed", reason=reason)

    def permission_denied(self, *, subject: str, tenant: str, permission: str, action: str) -> None:
        _log.warning("permission denied", subject=subject, tenant=tenant, permission=permission, action=action)

    def token_added(self, *, actor: str, token_id: str, tenant: str, permissions: list[str]) -> None:
        _log.info("token added", actor=actor, token_id=token_id, tenant=tenant, permissions=permissions)

    def token_removed(self, *, actor: str, token_id: str, tenant: str) -> None:
        _log.info("token removed", actor=actor, token_id=token_id, tenant=tenant)

    def token_adopted(self, *, token_id: str, tenant: str) -> None:
        """An imported token was used for the first time and is known by its digest from now on."""
        _log.info("imported token adopted", token_id=token_id, tenant=tenant)


def erased(*, subject: str, tenant: str, what: str, count: int) -> None:
    """Somebody removed records for good. Ids are not said: they may name people, and they are gone."""
    if count:
        _log.info("erased", subject=subject, tenant=tenant, what=what, count=count)
