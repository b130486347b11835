"""Progress bars on stderr, for a person: nothing is shown when stderr is not a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

Tell = Callable[[int], None]
"""Called with how much is done so far."""


@contextlib.contextmanager
def counting(label: str, *, total: int | None = None, quiet: bool = False) -> Generator[Tell]:
    """A bar, or without a total a count, while the block runs."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)
