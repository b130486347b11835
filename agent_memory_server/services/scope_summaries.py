"""Summaries of one scope alone in views that see more: they are that user's (or namespace's), whoever made the view.

An erasure removes them and an export tells them. A summary of several users is neither's: its text goes with its first source.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from agent_memory_server.domain.identity import Scope, ScopeSelector
from agent_memory_server.domain.summary_views import Group, SummaryView
from agent_memory_server.ports.stores import Stores

_PARTITIONS_AT_ONCE = 500


class ScopeSummaries:
    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    async def in_wider_views(
        self, selector: ScopeSelector, /, *, nameless: bool
    ) -> AsyncGenerator[tuple[SummaryView, Sequence[Group]]]:
        """The groups of each view whose summaries are of the scope alone: they name it, or all their sources lie in it.
        ``nameless``: also of views whose groups name nobody and no session."""
        named = {
            name: value
            for name, value in (("namespace", selector.namespace), ("user_id", selector.user_id))
            if value is not None
        }
        for view in await self._stores.summary_views.list(ScopeSelector(selector.tenant)):
            where = {name: value for name, value in named.items() if name in view.draft.group_by}
            tells_of_nobody = not where and set(view.draft.group_by) <= {"memory_type"}
            if (tells_of_nobody and not nameless) or selector.admits(view.owner_scope):
                continue
            groups = [
                group
                async for group in self._groups(view, where)
                if where == named or await self._is_made_of(selector, view, group)
            ]
            if groups:
                yield view, groups

    async def _groups(self, view: SummaryView, where: Group) -> AsyncGenerator[Group]:
        offset = 0
        while True:
            page = await self._stores.summary_views.partitions(
                view, where=where, limit=_PARTITIONS_AT_ONCE, offset=offset
            )
            for partition in page.partitions:
                yield partition.group
            offset += len(page.partitions)
            if not page.partitions or offset >= page.total:
                return

    async def _is_made_of(self, selector: ScopeSelector, view: SummaryView, group: Group) -> bool:
        holdings = self._stores.holdings
        sources = () if holdings is None else await holdings.sources(view, group=group)
        return bool(sources) and all(selector.admits(Scope(key.tenant, key.namespace, key.user_id)) for key in sources)
