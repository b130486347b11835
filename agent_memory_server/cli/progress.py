"""Progress bars on stderr, for a person: nothing is shown when stderr is not a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping

import click

from agent_memory_server.errors import MemoryServerError

TellKind = Callable[[str, int], None]
"""Called with a kind of records and how many of it are done so far."""
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


@contextlib.contextmanager
def counting_kinds(label: str, totals: Mapping[str, int], *, quiet: bool = False) -> Generator[TellKind]:
    """A bar for each kind of records while the block runs. What is written meanwhile may make more of them than was known.

    Where a failure ends it, stderr says how far it had come, also for a script.
    """
    reached: tuple[str, int] | None = None
    try:
        with _bars(label, totals, quiet=quiet) as show:

            def tell(kind: str, done: int) -> None:
                nonlocal reached
                reached = kind, done
                show(kind, done)

            yield tell
    except MemoryServerError:
        if reached is not None:
            kind, done = reached
            click.echo(
                f"{label} {kind} stopped: {done:,} of {totals.get(kind, done):,} were done. Run the same command again.",
                err=True,
            )
        raise


@contextlib.contextmanager
def _bars(label: str, totals: Mapping[str, int], *, quiet: bool) -> Generator[TellKind]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _, __: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {
            kind: progress.add_task(f"{label} {kind}", total=total, start=False)
            for kind, total in totals.items()
            if total
        }

        def tell(kind: str, done: int) -> None:
            if kind in tasks:
                progress.start_task(tasks[kind])
                progress.update(tasks[kind], completed=done, total=max(done, totals[kind]))

        yield tell
