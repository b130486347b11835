"""When the clock is believed."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent_memory_server.domain.clock_guard import SETTLES_AFTER, ClockRecord, doubt, is_worth_noting, observed
from tests.contract.stores.making import T0

YEAR = timedelta(days=365)


def walked(*moments: datetime) -> ClockRecord:
    record = None
    for moment in moments:
        record = observed(record, moment)
    assert record is not None
    return record


def test_time_that_passes_is_believed() -> None:
    """An hour, a night, a day and a half without anything done."""
    assert doubt(walked(T0)) is None
    assert doubt(walked(T0, T0 + timedelta(hours=1), T0 + timedelta(days=1.5))) is None


def test_a_jump_ahead_is_doubted_until_it_has_lasted() -> None:
    """For a day of going on at the new time; the reason names both ends."""
    ahead = T0 + YEAR
    reason = doubt(walked(T0, ahead))
    assert reason is not None
    assert "365.0 days" in reason
    assert "trust_clock" in reason
    assert doubt(walked(T0, ahead, ahead + timedelta(hours=23))) is not None
    assert doubt(walked(T0, ahead, ahead + timedelta(hours=12), ahead + SETTLES_AFTER)) is None


def test_going_back_ends_the_doubt() -> None:
    """Things look younger then, which removes nothing."""
    assert doubt(walked(T0, T0 + YEAR, T0 + timedelta(minutes=1))) is None
    assert doubt(walked(T0, T0 - YEAR)) is None


def test_jumping_on_and_on_starts_the_wait_anew() -> None:
    """Each jump is a reason to wait, and the first end is still named."""
    record = walked(T0, T0 + YEAR, T0 + 2 * YEAR)
    assert record.stepped_from == T0
    assert record.stepped_at == T0 + 2 * YEAR


def test_the_same_minute_is_noted_once() -> None:
    """So that a commit rarely writes the time."""
    assert is_worth_noting(None, T0)
    assert not is_worth_noting(ClockRecord(seen=T0), T0 + timedelta(seconds=59))
    assert is_worth_noting(ClockRecord(seen=T0), T0 + timedelta(seconds=60))
    assert is_worth_noting(ClockRecord(seen=T0), T0 - timedelta(seconds=60))
