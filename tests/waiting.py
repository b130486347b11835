"""Waiting for what happens elsewhere, without sleeping longer than needed and never without a reason on failure."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_POLL_FIRST_S = 0.005
_POLL_MAX_S = 0.1


def wait_until(predicate: Callable[[], Result], message: str, timeout_s: float = 10.0) -> Result:
    """Return the predicate's first truthy value. Raises AssertionError with ``message`` and the last value on time-out."""
    deadline = time.monotonic() + timeout_s
    pause_s = _POLL_FIRST_S
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{message} (waited {timeout_s:g} s; last value: {value!r})")
        time.sleep(pause_s)
        pause_s = min(_POLL_MAX_S, pause_s * 1.5)
