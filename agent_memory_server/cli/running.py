"""Running a command against the configured store, beside whatever else uses it.

Settings that cannot be read raise ConfigurationError with a sentence a person can act on.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from agent_memory_server.domain.identity import Principal
from agent_memory_server.errors import ConfigurationError, InvalidInput

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from agent_memory_server.app import MemoryApp
    from agent_memory_server.config import Settings

Schema = TypeVar("Schema", bound="BaseModel")

OPERATOR = Principal(subject="operator")
"""Who acts on the command line: whoever can open the store may do everything in it."""


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment and .env, with the command's options on top (those that are not None)."""
    from pydantic import ValidationError

    from agent_memory_server.config import Settings

    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        raise ConfigurationError(f"a setting cannot be used: {_problems(error, str.upper)}") from error


@contextlib.asynccontextmanager
async def opened_app() -> AsyncGenerator[MemoryApp]:
    """The services over the configured store, without background work of their own; warnings are logged to stderr."""
    from agent_memory_server.app import open_app
    from agent_memory_server.logs import configure_logging

    settings = load_settings()
    configure_logging("WARNING" if settings.log_level == "INFO" else settings.log_level)
    async with open_app(settings) as app:
        yield app


def parsed(schema: type[Schema], **values: object) -> Schema:
    """The values as the REST API would take them. Raises InvalidInput that names what cannot be accepted."""
    from pydantic import ValidationError

    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise InvalidInput(_problems(error)) from error


def _problems(error: ValidationError, naming: Callable[[str], str] = str) -> str:
    """Each value that cannot be used with the reason; never the value itself, which may be a secret."""
    return "; ".join(
        f"{naming('.'.join(str(part) for part in each['loc']))}: {each['msg']}"
        for each in error.errors(include_input=False, include_url=False)
    )
