"""What may be imported where, and that importing does nothing."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import agent_memory_server

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "agent_memory_server"
LINES_MAX = 450
"""About 400 is what one sitting can read."""
EXTRAS = ("boto3", "botocore", "litellm", "onnxruntime")
"""Packages that an optional adapter needs and that development does without."""
MODULES = sorted(
    each.name for each in pkgutil.walk_packages(agent_memory_server.__path__, prefix="agent_memory_server.")
)


def test_the_import_contracts_hold() -> None:
    """Imports point down only, settings stop at app.py, vendor names stop at adapters."""
    outcome = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 0, outcome.stdout


def test_importing_every_module_creates_nothing(tmp_path: Path) -> None:
    """No file, no thread, no child, no socket, no settings read: a bad setting in the environment goes unnoticed."""
    code = (
        "import importlib, sys, threading, os\n"
        "before = threading.active_count()\n"
        "opened = set(os.listdir('/dev/fd')) if os.path.isdir('/dev/fd') else set()\n"
        f"extras = {EXTRAS!r}\n"
        "for name in sys.argv[1:]:\n"
        "    try: importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        if error.name not in extras: raise\n"
        "assert threading.active_count() == before, threading.enumerate()\n"
        "now = set(os.listdir('/dev/fd')) if os.path.isdir('/dev/fd') else set()\n"
        "assert len(now) <= len(opened), now - opened\n"
    )
    environment = {"PATH": "", "HOME": str(tmp_path), "PORT": "not a number", "STORAGE_URL": "nonsense"}
    names = [name for name in MODULES if not name.endswith(".main")]
    outcome = subprocess.run(
        [sys.executable, "-c", code, *names], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layer", ["domain", "ports", "services"])
def test_inner_layers_load_no_settings_and_no_vendor(layer: str) -> None:
    """Importing a layer alone brings neither the settings nor a store, a server or a model's SDK with it."""
    names = [name for name in MODULES if name.startswith(f"agent_memory_server.{layer}")]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "bad = {'apsw', 'fastapi', 'pydantic', 'uvicorn', 'openai', 'anthropic', 'agent_memory_server.config'}\n"
        "print(sorted(bad & set(sys.modules)))\n"
    )
    outcome = subprocess.run([sys.executable, "-c", code, *names], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


def test_files_are_read_in_one_sitting() -> None:
    """No module is much longer than one sitting can read; a long one wants to be several."""
    long = {
        str(path.relative_to(ROOT)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > LINES_MAX
    }
    assert long == {}


def test_no_module_is_a_drawer_for_everything() -> None:
    """Names that say nothing collect everything."""
    drawers = {"utils", "util", "helpers", "helper", "common", "core", "base", "misc"}
    assert [name for name in MODULES if name.rpartition(".")[2] in drawers] == []
