"""One line of an export as it is read: its fields with their types, and what is wrong with it in a person's words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

from agent_memory_server.domain.limits import LIMITS

_INTEGER_MIN = -(2**63)
_INTEGER_MAX = 2**64 - 1


class BadLine(ValueError):
    """A line that cannot be read as what it says it is; the message says why, for a person."""


class Reading:
    """One line's fields, taken with their types; what is missing or wrong raises BadLine that names the field."""

    def __init__(self, line: Mapping[str, Any]) -> None:
        self._line = line

    @property
    def fields(self) -> Mapping[str, Any]:
        """As they stand in the line, nothing checked."""
        return self._line

    def text(self, name: str, *, length_max: int = LIMITS.id_length_max) -> str:
        value = self._line.get(name)
        if not isinstance(value, str) or not value:
            raise BadLine(f"{name} must be a text that is not empty")
        return self._checked(name, value, length_max)

    def text_or_none(self, name: str, *, length_max: int = LIMITS.id_length_max) -> str | None:
        value = self._line.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise BadLine(f"{name} must be a text")
        return self._checked(name, value, length_max)

    def _checked(self, name: str, value: str, length_max: int) -> str:
        if len(value) > length_max:
            raise BadLine(f"{name} has more than {length_max} characters")
        if "\0" in value:
            raise BadLine(f"{name} holds the NUL character")
        if _is_half(value):
            raise BadLine(f"{name} holds half a character (a lone surrogate)")
        return value

    def scope_part(self, name: str) -> str | None:
        value = self.text_or_none(name)
        if value is not None and not value.strip():
            raise BadLine(f"{name} must not be blank; leave it out for none")
        return value

    def number(self, name: str, *, default: int = 0, least: int = 0, most: int = 2**62) -> int:
        value = self._line.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadLine(f"{name} must be a whole number from {least} to {most}")
        return value

    def number_or_none(self, name: str, *, least: int = 0, most: int = 2**62) -> int | None:
        return None if self._line.get(name) is None else self.number(name, least=least, most=most)

    def share(self, name: str, default: float) -> float:
        value = self._line.get(name, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0.0 <= value <= 1.0:
            raise BadLine(f"{name} must be a number from 0 to 1")
        return float(value)

    def truth(self, name: str, *, default: bool = False) -> bool:
        value = self._line.get(name, default)
        if not isinstance(value, bool):
            raise BadLine(f"{name} must be true or false")
        return value

    def time(self, name: str) -> datetime:
        found = self.time_or_none(name)
        if found is None:
            raise BadLine(f"{name} must be a time such as 2026-01-31T12:00:00Z")
        return found

    def time_or_none(self, name: str) -> datetime | None:
        value = self._line.get(name)
        if value is None:
            return None
        try:
            return moment_said(value)
        except (TypeError, ValueError, OverflowError):
            raise BadLine(f"{name} must be a time such as 2026-01-31T12:00:00Z") from None

    def texts(self, name: str, *, length_max: int = LIMITS.tag_length_max) -> tuple[str, ...]:
        values = self._list(name)
        if not values:
            return ()
        if len(values) > LIMITS.tags_max or not all(isinstance(each, str) for each in values):
            raise BadLine(f"{name} must be a list of at most {LIMITS.tags_max} texts")
        found = tuple([self._checked(name, str(each), length_max) for each in values])
        if "," in "".join(found):
            raise BadLine(f"{name} holds a value with a comma, which published clients refuse")
        return found

    def _list(self, name: str) -> list[object]:
        value = self._line.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise BadLine(f"{name} must be a list")
        return cast("list[object]", value)

    def object_or_none(self, name: str) -> dict[str, Any] | None:
        value = self._line.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise BadLine(f"{name} must be an object")
        found = cast("dict[str, Any]", value)
        if not found:
            return found
        wrong = _unstorable(found)
        if wrong is not None:
            raise BadLine(f"{name} {wrong}")
        if len(json.dumps(found, ensure_ascii=False)) > LIMITS.json_bytes_max:
            raise BadLine(f"{name} has more than {LIMITS.json_bytes_max} characters as JSON")
        return found

    def part(self, name: str) -> Reading | None:
        """An object within the line, whose fields are checked as they are taken."""
        value = self._line.get(name)
        if value is not None and not isinstance(value, dict):
            raise BadLine(f"{name} must be an object")
        return None if value is None else type(self)(cast("dict[str, Any]", value))

    def with_defaults(self, usual: Mapping[str, Any]) -> Reading:
        return type(self)({**usual, **self._line})

    def objects(self, name: str) -> list[Reading]:
        values = self._list(name)
        if not all(isinstance(each, dict) for each in values):
            raise BadLine(f"{name} must be a list of objects")
        return [Reading(cast("dict[str, Any]", each)) for each in values]

    def one_of(self, name: str, make: Callable[[str], Any], default: str | None = None) -> Any:
        value = self._line.get(name, default)
        try:
            return make(value)
        except (ValueError, TypeError):
            raise BadLine(f"{name} has a value that is not known here") from None


class SureReading(Reading):
    """A line that was read before and is right: the same values, without looking at them again."""

    def text(self, name: str, *, length_max: int = LIMITS.id_length_max) -> str:  # noqa: ARG002
        return self._line[name]

    def text_or_none(self, name: str, *, length_max: int = LIMITS.id_length_max) -> str | None:  # noqa: ARG002
        return self._line.get(name)

    def scope_part(self, name: str) -> str | None:
        return self._line.get(name)

    def number(self, name: str, *, default: int = 0, least: int = 0, most: int = 2**62) -> int:  # noqa: ARG002
        return self._line.get(name, default)

    def truth(self, name: str, *, default: bool = False) -> bool:
        return self._line.get(name, default)

    def texts(self, name: str, *, length_max: int = LIMITS.tag_length_max) -> tuple[str, ...]:  # noqa: ARG002
        return tuple(self._line.get(name) or ())

    def object_or_none(self, name: str) -> dict[str, Any] | None:
        return self._line.get(name)


@lru_cache(maxsize=1_024)
def moment_said(value: str) -> datetime:
    """The time in UTC that an ISO-8601 text says; the times of one record are mostly one time. Raises ValueError, TypeError or
    OverflowError where it says none."""
    found = datetime.fromisoformat(value)
    if found.tzinfo is UTC:
        return found
    return (found.replace(tzinfo=UTC) if found.tzinfo is None else found).astimezone(UTC)


def _unstorable(value: dict[str, Any]) -> str | None:
    """Why free-form JSON could not be read back equal; None when it can."""
    level: list[object] = [value]
    for _ in range(LIMITS.json_depth_max + 1):
        inside: list[object] = []
        for each in level:
            if isinstance(each, dict):
                inside.extend(cast("dict[str, object]", each))
                inside.extend(cast("dict[str, object]", each).values())
            elif isinstance(each, list):
                inside.extend(cast("list[object]", each))
            elif (wrong := _wrong_with(each)) is not None:
                return wrong
        if not inside:
            return None
        level = inside
    return f"is nested deeper than {LIMITS.json_depth_max} levels"


def _wrong_with(value: object) -> str | None:
    if isinstance(value, str):
        if "\0" in value:
            return "holds the NUL character"
        return "holds half a character (a lone surrogate)" if _is_half(value) else None
    if isinstance(value, float):
        return None if math.isfinite(value) else "holds a number beyond the range of a double"
    if isinstance(value, int) and not _INTEGER_MIN <= value <= _INTEGER_MAX:
        return "holds an integer beyond 64 bits"
    return None


def _is_half(value: str) -> bool:
    if value.isascii():
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return True
    return False
