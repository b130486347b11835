"""Proofs of the settings of background work."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent_memory_server.app import open_app
from agent_memory_server.domain.identity import ANONYMOUS
from agent_memory_server.domain.jobs import Lane
from agent_memory_server.tasks.running import open_working_app
from agent_memory_server.testing.language_model import ScriptedLanguageModel
from tests.cli.commands import CommandLine
from tests.redis_server import running_redis
from tests.setting_proofs.running import message, settings_of


def use_docket(folder: Path) -> None:
    """Without Docket there is no queue for a worker to work on."""
    outcome = CommandLine(folder=folder, environment={"USE_DOCKET": "false"}).run("task-worker")
    assert outcome.code == 1
    assert "Docket is disabled in settings. Cannot run worker." in outcome.err


async def docket_name(folder: Path) -> None:
    """The queue that a write wakes has this name."""
    with running_redis(folder, search=False) as redis, redis.client() as looking:
        chosen = settings_of(
            folder, redis_url=redis.url, storage_url=f"sqlite:///{folder}/memory.db", docket_name="mine"
        )
        async with open_working_app(chosen) as app:
            await app.working_memory.append(ANONYMOUS, session_id="s", messages=[message(app.now())])
            async with asyncio.timeout(30):
                while not looking.exists("mine:stream"):  # noqa: ASYNC110 - what is awaited is in another process
                    await asyncio.sleep(0.02)


async def llm_task_timeout_minutes(folder: Path) -> None:
    """What takes longer counts as a failed attempt, and says so."""
    model = ScriptedLanguageModel()
    model.hold()
    chosen = settings_of(folder, llm_task_timeout_minutes=0.001, index_all_messages_in_long_term_memory=False)
    async with open_app(chosen, language_model=model) as app:
        await app.working_memory.append(ANONYMOUS, session_id="s", messages=[message(app.now())])
        await app.lanes[Lane.SESSIONS].run_due()
        page = await app.jobs.list(ANONYMOUS)
        reasons = [task.error_message for task in page.tasks if task.error_message]
    assert reasons == ["it took longer than the time that a task may take"]
