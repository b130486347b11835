"""Bringing stored data to the form that this version writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Migrator(Protocol):
    """The ordered steps of one engine. Each is applied wholly or not at all, once, and in order."""

    def describe(self) -> str:
        """Where the data lives: a path or an address without credentials."""
        ...

    async def pending(self) -> Sequence[str]:
        """Names of the steps that are still to be done, in order; changes nothing.

        Raises ConfigurationError when the data is not ours, StoreTooNew when a newer version wrote it.
        """
        ...

    async def run(self) -> None:
        """Do them. Safe to repeat, to interrupt, and beside live traffic."""
        ...
