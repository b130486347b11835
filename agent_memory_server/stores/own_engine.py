"""A third party's engine: ``MEMORY_VECTOR_DB_FACTORY`` names a function that opens it.

The function gets what the built-in engines get and returns the same bundle of stores, so nothing else of the server knows. The
engine can prove itself by the contract suite that the built-in ones pass.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from datetime import datetime
from typing import Any

from agent_memory_server.errors import ConfigurationError, MemoryServerError
from agent_memory_server.ports.stores import Stores

BUILT_IN = "agent_memory_server.memory_vector_db_factory.create_redis_memory_vector_db"
"""The default of the setting in the reference server: it stands for the engines of this package."""

FORM = "async def open_engine(url, *, now) -> agent_memory_server.ports.stores.Stores"


def is_own(path: str) -> bool:
    """Whether this names anything but the built-in engines."""
    return path.strip() != BUILT_IN


async def open_own_engine(path: str, url: str | None, *, now: Callable[[], datetime]) -> Stores:
    """Call the function at the dotted ``path`` with ``url`` (STORAGE_URL, None when it is not set) and the clock.

    Raises ConfigurationError with what is wrong with the name or the function; what the function itself raises on purpose
    comes through.
    """
    factory = _found(path.strip())
    try:
        inspect.signature(factory).bind(url, now=now)
    except TypeError as error:
        raise ConfigurationError(
            f"MEMORY_VECTOR_DB_FACTORY {path!r} cannot be called as an engine's factory: {error}. The reference server called it "
            f"with its embeddings and took a MemoryVectorDatabase; here it opens a whole engine: {FORM}. See "
            "docs/howto/bring-your-own-engine.md."
        ) from error
    except ValueError:
        pass  # A callable without a signature: the call itself tells.
    try:
        opened: Any = factory(url, now=now)
        if inspect.isawaitable(opened):
            opened = await opened
    except MemoryServerError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"MEMORY_VECTOR_DB_FACTORY {path!r} failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(opened, Stores):
        raise ConfigurationError(
            f"Factory function {path} must return agent_memory_server.ports.stores.Stores, got {type(opened).__name__}; a "
            "MemoryVectorDatabase of the reference server holds no sessions, journal or pending work and cannot stand for one. "
            "See docs/howto/bring-your-own-engine.md."
        )
    return opened


def _found(path: str) -> Callable[..., Any]:
    module_name, _, name = path.replace(":", ".").rpartition(".")
    if not module_name or not name:
        raise ConfigurationError(
            f"MEMORY_VECTOR_DB_FACTORY {path!r} is no dotted path: write package.module.function, {FORM}."
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise ConfigurationError(
            f"MEMORY_VECTOR_DB_FACTORY {path!r}: {module_name} cannot be imported ({type(error).__name__}: {error})."
        ) from error
    found: Any = getattr(module, name, None)
    if not callable(found):
        raise ConfigurationError(f"MEMORY_VECTOR_DB_FACTORY {path!r}: {module_name} has no function {name!r}.")
    return found
