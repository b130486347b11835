"""Spans for OpenTelemetry, where somebody has set its SDK up in this process; else nothing is recorded and nothing is paid.

Names and attributes hold route templates, kinds of work, model names and numbers: never an id, a user or a text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import propagate, trace

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

TRACER = "agent_memory_server"

Value = str | int | float | bool
Work = TypeVar("Work")
Done = TypeVar("Done")


def _tracer() -> Tracer | None:
    """None: no SDK has been set up."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return None
    return trace.get_tracer(TRACER)


@contextlib.contextmanager
def span(
    name: str,
    *,
    is_request: bool = False,
    is_call: bool = False,
    traceparent: str | None = None,
    **attributes: Value,
) -> Generator[Span | None]:
    """A span around what is done inside, under the current one or the one that ``traceparent`` names; None without an SDK."""
    tracer = _tracer()
    if tracer is None:
        yield None
        return
    kind = trace.SpanKind.INTERNAL
    if is_request or is_call:
        kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.CLIENT
    context = None if traceparent is None else propagate.extract({"traceparent": traceparent})
    # What an error says may quote an id: the log has it, a span must not.
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=kind,
        attributes=dict(attributes),
        record_exception=False,
        set_status_on_exception=False,
    ) as begun:
        yield begun


def traced(handlers: Mapping[str, Callable[[Work], Awaitable[Done]]]) -> dict[str, Callable[[Work], Awaitable[Done]]]:
    """The same handlers, each in a span of its kind."""
    return {kind: _in_span(kind, handler) for kind, handler in handlers.items()}


def _in_span(kind: str, handler: Callable[[Work], Awaitable[Done]]) -> Callable[[Work], Awaitable[Done]]:
    async def within(work: Work) -> Done:
        with span(kind):
            return await handler(work)

    return within


def note(begun: Any, **attributes: Value) -> None:
    """Add to a span what is known at its end; nothing without an SDK."""
    if begun is not None:
        for name, value in attributes.items():
            begun.set_attribute(name, value)
