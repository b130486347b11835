"""Whether the clock can be believed when it says that much time has passed. Pure.

The store notes the newest time at which anything was done. A clock that is suddenly far ahead of it was either set wrongly, or
nothing ran for that long: nobody inside can tell. So what is *older than* something is not acted upon for ``SETTLES_AFTER``
from then on, or until somebody says that the clock is right. A clock that is set back makes things look younger, which removes
nothing, and ends the doubt: it is back where it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

STEP_MIN = timedelta(days=2)
"""A gap longer than this between two moments at which something was done counts as a step of the clock."""
SETTLES_AFTER = timedelta(days=1)
NOTED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockRecord:
    """``seen``: the newest time. ``stepped_from`` and ``stepped_at``: the last step ahead that is not settled yet."""

    seen: datetime
    stepped_from: datetime | None = None
    stepped_at: datetime | None = None


def observed(record: ClockRecord | None, now: datetime) -> ClockRecord:
    """What is known of the clock after it has shown ``now``."""
    if record is None:
        return ClockRecord(seen=now)
    if now - record.seen > STEP_MIN:
        return ClockRecord(seen=now, stepped_from=record.stepped_from or record.seen, stepped_at=now)
    if record.seen - now > STEP_MIN:
        return ClockRecord(seen=now)
    settled = record.stepped_at is not None and now - record.stepped_at >= SETTLES_AFTER
    seen = max(record.seen, now)
    return ClockRecord(seen=seen) if settled else replace(record, seen=seen)


def is_worth_noting(record: ClockRecord | None, now: datetime) -> bool:
    """Whether ``observed`` would tell something new: most of the time the same minute is seen again and again."""
    return record is None or abs(now - record.seen) >= NOTED_EVERY


def doubt(record: ClockRecord) -> str | None:
    """Why ages cannot be trusted now, in words for a report; None when they can."""
    if record.stepped_at is None or record.stepped_from is None:
        return None
    days = (record.stepped_at - record.stepped_from).total_seconds() / 86_400
    until = record.stepped_at + SETTLES_AFTER
    return (
        f"the clock moved ahead by {days:.1f} days at once (from {record.stepped_from.isoformat()}): nothing is forgotten "
        f"for its age until {until.isoformat()}, or until a call says trust_clock=true"
    )
