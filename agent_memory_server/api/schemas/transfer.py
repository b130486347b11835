"""Exports and imports on the wire."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from agent_memory_server.api.schemas.values import Body, ScopeName
from agent_memory_server.services.importing import Imported


class ExportQuery(Body):
    namespace: ScopeName | None = Field(default=None, description="Only what the user has in this namespace.")
    vectors: bool = Field(default=False, description="Vectors too: larger by far.")
    history: bool = Field(default=True, description="Every revision of every memory too.")


class EverythingQuery(ExportQuery):
    user_id: ScopeName | None = Field(default=None, description="Only of this user.")


class ExportedLine(Body):
    """One line of an export; ``kind`` says of what. docs/reference/export-format.md describes them."""

    kind: str


class ImportQuery(Body):
    dry_run: bool = Field(default=False, description="Check the export and count; change nothing.")


class ImportResponse(Body):
    found: dict[str, int] = Field(description="Lines by kind.")
    written: int = Field(description="Records that were not there, or on a dry run would be written.")
    unchanged: int = Field(description="Records that are there already with the same content.")
    kept: int = Field(description="Something else is there under the same id: left as it is.")
    histories: int = Field(description="Memories whose past was taken over too, also of such that are gone.")
    dry_run: bool


def imported_wire(done: Imported) -> dict[str, Any]:
    return {
        "found": dict(done.found),
        "written": done.written,
        "unchanged": done.unchanged,
        "kept": done.kept,
        "histories": done.histories,
        "dry_run": done.dry_run,
    }
