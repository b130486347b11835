"""Single values as the reference server wrote them, in any of its versions. What cannot be read raises ``CannotRead``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SEPARATORS = re.compile(r"[|,]")


class CannotRead(Exception):
    """The reason, in words for a person: what is wrong with which field."""


def text_of(value: bytes, what: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise CannotRead(f"{what} is not UTF-8") from None


def json_of(value: bytes | str, what: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise CannotRead(f"{what} is not JSON") from None


def object_of(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise CannotRead(f"{what} is not an object")
    return value  # pyright: ignore[reportUnknownVariableType]


def optional_text(value: object, what: str) -> str | None:
    """None and the empty string both mean "none": that is how the reference server wrote it."""
    if value is None or value == "":
        return None
    return required_text(value, what)


def required_text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise CannotRead(f"{what} is not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise CannotRead(f"{what} holds half a character (a lone surrogate)") from None
    return value


def flag_of(value: object, what: str, *, absent: bool) -> bool:
    """Written as 1 and 0, as t and f, or as a JSON boolean."""
    if value is None or value == "":
        return absent
    known = {"t": True, "f": False, "1": True, "0": False, "true": True, "false": False}
    found = known.get(str(value).lower())
    if found is None:
        raise CannotRead(f"{what} is neither yes nor no")
    return found


def number_of(value: object, what: str, *, absent: int) -> int:
    if value is None or value == "":
        return absent
    try:
        found = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise CannotRead(f"{what} is not a number") from None
    if not math.isfinite(found) or abs(found) > 2**53:
        raise CannotRead(f"{what} is not a number that can be used")
    return int(found)


def moment_of(value: object, what: str) -> datetime | None:
    """Epoch seconds (as number or text) or ISO 8601; naive times are UTC. None for what is absent, empty or zero."""
    if value is None or value == "" or value == 0:
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return _iso(value, what)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CannotRead(f"{what} is not a time")
    if value == 0:
        return None
    try:
        return _EPOCH + timedelta(microseconds=round(value * 1_000_000))
    except OverflowError:
        raise CannotRead(f"{what} is a time beyond the calendar") from None


def _iso(value: str, what: str) -> datetime:
    # More than six digits of a second were written by some clients; the reference server cut them off too.
    cut = re.sub(r"(\.\d{6})\d+", r"\1", value.strip())
    try:
        found = datetime.fromisoformat(cut)
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise CannotRead(f"{what} is not a time") from None


def moment_of_ulid(identity: str) -> datetime | None:
    """When a ULID was made; None for an id of another form."""
    if _ULID.fullmatch(identity.upper()) is None:
        return None
    milliseconds = 0
    for character in identity.upper()[:10]:
        milliseconds = milliseconds * 32 + _CROCKFORD.index(character)
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def tags_of(value: object, what: str) -> tuple[str, ...]:
    """Joined with commas, or (before the reference's second version) with bars; a JSON list in sessions."""
    if value is None or value == "":
        return ()
    parts: Sequence[object] = _SEPARATORS.split(value) if isinstance(value, str) else listed(value, what)
    found: list[str] = []
    for part in parts:
        # A comma within an entry of a list would have separated two in a hash, and clients refuse it.
        found += [each.strip() for each in required_text(part, what).split(",")]
    return tuple(dict.fromkeys(each for each in found if each))


def listed(value: object, what: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise CannotRead(f"{what} is not a list")
    return value  # pyright: ignore[reportUnknownVariableType]
