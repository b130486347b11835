"""Client-visible tasks as a store offers them.

A task is recorded in the commit that carries its intent (``Intent.task``), and the store moves it on in the same commits
in which the intent is claimed, completed, fails or is replayed. An intent that no task follows is shown as one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.jobs import Task, TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPage:
    """``total`` counts every task that matches, not only the page's."""

    tasks: tuple[Task, ...]
    total: int
    next_cursor: str | None


class JobStore(Protocol):
    async def find(self, selector: ScopeSelector, /, *, task_id: str, now: datetime, limit: int = 2) -> Sequence[Task]:
        """The tasks with this id within the selector: none, one, or several (ambiguous). Expired ones are absent."""
        ...

    async def list(
        self,
        selector: ScopeSelector,
        /,
        *,
        now: datetime,
        limit: int,
        status: TaskStatus | None = None,
        cursor: str | None = None,
    ) -> TaskPage:
        """A page, newest first. ``DEAD`` lists what can be replayed: intents that failed for good, and the tasks of those.

        Raises InvalidInput for a cursor that this store did not make.
        """
        ...

    async def erase(self, selector: ScopeSelector, /, *, kept_kinds: Sequence[str], at: datetime) -> int:
        """Remove every task and every intent, dead ones too, that belongs to the selector's scopes, but those of ``kept_kinds``;
        returns how many. A task of somebody else that followed such an intent fails, with the reason."""
        ...

    async def replay(self, task: Task, /, *, at: datetime) -> Task | None:
        """Make the dead intent behind the task pending again, with all attempts before it; None when it is not dead."""
        ...
