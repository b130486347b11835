"""Verifying a token against a hash that another server made: slow by intent, so it is never done on the event loop."""

from __future__ import annotations

from typing import Protocol


class ImportedHashes(Protocol):
    def prepare_thread(self) -> None:
        """Called once on the thread on which ``matches`` will be called: it should stand back behind everything else."""
        ...

    def matches(self, token: str, imported_hash: str, /) -> bool:
        """Takes a quarter of a second of one processor. False for a hash that is none."""
        ...
