"""``agent-memory schedule-task`` and ``task-worker`` without a queue: who does the work, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agent_memory_server.cli.schedule_task import parsed_arguments, task_name
from agent_memory_server.errors import InvalidInput
from tests.cli.commands import CommandLine
from tests.server_process import ServerProcess
from tests.tasks.workers import WorkerProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.long

COMPACT = "agent_memory_server.long_term_memory.compact_long_term_memories"


def report(printed: str) -> dict[str, object]:
    return json.loads(printed.splitlines()[-1])


def test_with_nobody_there_the_command_does_the_work(tmp_path: Path) -> None:
    """It says so, and prints the report; the task stays readable with it."""
    commands = CommandLine(folder=tmp_path)
    printed = commands.done("schedule-task", COMPACT, "--args", "limit=10")
    assert "doing it here" in printed
    assert report(printed)["superseded"] == 0
    (task,) = json.loads(commands.done("tasks", "--json"))["tasks"]
    assert (task["type"], task["status"], task["result"]) == (
        "compact_long_term_memories",
        "success",
        report(printed),
    )


def test_a_running_server_takes_the_task(tmp_path: Path) -> None:
    """Within seconds, and the command leaves it to it; with --wait it prints the report."""
    with ServerProcess(tmp_path / "data") as server:
        wait_until(lambda: "working through pending work" in server.log, "the server's worker did not begin", 30.0)
        commands = CommandLine(folder=tmp_path)
        assert "has taken it" in commands.done("schedule-task", COMPACT)
        printed = commands.done("schedule-task", COMPACT, "--wait")
        assert "doing it here" not in printed
        assert report(printed)["superseded"] == 0


def test_a_worker_without_a_queue_works_on_the_store(tmp_path: Path) -> None:
    """It says what it does, takes tasks, and ends at once when it is told to."""
    environment = {"DATA_DIR": str(tmp_path / "data")}
    with WorkerProcess(tmp_path, environment, plain=False, queue_name="none") as worker:
        assert "working through what is pending in the store" in worker.log
        assert "has taken it" in CommandLine(folder=tmp_path).done("schedule-task", COMPACT)
        status, took_s = worker.stop()
        assert (status, took_s < 5) == (0, True), worker.log[-2000:]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["agent_memory_server.long_term_memory.nothing"], "has no nothing"),
        (["agent_memory_server.docket_tasks.refresh_summary_view", "-a", "view_id=7"], "SummaryView 7 not found"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_exit_code_1(tmp_path: Path, arguments: list[str], said: str) -> None:
    """What is refused before a store is opened, and a task that failed."""
    outcome = CommandLine(folder=tmp_path).run("schedule-task", *arguments)
    assert outcome.code == 1
    assert said in outcome.err
    assert not re.search("Traceback", outcome.err)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("compact", "not of the form package.module.task"),
        ("no.such.module.task", "cannot import no.such.module"),
        ("agent_memory_server.long_term_memory.nothing", "has no nothing"),
        ("os.path.join", "not a task of this server"),
    ],
)
def test_a_name_that_is_no_task_is_refused(path: str, said: str) -> None:
    """A bad form, no module, no such function, and a function that is no task: each is told apart."""
    with pytest.raises(InvalidInput, match=said):
        task_name(path)


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("limit", "not of the form key=value"),
        ("color=red", "unexpected keyword argument 'color'"),
        ("limit=many", "limit must be a whole number"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(argument: str, said: str) -> None:
    """Before anything is scheduled, by name."""
    with pytest.raises(InvalidInput, match=said):
        parsed_arguments("compact_long_term_memories", (argument,))


def test_values_become_what_the_parameter_is() -> None:
    """Numbers with their sign, truth values, lists and objects; what is text stays text, digits too."""
    name = "forget_long_term_memories"
    given = ('policy={"budget": 3}', "limit=-5", "dry_run=FALSE", "user_id=007", "pinned_ids=a,b")
    assert parsed_arguments(name, given) == {
        "policy": {"budget": 3},
        "limit": -5,
        "dry_run": False,
        "user_id": "007",
        "pinned_ids": ["a,b"],
    }
    negative = parsed_arguments("compact_long_term_memories", ("vector_distance_threshold=-0.5",))
    assert negative == {"vector_distance_threshold": -0.5}
    with pytest.raises(InvalidInput, match="given twice"):
        parsed_arguments(name, ("limit=1", "limit=2"))
