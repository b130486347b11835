"""The kinds of values that requests hold, each with its limit and its refusal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticCustomError

from agent_memory_server.domain.limits import LIMITS

_INTEGER_MIN = -(2**63)
_INTEGER_MAX = 2**64 - 1


class Body(BaseModel):
    """A request's object: unknown fields are ignored, because clients echo what they were answered."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def not_blank(value: str) -> str:
    """Scopes are named or absent; a blank one is a mistake that would otherwise look like "everybody's"."""
    if not value.strip():
        raise PydanticCustomError("blank", "must not be blank; leave it out for none")
    return value


def utc(value: datetime) -> datetime:
    """The time in UTC; a naive one is taken as UTC."""
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("datetime_range", "lies outside the years 1 to 9999 in UTC") from None


def without_commas(values: list[str], info: ValidationInfo) -> list[str]:
    """Published clients refuse answers with a comma in a tag, so none is stored."""
    for index, value in enumerate(values):
        if "," in value:
            raise ValueError(
                f"{info.field_name}[{index}] contains a comma: '{value}'. Commas are not allowed because they are used as "
                "delimiters in storage."
            )
    return values


def plain_json(value: dict[str, Any]) -> dict[str, Any]:
    """Free-form JSON that can be read back equal: bounded in depth and size, numbers within 64 bits."""
    level: Sequence[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > LIMITS.json_depth_max:
            raise PydanticCustomError(
                "json_depth", "is nested deeper than {depth} levels", {"depth": LIMITS.json_depth_max}
            )
        level = [child for each in level for child in _containers(each)]
    size = len(orjson.dumps(value))
    if size > LIMITS.json_bytes_max:
        raise PydanticCustomError("json_size", "is larger than {size} bytes as JSON", {"size": LIMITS.json_bytes_max})
    return value


def _containers(value: Any) -> list[Any]:
    """The objects and arrays directly inside; numbers are checked on the way."""
    found: list[Any] = []
    for each in value.values() if isinstance(value, dict) else value:  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if isinstance(each, dict | list):
            found.append(each)
        elif isinstance(each, float):
            if not math.isfinite(each):
                raise PydanticCustomError("finite_number", "holds a number beyond the range of a double")
        elif isinstance(each, int) and not _INTEGER_MIN <= each <= _INTEGER_MAX:
            raise PydanticCustomError("integer_range", "holds an integer beyond 64 bits")
    return found


Name = Annotated[str, Field(max_length=LIMITS.id_length_max)]
Id = Annotated[str, Field(min_length=1, max_length=LIMITS.id_length_max)]
ScopeName = Annotated[str, Field(min_length=1, max_length=LIMITS.id_length_max), AfterValidator(not_blank)]
Text = Annotated[str, Field(max_length=LIMITS.text_length_max)]
Time = Annotated[datetime, AfterValidator(utc)]
Tag = Annotated[str, Field(max_length=LIMITS.tag_length_max)]
Tags = Annotated[list[Tag], Field(max_length=LIMITS.tags_max), AfterValidator(without_commas)]
JsonObject = Annotated[dict[str, Any], AfterValidator(plain_json)]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
TimeToLive = Annotated[int, Field(ge=1, le=LIMITS.ttl_seconds_max)]
