"""Tests that need a program which a fresh machine may lack: they skip loudly, or fail where absence is not allowed."""

from __future__ import annotations

import os
import shutil

import pytest

MISSING_PREFIX = "SYSTEM TOOL MISSING: "
"""Starts the reason of every such skip; the terminal summary counts them by it."""


def require_system_tool(name: str) -> str:
    """The path of the program. Skips the calling test when it is absent, or fails it when REQUIRE_SYSTEM_TOOLS=1."""
    path = shutil.which(name)
    if path is not None:
        return path
    reason = f"{MISSING_PREFIX}{name}"
    if os.environ.get("REQUIRE_SYSTEM_TOOLS") == "1":
        pytest.fail(f"{reason} (REQUIRE_SYSTEM_TOOLS=1)")
    pytest.skip(reason)
