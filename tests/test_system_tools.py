"""The helper of tests that need a system tool keeps its word: silent absence is impossible."""

from __future__ import annotations

import pytest

from tests.system_tools import MISSING_PREFIX, require_system_tool

ABSENT = "a-tool-that-no-machine-has"


def test_a_missing_tool_skips_with_a_counted_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without REQUIRE_SYSTEM_TOOLS the test skips, with the reason that the terminal summary counts."""
    monkeypatch.delenv("REQUIRE_SYSTEM_TOOLS", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"{MISSING_PREFIX}{ABSENT}"):
        require_system_tool(ABSENT)


def test_a_missing_tool_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    """With REQUIRE_SYSTEM_TOOLS=1 the same absence fails the test."""
    monkeypatch.setenv("REQUIRE_SYSTEM_TOOLS", "1")
    with pytest.raises(pytest.fail.Exception, match=ABSENT):
        require_system_tool(ABSENT)
