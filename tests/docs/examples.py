"""Code blocks of a page that are marked to be run: ``<!-- run: bash -->`` or ``<!-- run: python -->`` above the block."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MARKED = re.compile(r"<!-- run: (?P<kind>\w+) -->\n```\w*\n(?P<code>.*?)\n```", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    page: str
    kind: str
    code: str


def examples_of(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [Example(page=page.name, kind=each["kind"], code=each["code"]) for each in _MARKED.finditer(text)]
