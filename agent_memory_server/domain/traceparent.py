"""On whose request something is done: its W3C ``traceparent``, which pending work takes into the store and goes on with later.

It is carried beside the calls, in the context of the running task, so that nothing has to pass it on and no work can miss it.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_CURRENT: ContextVar[str | None] = ContextVar("agent_memory_traceparent", default=None)
_TRACE_ID = slice(3, 35)


def current_traceparent() -> str | None:
    """None: nobody's request is behind this."""
    return _CURRENT.get()


@contextmanager
def within_trace(traceparent: str | None) -> Generator[None]:
    """What is done inside, and the work that it asks for, belongs to this trace; None leaves it as it is."""
    if traceparent is None:
        yield
        return
    token = _CURRENT.set(traceparent)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def trace_id_of(traceparent: str) -> str:
    """Its part that names the whole trace, as logs and answers quote it."""
    return traceparent[_TRACE_ID]
