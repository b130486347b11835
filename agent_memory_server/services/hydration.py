"""Building a memory prompt: the session's summary and messages, the memories that matter to the query, and the query.

The layout (order, headings, one line a memory) is the contract's, section 1.12; stored text is fenced so that it cannot
leave its place (``domain.prompt_safety``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import Principal, Scope, ScopeSelector
from agent_memory_server.domain.prompt_safety import on_one_line, without_headings
from agent_memory_server.domain.search import Hit, Page, SearchQuery
from agent_memory_server.domain.sessions import Session
from agent_memory_server.errors import BadRequest, NotFound
from agent_memory_server.services.query_optimization import OptimizedSearchService
from agent_memory_server.services.working_memory import Window, WorkingMemoryService

PromptRole = Literal["system", "user", "assistant"]

SUMMARY_HEADING = "## A summary of the conversation so far:\n"
MEMORIES_HEADING = "## Long term memories related to the user's query\n "
NO_MEMORIES = "No relevant long-term memories found."


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptMessage:
    role: PromptRole
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSession:
    """Which conversation goes into the prompt, and how much of it."""

    session_id: str
    namespace: str | None = None
    user_id: str | None = None
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """``page`` is None when no long-term search was asked for."""

    messages: tuple[PromptMessage, ...]
    page: Page | None


class HydrationService:
    def __init__(self, *, working_memory: WorkingMemoryService, search: OptimizedSearchService) -> None:
        self._working_memory = working_memory
        self._search = search

    async def prompt(
        self,
        caller: Principal,
        *,
        query: str,
        session: PromptSession | None,
        search: tuple[MemoryFilter, SearchQuery] | None,
        optimize: bool = False,
    ) -> Prompt:
        """The prompt's messages in the contract's order; a session that does not exist counts as empty.

        Raises BadRequest when neither a session nor a search is asked for, AmbiguousScope, and what search raises.
        """
        if session is None and search is None:
            raise BadRequest("Either session or long_term_search must be provided")
        messages: list[PromptMessage] = []
        found = None if session is None else await self._found(caller, session)
        if found is not None:
            messages.extend(_conversation_messages(found))
        page: Page | None = None
        if search is not None:
            criteria, search_query = search
            if found is not None:
                criteria = _within_owner(criteria, found.scope)
            page = await self._search.search(criteria, replace(search_query, text=query), optimize=optimize)
            messages.append(PromptMessage(role="system", text=MEMORIES_HEADING + _lines(page.hits)))
        messages.append(PromptMessage(role="user", text=query))
        return Prompt(messages=tuple(messages), page=page)

    async def _found(self, caller: Principal, asked: PromptSession) -> Session | None:
        try:
            view = await self._working_memory.get(
                caller,
                session_id=asked.session_id,
                namespace=asked.namespace,
                user_id=asked.user_id,
                window=asked.window,
            )
        except NotFound:
            return None
        return view.session


def _within_owner(criteria: MemoryFilter, owner: Scope) -> MemoryFilter:
    """The search held to the conversation's owner where it names none: a prompt for one user never quotes another's."""
    selector = criteria.selector
    namespace, user_id = selector.namespace, selector.user_id
    if criteria.namespace is None and namespace is None:
        namespace = owner.namespace
    if criteria.user_id is None and user_id is None:
        user_id = owner.user_id
    return replace(criteria, selector=ScopeSelector(selector.tenant, namespace, user_id))


def _conversation_messages(session: Session) -> list[PromptMessage]:
    messages: list[PromptMessage] = []
    if session.context:
        messages.append(PromptMessage(role="system", text=SUMMARY_HEADING + without_headings(session.context)))
    for message in session.messages:
        # The contract knows two speakers here; above all, a stored "system" message must not regain authority.
        role: PromptRole = "user" if message.role == "user" else "assistant"
        messages.append(PromptMessage(role=role, text=message.content))
    return messages


def _lines(hits: Sequence[Hit]) -> str:
    if not hits:
        return NO_MEMORIES
    return "\n".join(f"- {on_one_line(hit.memory.text)} (ID: {on_one_line(hit.memory.id)})" for hit in hits)
