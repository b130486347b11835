"""Running the installed command as a user does, in a folder and an environment of its own."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.server_process import bare_environment, command


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """``agent-memory`` on the store in ``folder``."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def run(self, *arguments: str, answer: str = "") -> Outcome:
        """Run to the end; ``answer`` is typed at prompts."""
        settings = {"DATA_DIR": str(self.folder / "data"), **self.environment}
        process = subprocess.run(
            [command(), *arguments],
            env=bare_environment(self.folder, settings),
            cwd=self.folder,
            input=answer,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Outcome(code=process.returncode, out=process.stdout, err=process.stderr)

    def done(self, *arguments: str, answer: str = "") -> str:
        """Run what has to succeed; returns what it printed."""
        outcome = self.run(*arguments, answer=answer)
        assert outcome.code == 0, outcome
        return outcome.out
