"""Memory prompts on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, Field, Tag

from agent_memory_server.api.schemas.memories import MemoryRecordResult
from agent_memory_server.api.schemas.search import SearchRequest, to_criteria, to_query
from agent_memory_server.api.schemas.values import Body, Name, ScopeName, Text
from agent_memory_server.api.schemas.working_memory import ContextWindow, MemoryStrategyConfig
from agent_memory_server.domain.filters import MemoryFilter, TextFilter
from agent_memory_server.domain.identity import OutsideReach, Principal
from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.errors import BadRequest
from agent_memory_server.services.hydration import PromptMessage, PromptSession
from agent_memory_server.services.working_memory import Window

LISTED_BY_DEFAULT = 20
"""Memories in a prompt whose search was asked for with ``true``."""


def _kind(value: Any) -> str:
    return "search" if isinstance(value, dict | SearchRequest) else "switch"


LongTermSearch = Annotated[
    Annotated[SearchRequest, Tag("search")] | Annotated[bool, Tag("switch")], Discriminator(_kind)
]


class WorkingMemoryRequest(Body):
    session_id: ScopeName
    namespace: ScopeName | None = None
    user_id: ScopeName | None = None
    model_name: Name | None = None
    context_window_max: ContextWindow | None = None
    long_term_memory_strategy: MemoryStrategyConfig | None = None

    def to_session(self) -> PromptSession:
        return PromptSession(
            session_id=self.session_id,
            namespace=self.namespace,
            user_id=self.user_id,
            window=Window(model_name=self.model_name, context_window_max=self.context_window_max),
        )


class MemoryPromptRequest(Body):
    """``long_term_search``: a search whose text is the query, or true for one within the session's user and namespace."""

    query: Text
    session: WorkingMemoryRequest | None = None
    long_term_search: LongTermSearch | None = None


class PromptText(Body):
    model_config = ConfigDict(populate_by_name=True)

    type: Literal["text"]
    text: str
    annotations: None
    meta: None = Field(alias="_meta")


class PromptMessageResponse(Body):
    role: Literal["system", "user", "assistant"]
    content: PromptText


class MemoryPromptResponse(Body):
    messages: list[PromptMessageResponse]
    long_term_memories: list[MemoryRecordResult] | None


def asks_for_search(body: MemoryPromptRequest) -> bool:
    return body.long_term_search is not None and body.long_term_search is not False


def to_search(body: MemoryPromptRequest, caller: Principal) -> tuple[MemoryFilter, SearchQuery] | None:
    """The prompt's search, hybrid unless the caller says; None when it lies beyond the caller's reach.

    What the session names (user, namespace) is a hard filter of the search too, where the search names none itself: a prompt
    for one user never holds another's memories.
    """
    named_user = body.session.user_id if body.session is not None else None
    named_namespace = body.session.namespace if body.session is not None else None
    if not isinstance(body.long_term_search, SearchRequest):
        try:
            selector = caller.selector(named_namespace, named_user)
        except OutsideReach:
            return None
        others = TextFilter(ne=body.session.session_id) if body.session is not None else None
        query = SearchQuery(text="", mode=SearchMode.HYBRID, limit=LISTED_BY_DEFAULT, recency=RecencyWeights())
        return MemoryFilter(selector=selector, session_id=others), query
    search = body.long_term_search
    if search.as_of is not None:
        raise BadRequest("a prompt is made of what is known now: search with as_of instead")
    filled: dict[str, Any] = {}
    if search.user_id is None and named_user is not None:
        filled["user_id"] = {"eq": named_user}
    if search.namespace is None and named_namespace is not None:
        filled["namespace"] = {"eq": named_namespace}
    scoped = SearchRequest.model_validate({**_given(search), **filled}) if filled else search
    criteria = to_criteria(scoped, caller)
    return None if criteria is None else (criteria, to_query(scoped, default_mode=SearchMode.HYBRID))


def _given(search: SearchRequest) -> dict[str, Any]:
    return {name: getattr(search, name) for name in search.model_fields_set}


def prompt_message_wire(message: PromptMessage) -> dict[str, Any]:
    """The fields of PromptMessageResponse."""
    return {
        "role": message.role,
        "content": {"type": "text", "text": message.text, "annotations": None, "_meta": None},
    }
