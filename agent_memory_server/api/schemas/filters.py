"""Filters on the wire: all operators of one field are ANDed; an unknown operator is refused, never ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from agent_memory_server.api.schemas.memories import MemoryTypeName
from agent_memory_server.api.schemas.values import Name, ScopeName, Time
from agent_memory_server.domain.filters import TextFilter, TimeFilter
from agent_memory_server.domain.limits import LIMITS

_MANY = LIMITS.filter_values_max
_LISTS = ("any", "in_", "all", "none", "not_in")


class _Filter(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _TextOperators(_Filter):
    """``in_`` is ``any``, ``not_eq`` is ``ne``, ``not_in`` and ``none`` are "none of the list"."""

    @model_validator(mode="after")
    def _make_sense(self) -> _TextOperators:
        for name in _LISTS:
            values = getattr(self, name)
            if values is not None and not values:
                raise ValueError(f"{name} cannot be an empty list")
            if values is not None and len(values) > _MANY:
                raise ValueError(f"{name} cannot have more than {_MANY} values")
        if getattr(self, "any") is not None and getattr(self, "in_") is not None:  # noqa: B009 - declared by subclasses
            raise ValueError("any and in_ are the same operator: give one of them")
        if getattr(self, "startswith", None) == "":
            raise ValueError("startswith cannot be empty")
        return self

    def to_filter(self) -> TextFilter | None:
        """The domain's filter, or None when no operator has a value."""
        given = {name: getattr(self, name, None) for name in (*_LISTS, "eq", "ne", "not_eq", "startswith")}
        excluded = [*(given["none"] or ()), *(given["not_in"] or ())]
        if given["not_eq"] is not None:
            excluded.append(given["not_eq"])
        any_of = given["any"] if given["any"] is not None else given["in_"]
        text_filter = TextFilter(
            eq=given["eq"],
            ne=given["ne"],
            any=None if any_of is None else tuple(any_of),
            all=None if given["all"] is None else tuple(given["all"]),
            none=tuple(excluded) or None,
            startswith=given["startswith"],
        )
        return None if text_filter == TextFilter() else text_filter


class TagFilter(_TextOperators):
    """Over tags and names."""

    field: Name | None = None
    eq: Name | None = None
    ne: Name | None = None
    not_eq: Name | None = None
    any: list[Name] | None = None
    in_: list[Name] | None = None
    all: list[Name] | None = None
    none: list[Name] | None = None
    not_in: list[Name] | None = None
    startswith: Name | None = None


class ScopeFilter(_TextOperators):
    """Over namespace, user or session. One without any value would mean "everybody's", so it is refused."""

    field: Name | None = None
    eq: ScopeName | None = None
    ne: ScopeName | None = None
    not_eq: ScopeName | None = None
    any: list[ScopeName] | None = None
    in_: list[ScopeName] | None = None
    all: list[ScopeName] | None = None
    none: list[ScopeName] | None = None
    not_in: list[ScopeName] | None = None
    startswith: ScopeName | None = None

    @model_validator(mode="after")
    def _names_something(self) -> ScopeFilter:
        if self.to_filter() is None:
            raise PydanticCustomError(
                "filter_without_operator", "must have an operator with a value; null for no filter"
            )
        return self


class MemoryTypeFilter(_TextOperators):
    """Over memory types."""

    field: Name | None = None
    enum_class: object = None
    eq: MemoryTypeName | None = None
    ne: MemoryTypeName | None = None
    not_eq: MemoryTypeName | None = None
    any: list[MemoryTypeName] | None = None
    in_: list[MemoryTypeName] | None = None
    all: list[MemoryTypeName] | None = None
    none: list[MemoryTypeName] | None = None
    not_in: list[MemoryTypeName] | None = None
    startswith: Name | None = None


class DateFilter(_Filter):
    """Over times, at microseconds; ``between`` has two ends, included as ``inclusive`` says."""

    field: Name | None = None
    eq: Time | None = None
    ne: Time | None = None
    gt: Time | None = None
    gte: Time | None = None
    lt: Time | None = None
    lte: Time | None = None
    between: Annotated[list[Time], Field(min_length=2, max_length=2)] | None = None
    inclusive: Literal["both", "neither", "left", "right"] | None = "both"

    @field_validator("between")
    @classmethod
    def _in_order(cls, ends: list[datetime] | None) -> list[datetime] | None:
        if ends is not None and ends[0] > ends[1]:
            raise ValueError("between must have its earlier time first")
        return ends

    def to_filter(self) -> TimeFilter | None:
        """The domain's filter, or None when no operator has a value."""
        time_filter = TimeFilter(
            eq=self.eq,
            ne=self.ne,
            gt=self.gt,
            gte=self.gte,
            lt=self.lt,
            lte=self.lte,
            between=None if self.between is None else (self.between[0], self.between[1]),
            inclusive=self.inclusive or "both",
        )
        return None if time_filter == TimeFilter(inclusive=time_filter.inclusive) else time_filter
