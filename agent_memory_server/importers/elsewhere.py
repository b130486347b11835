"""What people have in other memory systems and chat applications, read from the files that those write.

Each format is read as its makers document it, leniently where versions differ in what a field is called. A file becomes facts
(long-term memories) or conversations. Ids depend on the file alone, so importing it again changes nothing.
Raises InvalidInput that says what was expected, and what the file looks like.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.records import derived_id
from agent_memory_server.domain.tags import clean_tags
from agent_memory_server.errors import InvalidInput
from agent_memory_server.importers.chats import read_chatgpt, read_claude
from agent_memory_server.importers.contents import Elsewhere, FileFact
from agent_memory_server.importers.fields import listed, objects
from agent_memory_server.importers.markdown import notes_in, notes_of
from agent_memory_server.importers.memory_systems import read_langgraph, read_mcp_memory, read_mem0, read_zep

MARKDOWN = "markdown"
_ARCHIVE_BYTES_MAX = 4 * 1024**3
"""What an operator's archive may hold; what comes in a request holds far less (``LIMITS.import_unpacked_bytes_max``)."""
_LOOKED_AT = 20
"""Items of a file by which it is told what it looks like."""


@dataclass(frozen=True, slots=True)
class Format:
    read: Callable[[Any], Elsewhere]
    expects: str
    marks: frozenset[str]
    """An item with one of these fields is surely of this format."""


FORMATS: Mapping[str, Format] = {
    "mem0": Format(read_mem0, "objects with a text in memory", frozenset({"memory", "agent_id"})),
    "zep": Format(
        read_zep,
        "episodes with content, or edges with fact",
        frozenset({"fact", "episode_body", "group_id", "edges", "episodes"}),
    ),
    "langgraph": Format(read_langgraph, "items with namespace, key and value", frozenset({"value"})),
    "mcp-memory": Format(
        read_mcp_memory,
        "entities with observations, and relations",
        frozenset({"observations", "relationType", "entities"}),
    ),
    "chatgpt": Format(
        read_chatgpt, "conversations.json of a data export, whose conversations have a mapping", frozenset({"mapping"})
    ),
    "claude": Format(
        read_claude,
        "conversations.json of a data export, whose conversations have chat_messages",
        frozenset({"chat_messages"}),
    ),
}
"""Of JSON files, by the name that ``agent-memory import --from`` takes. Markdown is text."""
NAMES = (*FORMATS, MARKDOWN)


def read_elsewhere(path: Path, form: str) -> Elsewhere:
    """The file in one of the formats; for Markdown also a folder, for chats also the ZIP archive that they come in."""
    if form == MARKDOWN:
        return Elsewhere(facts=[_note(each) for each in notes_in(path)])
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    return read_content(raw, form, name=path.name, unpacked_bytes_max=_ARCHIVE_BYTES_MAX)


def read_content(
    raw: bytes, form: str, *, name: str, unpacked_bytes_max: int = LIMITS.import_unpacked_bytes_max
) -> Elsewhere:
    """What a file holds that was read, or came in a request; ``name``: what to call it."""
    if form == MARKDOWN:
        return Elsewhere(facts=[_note(each) for each in notes_of(_text(raw, name), name)])
    packed = raw.startswith(b"PK\3\4")
    content = _zipped(raw, form, name, unpacked_bytes_max) if packed else _content(raw, form, name)
    found = FORMATS[form].read(content)
    if not found.facts and not found.sessions:
        raise InvalidInput(_nothing(name, form, content, found.left_out), field=("body",), kind="import_format")
    return found


def _nothing(name: str, form: str, content: Any, left_out: int) -> str:
    looks_like = [other for other in _looks_like(content) if other != form]
    if form in _looks_like(content) and not looks_like:
        return f"{name} holds no text to import: {left_out} items are empty, or were never shown"
    said = f"{name} holds nothing that {form} files hold ({FORMATS[form].expects})"
    if looks_like == [OUR_OWN]:
        return f"{said}; it is an export of this server: leave --from (or from=) out"
    if looks_like == [CONVERSATION]:
        return f"{said}; it looks like a list of messages: use agent-memory import-conversation"
    if looks_like:
        return f"{said}; it looks like {' or '.join(looks_like)}: name that as --from (or from=)"
    tried = "; ".join(f"{other}: {each.expects}" for other, each in FORMATS.items() if other != form)
    return f"{said}, nor what others hold ({tried})"


OUR_OWN = "an export"
CONVERSATION = "a conversation"


def _looks_like(content: Any) -> Sequence[str]:
    """Which formats' fields the first items have, within lists that an object holds too."""
    items = listed(content, "results", "memories", "items", "conversations")[:_LOOKED_AT]
    fields = {field for each in objects((content, *items)) for field in each}
    if {"format", "version", "exported_at"} <= fields:
        return [OUR_OWN]
    found = [name for name, each in FORMATS.items() if each.marks & fields]
    return found or ([CONVERSATION] if {"role", "content"} <= fields else [])


def _note(note: tuple[str, tuple[str, ...], str, datetime | None]) -> FileFact:
    text, headings, place, day = note
    return FileFact(id=derived_id("markdown", place, text), text=text, topics=clean_tags(headings), created_at=day)


# -- reading JSON -----------------------------------------------------------------------------------------------------


def _content(raw: bytes, form: str, name: str) -> Any:
    """One JSON value, or a list of those that stand on lines of their own."""
    text = _text(raw, name)
    if not text.strip():
        raise InvalidInput(f"{name} is empty", field=("body",), kind="import_empty")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    lines: list[Any] = []
    # Not splitlines: a text in JSON may hold separators that Python takes for ends of lines.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                lines.append(json.loads(line))
            except (ValueError, RecursionError):
                raise InvalidInput(
                    f"{name}, line {number}: this is no JSON, as {form} files are ({FORMATS[form].expects})",
                    field=("body", number),
                    kind="import_line",
                ) from None
    return lines


def _text(raw: bytes, name: str) -> str:
    if raw.startswith(b"\x1f\x8b"):
        raise InvalidInput(f"{name} is compressed: unpack it first (gunzip)", field=("body",), kind="import_packed")
    try:
        return raw.decode("utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name} cannot be read: it is not UTF-8", field=("body",)) from error


def _zipped(raw: bytes, form: str, name: str, bytes_max: int) -> list[Any]:
    """The conversations in the archive that a chat application's data export comes as."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            files = sorted(
                (each for each in archive.infolist() if Path(each.filename).match("conversations*.json")),
                key=lambda each: each.filename,
            )
            if sum(each.file_size for each in files) > bytes_max:
                raise InvalidInput(f"{name} holds more than {bytes_max} bytes unpacked", field=("body",))
            if not files:
                raise InvalidInput(
                    f"{name} is a ZIP archive without a conversations.json: unpack it, and name the file",
                    field=("body",),
                )
            return [item for each in files for item in listed(_content(archive.read(each), form, each.filename))]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InvalidInput(f"{name} is a ZIP archive that cannot be read: unpack it first", field=("body",)) from error
