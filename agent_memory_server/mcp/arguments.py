"""Arguments of tools: as the REST API takes them, with the allowances that models need and none that could widen a scope.

Allowed beyond REST: a plain text or list where a filter belongs, and JSON inside a text where an object or a list belongs.
An argument that does not exist is refused, never ignored: a misspelt ``user_id`` would otherwise ask for everybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, cast

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from agent_memory_server.api.bodies import refuse_nul
from agent_memory_server.api.errors import BadBody
from agent_memory_server.api.schemas.filters import DateFilter, MemoryTypeFilter, ScopeFilter, TagFilter
from agent_memory_server.api.schemas.memories import Flag, MemoryTypeName, WorkingMemoryRecord
from agent_memory_server.api.schemas.values import Name, ScopeName
from agent_memory_server.errors import InvalidInput

Schema = dict[str, Any]


class Arguments(BaseModel):
    """What a tool takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LenientMemoryRecord(WorkingMemoryRecord):
    """A memory to store. Only ``text`` is needed; without an ``id`` it gets one."""

    memory_type: MemoryTypeName | None = "semantic"
    discrete_memory_extracted: Flag | None = "t"


def _as_filter(value: Any) -> Any:
    """``"alice"`` is ``{"eq": "alice"}``, a list is ``{"any": [...]}``."""
    if isinstance(value, str):
        return {"eq": value}
    if isinstance(value, list):
        return {"any": cast("list[Any]", value)}
    return value


Scoped = Annotated[
    ScopeFilter | None, BeforeValidator(_as_filter, json_schema_input_type=ScopeFilter | ScopeName | None)
]
Tagged = Annotated[
    TagFilter | None, BeforeValidator(_as_filter, json_schema_input_type=TagFilter | list[Name] | Name | None)
]
Typed = Annotated[
    MemoryTypeFilter | None,
    BeforeValidator(_as_filter, json_schema_input_type=MemoryTypeFilter | MemoryTypeName | None),
]


class SearchFilters(Arguments):
    """The filters that searching tools share; all that are given hold."""

    session_id: Scoped = None
    namespace: Scoped = Field(default=None, description="Unset: as configured for this connection.")
    user_id: Scoped = Field(default=None, description="Whose memories. Unset: as configured for this connection.")
    topics: Tagged = None
    entities: Tagged = None
    memory_type: Typed = None
    created_at: DateFilter | None = None
    last_accessed: DateFilter | None = None
    event_date: DateFilter | None = Field(default=None, description="When it happened, not when it was stored.")


def validated(model: type[BaseModel], given: Mapping[str, Any]) -> Any:
    """The arguments as the model. Raises BadBody or InvalidInput, which name what cannot be accepted."""
    _refuse_unknown(model, given)
    structured = _structured(model)
    values = {name: _unpacked(value) if name in structured else value for name, value in given.items()}
    _refuse_what_cannot_be_stored(values)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BadBody.of(error) from None


def input_schema(model: type[BaseModel]) -> Schema:
    """What a caller may send, without titles that only repeat names and defaults that say nothing."""
    return _concise(model.model_json_schema(mode="validation"))


def output_schema(model: type[BaseModel]) -> Schema:
    """What is answered."""
    return _concise(model.model_json_schema(mode="serialization", by_alias=True))


def _refuse_unknown(model: type[BaseModel], given: Mapping[str, Any]) -> None:
    known = [field.alias or name for name, field in model.model_fields.items()]
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known) or 'none'}"
            raise InvalidInput(f"there is no such argument{meant}", field=(name[:100],))


def _refuse_what_cannot_be_stored(given: Mapping[str, Any]) -> None:
    """NUL, half characters and numbers beyond 64 bits cannot be read back as they were written."""
    try:
        written = orjson.dumps(given)
    except TypeError as error:
        raise InvalidInput(f"the arguments hold what JSON in UTF-8 cannot: {error}", field=()) from None
    if b"\\u0000" in written:
        try:
            refuse_nul(given)
        except BadBody as error:
            raise BadBody([{**each, "loc": each["loc"][1:]} for each in error.problems]) from None


@cache
def _structured(model: type[BaseModel]) -> frozenset[str]:
    """Arguments that may be an object or a list."""
    properties = input_schema(model).get("properties", {})
    return frozenset(name for name, schema in properties.items() if _takes_structure(schema))


def _takes_structure(schema: Schema) -> bool:
    alternatives = schema.get("anyOf", [schema])
    return any("$ref" in each or each.get("type") in ("object", "array") for each in alternatives)


def _unpacked(value: object) -> object:
    """What stands in a text that is JSON: some clients send objects and lists so."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return from_json(value, allow_inf_nan=False)
    except ValueError:
        return value


def _concise(schema: Any, *, names: bool = False) -> Any:
    """``names``: the keys of this object are names of properties, of which one may be called "title"."""
    if isinstance(schema, list):
        return [_concise(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = cast("Schema", schema)
    return {
        key: _concise(value, names=key in ("properties", "$defs") and not names)
        for key, value in found.items()
        if names or not (key == "title" or (key == "default" and value is None))
    }
