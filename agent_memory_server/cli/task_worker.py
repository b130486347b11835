"""``agent-memory task-worker``: a process that does background work, beside the server or on its own.

With REDIS_URL it shares the queue with the server; without, it works through the store's own record of pending work. It ends with
exit code 0 when it is told to stop: what is under way is given back, and another worker takes it at once.
"""

from __future__ import annotations

import asyncio
import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from agent_memory_server.cli.running import load_settings
from agent_memory_server.errors import ConfigurationError

if TYPE_CHECKING:
    from agent_memory_server.config import Settings

CONCURRENCY_MAX = 64
"""More hang on the queue's connection pool."""
REDELIVERY_MIN_S = 60
_QUEUE_WAIT_S = 10.0


@click.command("task-worker", short_help="Run a worker for background work.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, CONCURRENCY_MAX),
    default=10,
    show_default=True,
    help="At most so many tasks at a time.",
)
@click.option(
    "--redelivery-timeout",
    type=click.IntRange(1),
    help="Seconds after which the queue gives a killed worker's tasks to another. Default: twice "
    "LLM_TASK_TIMEOUT_MINUTES, at least 60.",
)
def task_worker(concurrency: int, redelivery_timeout: int | None) -> None:
    """Do background work until told to stop (Ctrl-C or SIGTERM).

    With REDIS_URL, any number of workers share the queue with the server. Without, the worker takes what is pending in the
    store, beside a running server and whatever other workers there are.
    """
    from agent_memory_server.logs import configure_logging

    settings = load_settings()
    if not settings.use_docket:
        raise ConfigurationError("Docket is disabled in settings. Cannot run worker.")
    configure_logging(settings.log_level)
    if settings.redis_url is None:
        click.echo("REDIS_URL is not set: working through what is pending in the store.", err=True)
        asyncio.run(_work_from_store(settings, concurrency))
        return
    given_s = redelivery_timeout or max(REDELIVERY_MIN_S, settings.llm_task_timeout_minutes * 60 * 2)
    asyncio.run(_work_from_queue(settings, concurrency, timedelta(seconds=given_s)))


async def _work_from_queue(settings: Settings, concurrency: int, redelivery_timeout: timedelta) -> None:
    from docket import Worker

    from agent_memory_server.queues.addresses import docket_url
    from agent_memory_server.tasks.running import TASK_COLLECTION

    assert settings.redis_url is not None
    await Worker.run(
        docket_name=settings.docket_name,
        url=await docket_url(settings.redis_url, wait_s=_QUEUE_WAIT_S),
        concurrency=concurrency,
        redelivery_timeout=redelivery_timeout,
        tasks=[TASK_COLLECTION],
    )


async def _work_from_store(settings: Settings, concurrency: int) -> None:
    from agent_memory_server.app import open_app
    from agent_memory_server.tasks.running import worker_in_process

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.set)
    async with (
        open_app(settings, parallel=concurrency) as app,
        worker_in_process(app, docket_name=settings.docket_name, concurrency=concurrency),
    ):
        await stop.wait()
