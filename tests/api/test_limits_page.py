"""The page of limits says what the code does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from agent_memory_server.api.errors import ERRORS_SHOWN_MAX, INPUT_LENGTH_MAX
from agent_memory_server.domain.limits import LIMITS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "limits.md").read_text(encoding="utf-8")


def test_every_limit_is_on_the_page_with_its_number() -> None:
    """A new limit, or another number, needs its line."""
    rows = {line for line in PAGE.splitlines() if line.startswith("|")}
    for field in dataclasses.fields(LIMITS):
        row = next((line for line in rows if f"`{field.name}`" in line), "")
        assert str(getattr(LIMITS, field.name)) in row, f"{field.name} is not on the page as it is in the code"


def test_the_page_says_how_much_an_error_shows() -> None:
    """Both numbers."""
    assert f"At most {ERRORS_SHOWN_MAX} problems" in PAGE
    assert f"cut after {INPUT_LENGTH_MAX} characters" in PAGE
