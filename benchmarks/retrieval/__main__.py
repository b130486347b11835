"""``python -m benchmarks.retrieval DATA``: start a server, index conversations, ask every question, print the table."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click
import httpx
from rich.console import Console

from agent_memory_server.errors import InvalidInput
from benchmarks.engines import ENGINES, engine
from benchmarks.processes import resident_bytes
from benchmarks.retrieval import report
from benchmarks.retrieval.asking import (
    SYSTEMS,
    ask_all,
    ask_unanswerable,
    embedding_model,
    index_memories,
    index_sessions,
)
from benchmarks.retrieval.datasets import read_samples
from benchmarks.retrieval.samples import UnknownFormat
from benchmarks.serving.servers import memory_server

WAYS = {
    "b": ("POST /v1/long-term-memory/ (memory_type message)", index_memories),
    "a": ("PUT /v1/working-memory/{session} (messages with names)", index_sessions),
}
_SECOND_ROUND = ("hybrid",)
_ABSTAINING = ("hybrid", "keyword", "semantic")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("data", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--way", "ways", multiple=True, type=click.Choice(list(WAYS)), help="How messages come in. Default: both, b then a."
)
@click.option("--only", multiple=True, type=click.Choice(list(SYSTEMS)), help="Only these systems. Default: all.")
@click.option(
    "--again",
    is_flag=True,
    help="Ask hybrid a second time on the same server, where everything shown counts as used; and twice without recency, to see "
    "that the rankings are byte-identical. Ends with 1 when they are not.",
)
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(ENGINES),
    help="What to measure; redis starts one for the run, as the tests do. Otherwise STORAGE_URL, or SQLite.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write all figures to this file.")
def main(
    *,
    data: Path,
    ways: tuple[str, ...],
    only: tuple[str, ...],
    again: bool,
    engine_name: str | None,
    json_file: Path | None,
) -> None:
    """How well a real server finds the evidence of questions about conversations; no language model judges.

    DATA is a file of one's own or of a benchmark (formats: docs/howto/measure-your-own-search.md). Every message is indexed
    over the API, each conversation for a user of its own, and every question is asked with everything but the search mode at
    its default. Every way in has a server and a store of its own, which are removed in the end.
    """
    console, progress = Console(), Console(stderr=True)
    try:
        samples = read_samples(data)
    except (UnknownFormat, InvalidInput) as error:
        raise click.ClickException(str(error)) from error
    if not any(sample.questions for sample in samples):
        raise click.ClickException(
            f"{data.name} holds no question whose evidence is named: there is nothing to measure"
        )
    systems = only or tuple(SYSTEMS)
    runs: list[report.JSON] = []
    for way in ways or tuple(WAYS):
        title, index = WAYS[way]
        with (
            tempfile.TemporaryDirectory(prefix="retrieval-") as name,
            engine(engine_name, Path(name)) as measured,
            memory_server(Path(name), storage_url=measured.storage_url, quiet_s=0.0) as server,
            httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=60.0) as client,
        ):
            index_s = index(client, samples)
            progress.print(f"[dim]{title}: indexed in {index_s:.1f} s[/dim]")
            answers = ask_all(client, samples, systems, lambda line: progress.print(f"[dim]{line}[/dim]"))
            for mode in set(answers) & set(_ABSTAINING):
                answers[mode].unanswerable = ask_unanswerable(client, samples, mode)
            repeated = ask_all(client, samples, _SECOND_ROUND, lambda _: None) if again else None
            alike = [
                ask_all(client, samples, ("hybrid",), lambda _: None, recency=False)["hybrid"]
                for _ in range(2 if again else 0)
            ]
            run = report.run(title, index_s, answers, repeated, alike)
            run |= {
                "engine": measured.name,
                "embedding_model": embedding_model(client),
                "server_bytes": resident_bytes(server.pid),
            }
        runs.append(run)
    found = report.document(data, samples, runs)
    report.show(found, console)
    if json_file is not None:
        json_file.write_text(json.dumps(found, indent=2))
    if any(run["identical_when_asked_again"] is False for run in runs):
        raise click.ClickException("the same questions to the same store gave different rankings")


if __name__ == "__main__":
    main()
