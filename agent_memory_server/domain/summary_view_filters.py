"""The filters of a summary view: JSON as a client gave it, read into the filters that every store understands.

A value is text (equals), a list of texts (any of them) or an object of operators. What cannot be read is refused when the
view is made, so that a run never meets it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, TypeGuard

from agent_memory_server.domain.filters import TextFilter, TimeFilter
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.errors import BadRequest, InvalidInput

TEXT_FIELDS = ("user_id", "namespace", "session_id", "memory_type", "extraction_strategy", "topics")
TIME_FIELDS = ("event_date",)

_SINGLE = {"eq": "eq", "ne": "ne", "not_eq": "ne", "startswith": "startswith"}
_SEVERAL = {"any": "any", "in_": "any", "all": "all", "none": "none", "not_in": "none"}
_TIMES = ("eq", "ne", "gt", "gte", "lt", "lte")
_INCLUSIVE = ("both", "neither", "left", "right")

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewFilters:
    """The parts of a ``MemoryFilter`` that a view narrows by."""

    user_id: TextFilter | None = None
    namespace: TextFilter | None = None
    session_id: TextFilter | None = None
    memory_type: TextFilter | None = None
    extraction_strategy: TextFilter | None = None
    topics: TextFilter | None = None
    event_date: TimeFilter | None = None

    def as_mapping(self) -> dict[str, TextFilter | TimeFilter | None]:
        return {spec.name: getattr(self, spec.name) for spec in fields(self)}


def read_filters(given: Mapping[str, Any]) -> ViewFilters:
    """The meaning of a view's filters; a null value is no filter.

    Raises BadRequest for a field that views cannot filter by, InvalidInput (with the path of the value) for the rest.
    """
    unknown = sorted(name for name in given if name not in TEXT_FIELDS and name not in TIME_FIELDS)
    if unknown:
        raise BadRequest(f"Unsupported filter fields: {', '.join(unknown)}")
    texts = {
        name: _text_filter(given[name], ("body", "filters", name))
        for name in TEXT_FIELDS
        if given.get(name) is not None
    }
    times = {
        name: _time_filter(given[name], ("body", "filters", name))
        for name in TIME_FIELDS
        if given.get(name) is not None
    }
    _refuse_unknown_types(texts.get("memory_type"))
    return ViewFilters(event_date=times.get("event_date"), **texts)


def _text_filter(value: Any, path: _Path) -> TextFilter:
    if _is_list(value):
        return TextFilter(any=_texts(value, path))
    if not _is_object(value):
        return TextFilter(eq=_text(value, path))
    operators: dict[str, Any] = {}
    for name, operand in value.items():
        if operand is None:
            continue
        if name in _SINGLE:
            _set_once(operators, _SINGLE[name], _text(operand, (*path, name)), path)
        elif name in _SEVERAL:
            if not _is_list(operand):
                raise InvalidInput(f"{name} takes a list of texts", field=(*path, name))
            _set_once(operators, _SEVERAL[name], _texts(operand, (*path, name)), path)
        else:
            known = ", ".join([*_SINGLE, *_SEVERAL])
            raise InvalidInput(f"unknown operator {name!r}; there are {known}", field=path)
    if not operators:
        raise InvalidInput("a filter needs at least one operator", field=path)
    return TextFilter(**operators)


def _time_filter(value: Any, path: _Path) -> TimeFilter:
    if not _is_object(value):
        return TimeFilter(eq=_time(value, path))
    operators: dict[str, Any] = {}
    for name, operand in value.items():
        if operand is None:
            continue
        if name in _TIMES:
            operators[name] = _time(operand, (*path, name))
        elif name == "between":
            if not _is_list(operand) or len(operand) != 2:
                raise InvalidInput("between takes a list of two times", field=(*path, name))
            operators[name] = (_time(operand[0], (*path, name, 0)), _time(operand[1], (*path, name, 1)))
        elif name == "inclusive":
            if operand not in _INCLUSIVE:
                raise InvalidInput(f"inclusive is one of {', '.join(_INCLUSIVE)}", field=(*path, name))
            operators[name] = operand
        else:
            known = ", ".join([*_TIMES, "between", "inclusive"])
            raise InvalidInput(f"unknown operator {name!r}; there are {known}", field=path)
    if not operators.keys() - {"inclusive"}:
        raise InvalidInput("a filter needs at least one operator", field=path)
    return TimeFilter(**operators)


def _refuse_unknown_types(held: TextFilter | None) -> None:
    if held is None:
        return
    named = {*(held.any or ()), *(held.all or ()), *(held.none or ()), *(each for each in (held.eq, held.ne) if each)}
    unknown = sorted(named - set(MemoryType))
    if unknown:
        raise InvalidInput(
            f"unknown memory type {unknown[0]!r}; there are {', '.join(MemoryType)}",
            field=("body", "filters", "memory_type"),
        )


def _set_once(operators: dict[str, Any], name: str, value: Any, path: _Path) -> None:
    if name in operators:
        raise InvalidInput(f"{name} is given twice, under two of its names", field=path)
    operators[name] = value


def _texts(values: list[Any], path: _Path) -> tuple[str, ...]:
    if not values:
        raise InvalidInput("an empty list matches nothing; leave the filter out", field=path)
    if len(values) > LIMITS.filter_values_max:
        raise InvalidInput(f"at most {LIMITS.filter_values_max} values in one filter", field=path)
    return tuple(_text(value, (*path, index)) for index, value in enumerate(values))


def _text(value: Any, path: _Path) -> str:
    """Numbers count as their text, as the reference server took them."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidInput("a text, a list of texts or an object of operators is needed", field=path)
    if not value.strip():
        raise InvalidInput("a filter value must not be blank", field=path)
    if len(value) > LIMITS.id_length_max:
        raise InvalidInput(f"a filter value has at most {LIMITS.id_length_max} characters", field=path)
    return value


def _time(value: Any, path: _Path) -> datetime:
    """ISO 8601 (naive means UTC) or seconds since the epoch."""
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value.strip())
            return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise InvalidInput("a time in ISO 8601 is needed, such as 2024-05-01T12:00:00Z", field=path)


def _is_list(value: Any) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)
