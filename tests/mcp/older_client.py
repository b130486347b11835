"""A virtual environment with the MCP library's previous generation: made once on this machine, outside the working copy."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import platformdirs
import pytest

from tests.system_tools import MISSING_PREFIX

VERSION = "1.30.0"
INSTALLED_WITHIN_S = 110
NAME = "mcp-client-of-the-previous-generation"


def python_of_older_client() -> str:
    """Its interpreter. Skips the calling test where it cannot be installed, or fails it when REQUIRE_SYSTEM_TOOLS=1."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    place = platformdirs.user_cache_path("agent-memory-server-tests") / f"mcp-{VERSION}-python{version}"
    python = place / "bin" / "python"
    if not (place / "complete").exists():
        try:
            _install(place, python)
        except (OSError, subprocess.SubprocessError) as error:
            reason = f"{MISSING_PREFIX}{NAME}: {error}"
            if os.environ.get("REQUIRE_SYSTEM_TOOLS") == "1":
                pytest.fail(reason)
            pytest.skip(reason)
    return str(python)


def _install(place: Path, python: Path) -> None:
    """In a place of its own first: two test runs at a time must not see each other's half."""
    place.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=place.parent, prefix=f"{place.name}."))
    _run(sys.executable, "-m", "venv", str(building))
    _run(str(building / "bin" / "python"), "-m", "pip", "install", "--quiet", f"mcp=={VERSION}")
    (building / "complete").touch()
    if not place.exists():
        building.rename(place)
    assert python.exists()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=INSTALLED_WITHIN_S)
