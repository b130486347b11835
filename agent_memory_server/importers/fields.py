"""Fields of JSON objects as other systems write them: read leniently, and cleaned of what no store can keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

_MILLISECONDS_FROM = 1e11
"""As seconds this lies beyond the year 5000."""


def listed(content: Any, *names: str) -> Sequence[Any]:
    """The list that the content is, or that it holds under these names, one after another."""
    if isinstance(content, list):
        return cast("list[Any]", content)
    if isinstance(content, dict):
        fields = cast("dict[str, Any]", content)
        found = [each for name in names for each in listed(fields.get(name) or [])]
        return found or ([] if any(name in fields for name in names) else [fields])
    return []


def objects(values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    return (cast("dict[str, Any]", each) for each in values if isinstance(each, dict))


def as_object(value: object) -> dict[str, Any]:
    """The value, if it is a JSON object; else an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def object_of(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    return as_object(fields.get(name))


def list_of(fields: Mapping[str, Any], name: str) -> list[Any]:
    value = fields.get(name)
    return cast("list[Any]", value) if isinstance(value, list) else []


def text_of(fields: Mapping[str, Any], *names: str) -> str | None:
    """The first of these fields that is a text and not blank."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and (text := cleaned(value)):
            return text
    return None


def cleaned(text: str) -> str:
    """Without blanks around it, without NUL, and with a replacement for halves of characters."""
    kept = text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return kept.replace("\0", "").strip()


def time_of(fields: Mapping[str, Any], *names: str) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970; what is neither is left out, as no memory depends on it."""
    for name in names:
        value = fields.get(name)
        try:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return datetime.fromtimestamp(value / 1000 if abs(value) >= _MILLISECONDS_FROM else value, UTC)
            if isinstance(value, str) and value.strip():
                found = datetime.fromisoformat(value.strip())
                return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError, OSError):
            continue
    return None
