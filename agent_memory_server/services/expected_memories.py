"""Which memories somebody means who expected them in an answer: by id, else by a text that they hold.

Only what lies within the namespace and user that the search names is looked at, whoever asks: elsewhere and nowhere look alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.identity import ScopeSelector
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.operations import Effect
from agent_memory_server.domain.ranking import ranked_by_words
from agent_memory_server.domain.records import Memory, MemoryKey
from agent_memory_server.domain.tokens import query_tokens
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.memories import MemoryStore

NOWHERE = "no memory with this id, and none that holds this text, where the search looks"
SAME_ID_MAX = 5
"""Memories of one id, of different owners, that one expectation is answered for."""
_SAME_TEXT_LOOKED_AT = 50
_BEFORE_ANY_ENDING = datetime(1970, 1, 1, tzinfo=UTC)
"""As of then nothing has expired: what did since is found all the same, to say so."""


@dataclass(frozen=True, slots=True)
class Meant:
    """``note`` says what the memories do not: how many more hold the text, or why there is none."""

    memories: Sequence[Memory]
    note: str = ""


class ExpectedMemories:
    def __init__(self, *, store: MemoryStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    async def meant(self, within: ScopeSelector, expected: str) -> Meant:
        """All that have this id, else the likeliest of those that hold this text; none with what is known of its end."""
        is_id = len(expected) <= LIMITS.id_length_max
        if is_id:
            by_id = await self._store.find(within, memory_id=expected, limit=SAME_ID_MAX)
            if by_id:
                return Meant(sorted(by_id, key=lambda each: _owner(each.key)))
        by_text = await self._holding(within, expected)
        if len(by_text) > 1:
            others = f"{len(by_text)} memories hold this text, and this is the likeliest; name the others by id"
            return Meant(by_text[:1], others)
        if by_text:
            return Meant(by_text)
        return Meant((), (is_id and await self._gone(within, expected)) or _nowhere(within))

    async def _holding(self, within: ScopeSelector, text: str) -> Sequence[Memory]:
        """Those that say just this first, then by score, the newest, and id."""
        tokens = query_tokens(text)
        if not tokens:
            return ()
        matches = await self._store.holding(
            MemoryFilter(selector=within, include_superseded=True),
            tokens=tokens,
            now=_BEFORE_ANY_ENDING,
            limit=LIMITS.search_window_max,
        )
        ranking = ranked_by_words(matches)
        score_of = dict(zip(ranking.handles[:_SAME_TEXT_LOOKED_AT], ranking.relevance.tolist(), strict=False))
        memories = await self._store.get_many(list(score_of))
        wanted = _plain(text)
        holding = [(handle, each) for handle, each in memories.items() if wanted in _plain(each.text)]
        holding.sort(
            key=lambda found: (
                _plain(found[1].text) != wanted,
                -score_of[found[0]],
                -found[1].created_at.timestamp(),
                _owner(found[1].key),
            )
        )
        return [memory for _, memory in holding]

    async def _gone(self, within: ScopeSelector, memory_id: str) -> str | None:
        """What took away a memory of this id, where the journal knows of one."""
        for key in await self._journal.gone(within, memory_id=memory_id, limit=SAME_ID_MAX):
            revisions = await self._journal.history(key)
            ending = next((each for each in reversed(revisions) if each.effect is Effect.DELETED), None)
            if ending is not None:
                operation = ending.operation
                why = f" ({operation.reason})" if operation.reason else ""
                kept = "its text is gone" if ending.scrubbed else "an undo of that may bring it back"
                return (
                    f"no more there: operation {operation.id}, {operation.kind.value}{why}, took it away at "
                    f"{operation.at.isoformat()}; {kept}"
                )
        return None


def _nowhere(within: ScopeSelector) -> str:
    looked = [
        f"{name} {value}"
        for name, value in (("namespace", within.namespace), ("user_id", within.user_id))
        if value is not None
    ]
    return f"{NOWHERE}: {' and '.join(looked)}" if looked else NOWHERE


def _owner(key: MemoryKey) -> tuple[str, str, str]:
    return key.namespace or "", key.user_id or "", key.id


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
