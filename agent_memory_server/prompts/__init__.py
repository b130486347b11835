"""The prompts, one Markdown file each; ``load(name)`` reads one. ``VERSION`` goes into derived ids and metadata."""

from __future__ import annotations

from functools import cache
from importlib import resources

VERSION = "1"
"""Raise when a prompt changes what is extracted: derived records of another version have other ids."""


@cache
def load(name: str) -> str:
    """The text of ``<name>.md``. Raises FileNotFoundError for a name that is not shipped."""
    return resources.files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8").strip()
