"""Asking for a public task by its name, and doing what was asked.

A request is noted in the outbox before anything is done, with a task whose end and report can be read. So it survives a crash,
is retried with back-off, and ends as a dead letter that can be replayed, however it was asked for: by ``schedule-task``, by
Docket, or by another program that knows the queue.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args, get_type_hints

from agent_memory_server.domain.identity import Principal, ScopeSelector
from agent_memory_server.domain.jobs import ClaimedIntent, IntentKind, Lane, Task
from agent_memory_server.domain.operations import Intent, TaskRequest
from agent_memory_server.errors import BadRequest, Conflict, InvalidInput, NotFound
from agent_memory_server.ports.outbox import Outbox
from agent_memory_server.ports.task_queue import TaskQueue
from agent_memory_server.services.jobs import JobService
from agent_memory_server.services.public_tasks import PublicTasks, Report

PERMANENT = (BadRequest, InvalidInput, NotFound, Conflict)
"""What no other attempt can change."""

NAMES = tuple(
    member[0] for member in inspect.getmembers(PublicTasks, inspect.iscoroutinefunction) if member[0][0] != "_"
)
"""Every task that may be asked for."""


class NamedTaskService:
    def __init__(
        self,
        *,
        tasks: PublicTasks,
        outbox: Outbox,
        jobs: JobService,
        queue: TaskQueue,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
    ) -> None:
        self._tasks = tasks
        self._outbox = outbox
        self._jobs = jobs
        self._queue = queue
        self._now = now
        self._new_id = new_id

    async def request(
        self, caller: Principal, *, name: str, arguments: Mapping[str, Any], task_id: str | None = None
    ) -> Task:
        """Note the work durably and return its task; with a ``task_id`` that is known, that one is returned.

        Raises InvalidInput for an unknown task or arguments that do not fit it.
        """
        checked_arguments(name, arguments)
        chosen = task_id or self._new_id()
        owner = caller.owner()
        intent = Intent(
            kind=IntentKind.RUN_TASK.value,
            key=chosen,
            tenant=owner.tenant,
            namespace=owner.namespace,
            user_id=owner.user_id,
            payload={"task": name, "arguments": dict(arguments)},
            task=TaskRequest(id=chosen, owner=owner),
        )
        if task_id is None or not await self._jobs.exists(caller, task_id=task_id):
            await self._outbox.request([intent], at=self._now())
            self._queue.wake(Lane.TASKS)
        return await self._jobs.get(caller, task_id=chosen)

    async def carry_out(self, intent: ClaimedIntent) -> Report:
        """Do what the intent asks for, within the reach of whoever asked, and return the report."""
        name = str(intent.payload["task"])
        arguments: Mapping[str, Any] = intent.payload["arguments"]
        checked_arguments(name, arguments)
        tasks = self._tasks.for_reach(ScopeSelector(intent.tenant, intent.namespace, intent.user_id))
        report: Report = await getattr(tasks, name)(**arguments)
        return report


def parameters(name: str) -> Mapping[str, Any]:
    """The parameters of a task with their types. Raises InvalidInput for an unknown task."""
    if name not in NAMES:
        raise InvalidInput(f"there is no task {name}; there are {', '.join(NAMES)}")
    hints = get_type_hints(getattr(PublicTasks, name))
    return {parameter: hint for parameter, hint in hints.items() if parameter != "return"}


def checked_arguments(name: str, arguments: Mapping[str, Any]) -> None:
    """Raises InvalidInput that names what is missing, unknown or of the wrong type."""
    known = parameters(name)
    try:
        inspect.signature(getattr(PublicTasks, name)).bind(None, **arguments)
    except TypeError as error:
        raise InvalidInput(f"{name}: {error}") from error
    for parameter, value in arguments.items():
        if not _fits(value, known[parameter]):
            raise InvalidInput(f"{name}: {parameter} must be {_described(known[parameter])}")


def _fits(value: object, hint: Any) -> bool:
    return any(_is_one(value, each) for each in get_args(hint) or (hint,)) if _is_union(hint) else _is_one(value, hint)


def _is_union(hint: Any) -> bool:
    return hint not in (Sequence, Mapping) and type(None) in get_args(hint)


def _is_one(value: object, hint: Any) -> bool:
    origin = getattr(hint, "__origin__", hint)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and bool(value.strip())
    if origin is Sequence:
        return isinstance(value, list | tuple) and all(isinstance(each, str) for each in value)  # pyright: ignore[reportUnknownVariableType]
    if origin is Mapping:
        return isinstance(value, Mapping)
    return isinstance(value, hint)


def _described(hint: Any) -> str:
    words = {str: "text that is not blank", int: "a whole number", float: "a number", bool: "true or false"}
    names = [words.get(each, "") for each in (get_args(hint) or (hint,))]
    named = next((each for each in names if each), "")
    if getattr(hint, "__origin__", None) is Mapping:
        return "an object"
    is_list = any(getattr(each, "__origin__", None) is Sequence for each in (hint, *get_args(hint)))
    return "a list of ids" if is_list else named
