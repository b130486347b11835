"""Running the installed command as a user does, in a folder and an environment of its own."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.forked_process import ForkedProcess
from tests.server_process import ServerProcess, bare_environment, command

_ENDS_WITHIN_S = 120


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
    from_nothing: bool = False
    """Started as a shell starts it, instead of at once."""

    def run(self, *arguments: str, answer: str = "") -> Outcome:
        """Run to the end; ``answer`` is typed at prompts."""
        settings = {"DATA_DIR": str(self.folder / "data"), **self.environment}
        environment = bare_environment(self.folder, settings)
        if not self.from_nothing:
            return self._run_at_once(arguments, environment, answer)
        process = subprocess.run(
            [command(), *arguments],
            env=environment,
            cwd=self.folder,
            input=answer,
            capture_output=True,
            text=True,
            timeout=_ENDS_WITHIN_S,
            check=False,
        )
        return Outcome(code=process.returncode, out=process.stdout, err=process.stderr)

    def _run_at_once(self, arguments: tuple[str, ...], environment: dict[str, str], answer: str) -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            typed, out, err = (Path(folder) / name for name in ("typed", "out", "err"))
            typed.write_text(answer)
            process = ForkedProcess(
                [command(), *arguments], environment, folder=self.folder, out=out, err=err, typed=typed
            )
            try:
                code = process.wait(_ENDS_WITHIN_S)
            finally:
                process.kill()
            return Outcome(code=code, out=out.read_text(), err=err.read_text())

    def done(self, *arguments: str, answer: str = "") -> str:
        """Run what has to succeed; returns what it printed."""
        outcome = self.run(*arguments, answer=answer)
        assert outcome.code == 0, outcome
        return outcome.out


def commands_beside(server: ServerProcess) -> CommandLine:
    """Commands that are told what the server is told."""
    return CommandLine(folder=server.data_dir.parent, environment=server.environment())
