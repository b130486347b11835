"""``/search``: the playground. What is found, how each score came about, and why an expected memory is not there."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from agent_memory_server.domain.recency import RecencyWeights
from agent_memory_server.domain.records import MemoryType
from agent_memory_server.domain.search import SearchMode, SearchQuery
from agent_memory_server.domain.tokens import query_tokens
from agent_memory_server.errors import InvalidInput
from agent_memory_server.web.pages.memories import criteria_of
from agent_memory_server.web.visits import PageRoute, Visit

LIMIT_DEFAULT = 10
_TERM_LENGTH_MIN = 2
SIGNAL_WORDS = {
    "words": "words of the query",
    "meaning": "meaning",
    "conversation": "what was said around it",
    "person": "whose words they are",
    "date": "the date asked about",
    "question": "it is a question itself",
    "time": "it tells a time, as asked",
    "short": "it is short",
    "bm25": "words of the query",
    "cosine": "meaning",
}


async def search(visit: Visit) -> Response:
    asked = _asked(visit)
    context: dict[str, Any] = {
        "asked": asked,
        "modes": [each.value for each in SearchMode],
        "types": [each.value for each in MemoryType],
        "found": None,
        "expected": visit.asked("expected"),
        "signal_words": SIGNAL_WORDS,
        "terms": (),
        "strongest": 1.0,
    }
    text = asked["text"]
    if text:
        context |= await _found(visit, text, asked)
    return visit.page("_hits.html" if visit.wants_part else "search.html", **context)


async def _found(visit: Visit, text: str, asked: dict[str, Any]) -> dict[str, Any]:
    criteria = criteria_of(visit)
    query = SearchQuery(
        text=text,
        mode=SearchMode(asked["mode"]),
        alpha=asked["alpha"],
        limit=asked["limit"],
        recency=_recency(asked) if asked["recency"] else None,
    )
    explaining = visit.app.search_explanation
    expected = visit.asked("expected")
    if expected is None:
        found = await explaining.explained(criteria, query)
    else:
        found = await explaining.expected(criteria, query, [expected])
    parts = [abs(part.contribution) for each in found.explanations for part in each.parts]
    return {
        "found": found,
        "hits": list(zip(found.page.hits, found.explanations, strict=False)),
        "terms": tuple(term for term in query_tokens(text) if term.isalnum() and len(term) >= _TERM_LENGTH_MIN),
        "strongest": max(parts, default=1.0) or 1.0,
    }


def _asked(visit: Visit) -> dict[str, Any]:
    """The form's fields. Raises InvalidInput for one that makes no sense."""
    mode = visit.asked("mode") or SearchMode.HYBRID.value
    if mode not in {each.value for each in SearchMode}:
        raise InvalidInput(f"mode must be one of {', '.join(SearchMode)}")
    has_form = visit.asked("form") is not None
    return {
        "text": visit.asked("text"),
        "mode": mode,
        "alpha": _share(visit, "alpha", 0.7),
        "limit": visit.asked_number("limit", default=LIMIT_DEFAULT, least=1, most=100),
        "recency": visit.asked("recency") == "1" if has_form else True,
        "recency_weight": _share(visit, "recency_weight", 0.2),
        "semantic_weight": _share(visit, "semantic_weight", 0.8),
        "memory_type": visit.asked("memory_type"),
        "topic": visit.asked("topic"),
        "entity": visit.asked("entity"),
        "session_id": visit.asked("session_id"),
        "since": visit.asked("since"),
        "until": visit.asked("until"),
    }


def _recency(asked: dict[str, Any]) -> RecencyWeights:
    return RecencyWeights(semantic_weight=asked["semantic_weight"], recency_weight=asked["recency_weight"])


def _share(visit: Visit, name: str, default: float) -> float:
    value = visit.asked(name)
    if value is None:
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise InvalidInput(f"{name} must be a number from 0 to 1")
    return number


ROUTES = (PageRoute(path="/search", handler=search),)
