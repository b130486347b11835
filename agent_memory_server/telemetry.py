"""Spans for OpenTelemetry, where somebody has set its SDK up in this process; else nothing is recorded and nothing is paid.

A request's trace goes on in the work that it asks for, whichever process does it and whenever: its ``traceparent`` is stored
with the work. Names and attributes hold route templates, kinds of work, model names and numbers: never an id, a user or a text.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from opentelemetry import propagate, trace

from agent_memory_server.domain.jobs import ClaimedIntent
from agent_memory_server.domain.traceparent import within_trace

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

TRACER = "agent_memory_server"
SERVER_ERROR = 500

Value = str | int | float | bool
Done = TypeVar("Done")
Handler = Callable[[ClaimedIntent], Awaitable[Done]]


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
    """A span around what is done inside, under the one that ``traceparent`` names, else under the current one; a request that
    an instrumented web server has a span for already goes under that. None without an SDK. Work that is asked for inside
    belongs to the same trace."""
    tracer = _tracer()
    if tracer is None:
        with within_trace(traceparent):
            yield None
        return
    kind = trace.SpanKind.INTERNAL
    if is_request or is_call:
        kind = trace.SpanKind.SERVER if is_request else trace.SpanKind.CLIENT
    is_begun = is_request and trace.get_current_span().get_span_context().is_valid
    context = None if traceparent is None or is_begun else propagate.extract({"traceparent": traceparent})
    # What an error says may quote an id: the log has it, a span must not.
    with (
        tracer.start_as_current_span(
            name,
            context=context,
            kind=kind,
            attributes=dict(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as begun,
        within_trace(traceparent_of(begun)),
    ):
        yield begun


def traceparent_of(begun: Span) -> str:
    """What a header, or stored work, says to go on with this span."""
    context = begun.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def begun_elsewhere() -> str | None:
    """The ``traceparent`` of the span that an instrumented library has begun around this; None without one."""
    current = trace.get_current_span()
    return traceparent_of(current) if current.get_span_context().is_valid else None


def traced(handlers: Mapping[str, Handler[Done]]) -> dict[str, Handler[Done]]:
    """The same handlers, each in a span of its kind that goes on with the trace of the request behind it."""
    return {kind: _in_span(kind, handler) for kind, handler in handlers.items()}


def _in_span(kind: str, handler: Handler[Done]) -> Handler[Done]:
    async def within(work: ClaimedIntent) -> Done:
        with span(kind, traceparent=work.traceparent, attempt=work.attempts + 1) as begun, _failing(begun):
            return await handler(work)

    return within


@contextlib.contextmanager
def _failing(begun: Span | None) -> Generator[None]:
    try:
        yield
    except Exception as error:
        failed(begun, type(error).__name__)
        raise


def failed(begun: Span | None, kind: str) -> None:
    """The span shows as an error of this kind (the name of a class, or a status); nothing without an SDK."""
    if begun is not None:
        begun.set_attribute("error.type", kind)
        begun.set_status(trace.StatusCode.ERROR)


def note_request(begun: Span | None, method: str, route: str, status: int) -> None:
    """Name a request's span by its route, and say how it was answered; nothing without an SDK. ``status`` 0: not at all."""
    if begun is None:
        return
    begun.update_name(f"{method} {route}")
    note(begun, **{"http.request.method": method, "http.route": route})
    if status:
        note(begun, **{"http.response.status_code": status})
    if status >= SERVER_ERROR:
        failed(begun, str(status))


def note(begun: Any, **attributes: Value) -> None:
    """Add to a span what is known at its end; nothing without an SDK."""
    if begun is not None:
        for name, value in attributes.items():
            begun.set_attribute(name, value)
