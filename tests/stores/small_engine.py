"""An engine of somebody else, as small as one can be: the embedded stores in a place of its own, under its own name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.ports.stores import Check, Engine, Stores
from agent_memory_server.stores.sqlite import open_sqlite


class SmallEngine:
    """What is particular to it: its name and a check of its own."""

    def __init__(self, inner: Engine, place: str) -> None:
        self._inner = inner
        self._place = place

    async def checks(self) -> tuple[Check, ...]:
        return (*await self._inner.checks(), Check(name="small", ok=True, detail="small enough"))

    def describe(self) -> str:
        return f"a small engine at {self._place}"

    async def close(self) -> None:
        await self._inner.close()


async def open_engine(url: str | None, *, now: Callable[[], datetime]) -> Stores:
    """What MEMORY_VECTOR_DB_FACTORY names. Takes ``small://`` and a folder."""
    scheme, _, place = (url or "").partition("://")
    if scheme != "small":
        raise ConfigurationError("STORAGE_URL of the small engine is small:///folder.")
    inner = await open_sqlite(Path(place) / "small.db", now=now)
    return replace(inner, engine=SmallEngine(inner.engine, place))


def create_vector_database(embeddings: object) -> object:
    """A factory in the reference server's form."""
    return embeddings


async def open_something_else(url: str | None, *, now: Callable[[], datetime]) -> object:
    """A factory that returns no stores."""
    del url, now
    return {}


def open_and_fail(url: str | None, *, now: Callable[[], datetime]) -> Stores:
    """A factory with a fault."""
    raise LookupError(f"no {url} at {now():%Y}")
