"""Markdown notes as statements: each paragraph and each list item is one, under the headings that it stands below.

Front matter is left out but for its ``date``; code blocks, tables and pictures are left out.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from agent_memory_server.errors import InvalidInput

Note = tuple[str, tuple[str, ...], str, datetime | None]
"""Text, headings from the file's name down, where it stands (file and headings), and the note's day."""

LENGTH_MAX = 4_000
_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?(.*)")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|\[\[([^\]|]+)(?:\|([^\]]+))?\]\]")
_DATE = re.compile(r"date:\s*[\"']?(\d{4}-\d{2}-\d{2})")
_EMPHASIS = re.compile(r"(\*\*|__|\*|`|~~)(?=\S)(.+?)(?<=\S)\1")


def notes_in(path: Path) -> Iterator[Note]:
    """The notes of a file, or of every ``.md`` file in a folder and below, in order. Raises InvalidInput."""
    if path.is_dir():
        files = sorted(each for each in path.rglob("*.md") if each.is_file())
        if not files:
            raise InvalidInput(f"{path} holds no Markdown files (*.md)")
        for each in files:
            yield from notes_of(_text_of(each), str(each.relative_to(path)))
        return
    yield from notes_of(_text_of(path), path.name)


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidInput(f"{path} cannot be read: {reason}") from error


def notes_of(text: str, name: str) -> Iterator[Note]:
    """The notes of one text; ``name``: of its file, as a heading for what stands below none, and as its day if it is one."""
    body, day = _without_front_matter(text.replace("\r\n", "\n").replace("\0", ""))
    day = day or _day(Path(name).stem.replace("_", "-"))
    headings: list[tuple[int, str]] = []
    for block in _blocks(body):
        heading = _HEADING.fullmatch(block)
        if heading is not None:
            level = len(heading[1])
            headings = [each for each in headings if each[0] < level]
            headings.append((level, _plain(heading[2])))
            continue
        said = _plain(block)
        if any(letter.isalnum() for letter in said):
            topics = tuple(title for _, title in headings) or (Path(name).stem,)
            for piece in textwrap.wrap(said, LENGTH_MAX) if len(said) > LENGTH_MAX else (said,):
                yield piece, topics, "/".join((name, *topics)), day


def _without_front_matter(text: str) -> tuple[str, datetime | None]:
    if not text.startswith("---\n"):
        return text, None
    head, separator, rest = text[4:].partition("\n---")
    if not separator:
        return text, None
    found = _DATE.search(head)
    return rest, None if found is None else _day(found[1])


def _day(said: str) -> datetime | None:
    """The day that a date says, which a daily note has as its name."""
    try:
        return datetime.strptime(said, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None


def _blocks(text: str) -> Iterator[str]:
    """Headings, list items and paragraphs, each as one line."""
    held: list[str] = []
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
            continue
        item = _ITEM.fullmatch(line)
        ends = fenced or not line.strip() or line.lstrip().startswith(("#", "|", "---", "![")) or item is not None
        if ends and held:
            yield " ".join(held)
            held = []
        if fenced or not line.strip() or line.lstrip().startswith(("|", "---", "![")):
            continue
        if line.startswith("#"):
            yield line.strip()
        elif item is not None:
            held = [item[1].strip()]
        else:
            held.append(line.strip().lstrip("> ").strip())
    if held:
        yield " ".join(held)


def _plain(text: str) -> str:
    linked = _LINK.sub(lambda match: match[3] or match[2] or match[1] or "", text)
    return _EMPHASIS.sub(r"\2", linked).strip()
