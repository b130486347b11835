"""Templates, how values read in them, and the headers of every page.

Everything that a template prints is escaped; nothing here marks text as safe but ``marked``, which escapes it first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any, cast
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from agent_memory_server import __version__

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_SHORT_UNITS = ((86_400 * 365, "y"), (86_400 * 30, "mo"), (86_400, "d"), (3_600, "h"), (60, "min"))


def html(template: str, context: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """The template as an answer with the headers of every page."""
    text = _environment().get_template(template).render(context)
    return HTMLResponse(text, status_code=status, headers=dict(PAGE_HEADERS))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("agent_memory_server.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Both are plain dictionaries, whose types know only what comes with the library.
    filters = cast("dict[str, Any]", environment.filters)
    filters.update(
        ago=ago, moment=moment, number=number, url=url, marked=marked, script_data=script_data, pretty=pretty
    )
    known = cast("dict[str, Any]", environment.globals)
    known.update(version=__version__, assets=_assets_version())
    return environment


def _assets_version() -> str:
    """Part of every asset's address, so that browsers may keep them until they change."""
    folder = resources.files("agent_memory_server.web") / "static"
    sizes = sum(len(entry.read_bytes()) for entry in folder.iterdir() if entry.is_file())
    return f"{__version__}-{sizes:x}"


def moment(value: datetime | None) -> str:
    """A time as people read it, in UTC."""
    return "" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def ago(value: datetime | None, now: datetime) -> str:
    """How long before (or after) ``now``, in its largest unit."""
    if value is None:
        return ""
    past = value <= now
    seconds = abs((now - value) / timedelta(seconds=1))
    for size, unit in _SHORT_UNITS:
        if seconds >= size:
            said = f"{int(seconds // size)} {unit}"
            return f"{said} ago" if past else f"in {said}"
    return "just now" if past else "in a moment"


def number(value: float) -> str:
    return f"{value:,}"


def url(path: str, **query: Any) -> str:
    """A path with its query; what is None or empty is left out."""
    named = {name: value for name, value in query.items() if value is not None and value != ""}
    return f"{path}?{urlencode(named)}" if named else path


def marked(text: str, terms: tuple[str, ...]) -> Markup:
    """The text, escaped, with the words that begin with one of the ``terms`` marked."""
    if not terms:
        return escape(text)
    pattern = re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(term) for term in terms)})\w*", re.IGNORECASE)
    pieces: list[str] = []
    end = 0
    for match in pattern.finditer(text):
        pieces += [str(escape(text[end : match.start()])), "<mark>", str(escape(match[0])), "</mark>"]
        end = match.end()
    pieces.append(str(escape(text[end:])))
    return Markup("".join(pieces))  # noqa: S704 - every piece of text was escaped above


def script_data(value: Any) -> Markup:
    """JSON for a ``<script type="application/json">``: no text in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)  # noqa: S704 - the three characters that mean something to HTML are gone


def pretty(value: Any) -> str:
    """A JSON value, indented."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)
