"""Logging: JSON lines on stderr, at no level with memory text or secrets."""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import structlog

_NOISY = (
    *("docket", "httpx", "httpx2", "httpcore", "httpcore2", "urllib3", "hpack", "redis"),
    *("openai", "anthropic", "boto3", "botocore", "LiteLLM", "litellm"),
)
"""Libraries that log each request: addresses at INFO, and at DEBUG what is sent, which is memory text and keys. Our own lines
say what an operator needs."""
_QUOTING = ("mcp", "sse_starlette")
"""Libraries whose messages hold what clients sent."""
_REPEATING = "docket.strikelist"
"""Says each second that Redis is away; our own lines and Docket's worker say it too."""
_AWAY = frozenset({"ConnectionError", "TimeoutError", "BusyLoadingError", "StoreUnavailable", "StoreBusy"})
"""What is waited for. Docket shows where in its code it met them, which tells an operator nothing."""


def configure_logging(level: str) -> None:
    """Send structlog and the standard library's logging to stderr as JSON lines, from ``level`` up."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_quotes,
        _without_places,
        structlog.processors.format_exc_info,
    ]
    # The same list as before, if there was one: loggers that were used already hold it.
    chain: list[structlog.typing.Processor] = []
    if structlog.is_configured():
        chain = structlog.get_config()["processors"]
    chain[:] = [structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
    structlog.configure(
        processors=chain,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in (*_NOISY, *_QUOTING):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    logging.getLogger(_REPEATING).setLevel(logging.ERROR)


def _without_quotes(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Exceptions of libraries that quote the messages they could not read, without the quotation."""
    raised = event.get("exc_info")
    if isinstance(raised, tuple) and str(event.get("logger")).startswith(_QUOTING):
        event["exc_info"] = None
        event["error"] = getattr(cast("tuple[Any, ...]", raised)[0], "__name__", "unknown")
    return event


def _without_places(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Docket's errors about a Redis or a store that is away, in one line without a traceback."""
    raised = event.get("exc_info")
    if isinstance(raised, tuple) and str(event.get("logger")).startswith("docket"):
        name = getattr(cast("tuple[Any, ...]", raised)[0], "__name__", "")
        if name in _AWAY:
            event["exc_info"] = None
            event["error"] = name
    return event
