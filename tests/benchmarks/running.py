"""Running a benchmark as its user does, to its end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def figures_of(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """What ``python -m`` with these arguments found."""
    found = tmp_path / "found.json"
    environment = {key: value for key, value in os.environ.items() if key not in ("STORAGE_URL", "REDIS_URL")}
    finished = subprocess.run(
        [sys.executable, "-m", *arguments, "--json", str(found)],
        cwd=ROOT,
        env={**environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return json.loads(found.read_text())
