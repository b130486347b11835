"""The trace of a request (W3C Trace Context): a valid ``traceparent`` is continued, anything else replaced by a new one."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_FORBIDDEN_VERSION = b"ff"


@dataclass(frozen=True, slots=True)
class Trace:
    """``trace_id`` names the request in logs, in errors and in the X-Request-ID header; ``span_id`` is our part of it."""

    trace_id: str
    span_id: str
    flags: str = "00"
    parent: str | None = None
    """The caller's ``traceparent``; None where the trace begins here."""

    @property
    def urn(self) -> str:
        return f"urn:trace:{self.trace_id}"

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def trace_of(traceparent: bytes | None) -> Trace:
    """Continue the caller's trace with a span of our own, or begin a new one. Never fails."""
    matched = _TRACEPARENT.fullmatch(traceparent.strip()) if traceparent is not None else None
    if matched is not None:
        version, trace_id, parent_id, flags, rest = matched.groups()
        known = version != _FORBIDDEN_VERSION and (version != b"00" or rest is None)
        if known and trace_id.strip(b"0") and parent_id.strip(b"0"):
            caller = b"-".join((b"00", trace_id, parent_id, flags)).decode()
            return Trace(trace_id.decode(), secrets.token_hex(8), flags.decode(), caller)
    return Trace(secrets.token_hex(16), secrets.token_hex(8))


def recorded(trace: Trace, begun: str) -> Trace:
    """The trace as the span that was begun for the request has it: what it says is what an operator will find."""
    _, trace_id, span_id, flags = begun.split("-")
    return Trace(trace_id, span_id, flags, trace.parent)
