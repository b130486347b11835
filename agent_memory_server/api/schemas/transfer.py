"""Exports and imports on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from agent_memory_server.api.schemas.elsewhere import Checked
from agent_memory_server.api.schemas.values import Body, ScopeName
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.services.importing import Imported
from agent_memory_server.services.taking_in import TakenIn


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
    dry_run: bool = Field(default=False, description="Check the file and count; change nothing.")
    form: Literal["agent-memory", "mem0", "zep", "langgraph", "mcp-memory", "markdown", "chatgpt", "claude"] = Field(
        default="agent-memory", alias="from", description="Where the file is from."
    )
    user_id: ScopeName | None = Field(default=None, description="The user whose they become; for files from elsewhere.")
    namespace: ScopeName | None = Field(
        default=None, description="The namespace that they go to; for files from elsewhere."
    )
    name: str | None = Field(
        default=None, max_length=LIMITS.id_length_max, description="The file's name; for Markdown notes."
    )


class ImportResponse(Body):
    found: dict[str, int] = Field(description="Lines by kind.")
    written: int = Field(description="Records that were not there, or on a dry run would be written.")
    unchanged: int = Field(description="Records that are there already with the same content.")
    kept: int = Field(description="Something else is there under the same id: left as it is.")
    histories: int = Field(description="Memories whose past was taken over too, also of such that are gone.")
    left_out: int = Field(description="Items of a file from elsewhere that hold nothing to keep, or were never shown.")
    shortened: int = Field(description="Texts of a file from elsewhere that were longer than one may be.")
    dry_run: bool


def imported_wire(done: Imported) -> dict[str, Any]:
    return {
        "found": dict(done.found),
        "written": done.written,
        "unchanged": done.unchanged,
        "kept": done.kept,
        "histories": done.histories,
        "left_out": 0,
        "shortened": 0,
        "dry_run": done.dry_run,
    }


def taken_in_wire(checked: Checked, done: TakenIn) -> dict[str, Any]:
    return {
        "found": {
            "memory": len(checked.memories),
            "message": checked.messages,
            "session": len(checked.conversations),
        },
        "written": done.memories_written + done.messages_written,
        "unchanged": done.unchanged,
        "kept": done.kept,
        "histories": 0,
        "left_out": checked.left_out,
        "shortened": checked.shortened,
        "dry_run": done.dry_run,
    }
