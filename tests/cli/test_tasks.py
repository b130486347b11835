"""``agent-memory tasks``: what failed for good is listed with its reason, and replayed."""

from __future__ import annotations

import asyncio
import json

from agent_memory_server.app import DATABASE_NAME, open_app, utc_now
from agent_memory_server.config import Settings
from agent_memory_server.domain.identity import ANONYMOUS
from agent_memory_server.domain.jobs import IntentKind
from agent_memory_server.domain.summary_views import ViewDraft, ViewSource
from agent_memory_server.stores.sqlite import open_sqlite
from tests.cli.commands import CommandLine


async def _with_a_dead_task(line: CommandLine) -> str:
    """A run that failed for good; its task's id."""
    settings = Settings(data_dir=line.folder / "data", embedding_model="wordllama")
    async with open_app(settings) as app:
        view = await app.summary_views.create(ANONYMOUS, ViewDraft(source=ViewSource.LONG_TERM))
        task = await app.summary_views.run(ANONYMOUS, view_id=view.id, task_id="my-run")
    stores = await open_sqlite(line.folder / "data" / DATABASE_NAME, now=utc_now)
    kinds = [IntentKind.REFRESH_SUMMARY_VIEW.value]
    (claimed,) = await stores.outbox.claim(kinds=kinds, now=utc_now(), lease_s=60, limit=1)
    await stores.outbox.fail(claimed, reason="the model was away", retry_at=None)
    await stores.engine.close()
    return task.id


def test_an_empty_store_has_no_tasks(terminal: CommandLine) -> None:
    """Said in words, and as JSON that a script can read."""
    assert terminal.done("tasks") == "No tasks.\n"
    assert json.loads(terminal.done("tasks", "--status", "dead", "--json")) == {"tasks": [], "total": 0}


def test_a_dead_task_is_listed_and_replayed(terminal: CommandLine) -> None:
    """With its status, type and reason; once replayed it is pending, and cannot be replayed again."""
    task_id = asyncio.run(_with_a_dead_task(terminal))
    printed = terminal.done("tasks", "-s", "dead")
    assert printed.startswith("1 tasks (showing 1)\ndead ")
    assert task_id in printed
    assert "summary_view_full_run" in printed
    assert "the model was away" in printed
    (told,) = json.loads(terminal.done("tasks", "--json"))["tasks"]
    assert (told["id"], told["status"], told["error_message"]) == (task_id, "failed", "the model was away")
    assert terminal.done("tasks", "--replay", task_id) == f"Task {task_id} (summary_view_full_run) is pending again.\n"
    assert terminal.done("tasks", "-s", "dead") == "No tasks.\n"
    again = terminal.run("tasks", "--replay", task_id)
    assert (again.code, again.out) == (1, "")
    assert "only what failed for good can be replayed" in again.err


def test_a_task_that_is_not_there_cannot_be_replayed(terminal: CommandLine) -> None:
    """One sentence on stderr and exit code 1."""
    outcome = terminal.run("tasks", "--replay", "nope")
    assert outcome.code == 1
    assert "Task nope not found" in outcome.err
