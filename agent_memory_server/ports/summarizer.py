"""Making one text of many memories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent_memory_server.domain.records import Memory


class Summarizer(Protocol):
    def method(self, *, prompt: str | None, model_name: str | None) -> str:
        """What decides a summary beside its memories: prompt, model and version. Another method: another summary is due."""
        ...

    async def summarize(
        self,
        memories: Sequence[Memory],
        /,
        *,
        group: Mapping[str, str],
        total: int,
        prompt: str | None,
        model_name: str | None,
    ) -> str:
        """The summary of a group's newest ``memories`` (oldest first, at least one) of ``total``; never blank.

        Raises ModelUnavailable when none can be had now: a failure is never a text.
        """
        ...
