"""``agent-memory schedule-task``: ask for one of the server's tasks by its name.

With REDIS_URL it goes to the queue; without, into the store, where a running server takes it within seconds; when nobody works
on the store, this command does the work itself. Exit code 1 and a sentence for a name that is no task, for arguments that do not
fit it, and for a task that failed while this command waited.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from agent_memory_server.cli.running import OPERATOR, load_settings, opened_app
from agent_memory_server.errors import InvalidInput, MemoryServerError, NotFound

if TYPE_CHECKING:
    from agent_memory_server.app import MemoryApp
    from agent_memory_server.config import Settings
    from agent_memory_server.domain.jobs import Task

TAKEN_WITHIN_S = 5.0
"""A worker that is there takes the task in this time; else this command does it itself."""
_POLL_S = 0.1


@click.command("schedule-task", short_help="Ask for a background task by name.")
@click.argument("task_path", metavar="TASK_PATH")
@click.option(
    "-a", "--args", "arguments", multiple=True, metavar="KEY=VALUE", help="An argument of the task. Repeatable."
)
@click.option("--wait", is_flag=True, help="Wait until the task has ended, and print its report.")
def schedule_task(task_path: str, arguments: tuple[str, ...], wait: bool) -> None:
    """Ask for the task that TASK_PATH names, such as agent_memory_server.long_term_memory.compact_long_term_memories.

    Values become what the task's parameter is: true and false, whole and decimal numbers, JSON lists and objects, else text.
    """
    name = task_name(task_path)
    given = parsed_arguments(name, arguments)
    settings = load_settings()
    schedule = _into_queue if settings.has_workers else _into_store
    asyncio.run(schedule(settings, name, given, wait=wait))


def task_name(path: str) -> str:
    """The task that a dotted path names. Raises InvalidInput that says what is wrong with it."""
    module_name, _, name = path.replace(":", ".").rpartition(".")
    if not module_name or not name:
        raise InvalidInput(f"{path!r} is not of the form package.module.task")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise InvalidInput(f"cannot import {module_name}: {error}") from error
    except AttributeError as error:
        raise InvalidInput(f"{module_name} has no {name}") from error
    from agent_memory_server.docket_tasks import task_collection
    from agent_memory_server.services.named_tasks import NAMES

    if not any(found is task for task in task_collection):
        raise InvalidInput(f"{path} is not a task of this server; those are: {', '.join(NAMES)}")
    return name


def parsed_arguments(name: str, arguments: tuple[str, ...]) -> dict[str, Any]:
    """The arguments as the task takes them. Raises InvalidInput for a bad form, a name twice, or what does not fit."""
    from agent_memory_server.services.named_tasks import checked_arguments, parameters

    known = parameters(name)
    given: dict[str, Any] = {}
    for each in arguments:
        key, equals, value = each.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InvalidInput(f"{each!r} is not of the form key=value")
        if key in given:
            raise InvalidInput(f"{key} is given twice")
        given[key] = coerced(value, known.get(key))
    checked_arguments(name, given)
    return given


def coerced(value: str, hint: Any = None) -> Any:
    """true/false, whole and decimal numbers (negative ones too), JSON lists and objects; else, and for text, the text."""
    kinds = {hint, *get_args(hint)} if type(None) in get_args(hint) else {hint}
    if str in kinds:
        return value
    if any(getattr(kind, "__origin__", None) is Sequence for kind in kinds):
        return _json_or(value, [value])
    lowered = value.strip().lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if re.fullmatch(r"[+-]?\d{1,18}", lowered):
        return int(lowered)
    if re.fullmatch(r"[+-]?(\d+\.\d*|\.\d+|\d+)(e[+-]?\d{1,3})?", lowered):
        return float(lowered)
    return _json_or(value, value)


def _json_or(value: str, otherwise: Any) -> Any:
    """The JSON list or object that the text is, or ``otherwise``."""
    if value.strip()[:1] in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(value)
    return otherwise


async def _into_queue(settings: Settings, name: str, arguments: Mapping[str, Any], *, wait: bool) -> None:
    from docket import Docket
    from redis.exceptions import RedisError
    from ulid import ULID

    from agent_memory_server import docket_tasks
    from agent_memory_server.queues.addresses import docket_url

    assert settings.redis_url is not None
    key = str(ULID())
    try:
        async with Docket(name=settings.docket_name, url=await docket_url(settings.redis_url)) as docket:
            await docket.add(getattr(docket_tasks, name), key=key)(**arguments)
    except (OSError, RedisError) as error:
        raise MemoryServerError(f"the queue cannot be reached: {error}") from error
    click.echo(f"Task {key} ({name}) is scheduled; a worker takes it.")
    if wait:
        async with opened_app() as app:
            _tell(await _ended(app, key))


async def _into_store(settings: Settings, name: str, arguments: Mapping[str, Any], *, wait: bool) -> None:
    from agent_memory_server.domain.jobs import Lane, TaskStatus

    del settings
    async with opened_app() as app:
        task = await app.named_tasks.request(OPERATOR, name=name, arguments=arguments)
        click.echo(f"Task {task.id} ({name}) is scheduled.")
        if await app.presence.is_anybody_there():
            deadline = time.monotonic() + TAKEN_WITHIN_S
            while task.status is TaskStatus.PENDING and time.monotonic() < deadline:
                await asyncio.sleep(_POLL_S)
                task = await app.jobs.get(OPERATOR, task_id=task.id)
        if task.status is TaskStatus.PENDING:
            click.echo("No server or worker is running on this store: doing it here.")
            await app.lanes[Lane.TASKS].run_due()
            await app.lanes[Lane.UPKEEP].run_due()
            _tell(await _ended(app, task.id, working=True, once=not wait))
        elif wait:
            _tell(await _ended(app, task.id))
        else:
            click.echo("A running server has taken it.")


async def _ended(app: MemoryApp, task_id: str, *, working: bool = False, once: bool = False) -> Task:
    """The task once it has ended, or with ``once`` when an attempt has failed.

    ``working``: it is tried again here whenever it is due.
    """
    from agent_memory_server.domain.jobs import Lane

    while True:
        with contextlib.suppress(NotFound):  # a worker notes it when it takes it from the queue
            task = await app.jobs.get(OPERATOR, task_id=task_id)
            if not task.is_open or (once and task.error_message is not None):
                return task
        if working:
            await app.lanes[Lane.TASKS].run_due()
        await asyncio.sleep(_POLL_S)


def _tell(task: Task) -> None:
    if task.error_message is not None:
        raise click.ClickException(f"task {task.id} failed: {task.error_message}")
    click.echo(json.dumps(task.result, ensure_ascii=False))
