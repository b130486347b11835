"""Why a search answered what it did: each hit's score as a sum, and the stage at which an expected memory was lost.

Costs several searches; nobody pays for it who does not ask. Nothing is said about memories beyond the caller's reach: an
expected one there is "not found", exactly as one that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agent_memory_server.domain.explanation import Expectation, ScoreExplanation, Stage
from agent_memory_server.domain.filters import MemoryFilter
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.domain.ranking import lowest_score, similarities
from agent_memory_server.domain.records import EmbeddingStatus, Memory, MemoryKey
from agent_memory_server.domain.search import Handle, Page, SearchMode, SearchQuery
from agent_memory_server.domain.tokens import index_tokens, query_tokens
from agent_memory_server.errors import InvalidInput
from agent_memory_server.ports.embedder import Embedder
from agent_memory_server.ports.journal import Journal
from agent_memory_server.ports.memories import MemoryStore
from agent_memory_server.services.context_filling import line
from agent_memory_server.services.expected_memories import NOWHERE, ExpectedMemories
from agent_memory_server.services.score_explanations import ScoreExplainer
from agent_memory_server.services.search import SearchService
from agent_memory_server.services.search_trace import SearchTrace
from agent_memory_server.services.time_travel import TimeTravelService


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPage:
    """``explanations``: one a hit, in their order; empty for a listing, which has no scores."""

    page: Page
    explanations: Sequence[ScoreExplanation]
    expectations: Sequence[Expectation] = ()


@dataclass(frozen=True, slots=True)
class _Answered:
    """One search that was answered, and everything to judge an expectation by."""

    criteria: MemoryFilter
    query: SearchQuery
    page: Page
    explainer: ScoreExplainer
    trace: SearchTrace
    handle_of: Mapping[MemoryKey, Handle]

    @property
    def now(self) -> datetime:
        return self.explainer.now

    @property
    def last(self) -> ScoreExplanation | None:
        """The last hit of the page."""
        handle = self.page.hits[-1].handle if self.page.hits else None
        return None if handle is None else self.explainer.explanation(handle)


class SearchExplanationService:
    """Explains what ``search`` answers; the embedder must be the same one."""

    def __init__(
        self,
        *,
        search: SearchService,
        store: MemoryStore,
        journal: Journal,
        embedder: Embedder,
        travel: TimeTravelService,
    ) -> None:
        self._search = search
        self._travel = travel
        self._store = store
        self._expected = ExpectedMemories(store=store, journal=journal)
        self._embedder = embedder

    async def explained(
        self, criteria: MemoryFilter, query: SearchQuery, /, *, as_of: datetime | None = None
    ) -> ExplainedPage:
        """The page that ``search`` answers (now, or as of a time), with each hit's explanation. Raises what ``search`` raises."""
        trace = SearchTrace()
        if as_of is None:
            page = await self._search.search(criteria, query, trace=trace)
        else:
            page = await self._travel.search(criteria, query, as_of=as_of, trace=trace)
        if trace.ranking is None:
            return ExplainedPage(page=page, explanations=())
        return ExplainedPage(page=page, explanations=_of_page(page, query, ScoreExplainer(trace, query)))

    async def expected(
        self, criteria: MemoryFilter | None, query: SearchQuery, expected: Sequence[str], /
    ) -> ExplainedPage:
        """The same, and what became of each expected memory: an id, or text that it holds.

        What lies outside the namespace and user that the search names is not looked for, whoever asks: as for reading by id,
        foreign and absent look alike. ``criteria`` None: a scope beyond the caller's reach. Raises InvalidInput for a blank
        query, which has no ranking to explain, and what ``search`` raises.
        """
        if not query.text.strip():
            raise InvalidInput(
                "must not be blank where memories are expected: a listing has no ranking to explain",
                field=("body", "text"),
            )
        if criteria is None:
            nothing = Page(hits=(), total=0, next_offset=None)
            absent = [_not_found(each, NOWHERE) for each in expected]
            return ExplainedPage(page=nothing, explanations=(), expectations=tuple(absent))
        trace = SearchTrace()
        page = await self._search.search(criteria, query, trace=trace)
        explainer = ScoreExplainer(trace, query)
        keys = await self._store.keys(explainer.candidates)
        handle_of = {key: handle for handle, key in keys.items()}
        answered = _Answered(criteria, query, page, explainer, trace, handle_of)
        found: list[Expectation] = []
        for each in expected:
            meant = await self._expected.meant(criteria.selector, each)
            judged = [await self._judged(each, memory, answered) for memory in meant.memories]
            if meant.note and judged:
                judged = [replace(one, reason=f"{one.reason} ({meant.note})") for one in judged]
            found += judged or [_not_found(each, meant.note)]
        return ExplainedPage(page=page, explanations=_of_page(page, query, explainer), expectations=tuple(found))

    async def _judged(self, expected: str, memory: Memory, answered: _Answered) -> Expectation:
        """The first stage at which this memory fell, in the order in which a search goes."""
        refusing = answered.criteria.refusing(memory)
        if refusing:
            reason = f"left out by the filter on {', '.join(refusing)}"
            return Expectation(
                expected=expected, stage=Stage.FILTERED_OUT, reason=reason, memory=memory, filters=refusing
            )
        if memory.superseded_by is not None and not answered.criteria.include_superseded:
            reason = f"superseded by {memory.superseded_by}; include_superseded finds it all the same"
            return Expectation(expected=expected, stage=Stage.SUPERSEDED, reason=reason, memory=memory)
        if memory.expires_at is not None and memory.expires_at <= answered.now:
            reason = f"its time to live ended at {memory.expires_at.isoformat()}"
            return Expectation(expected=expected, stage=Stage.EXPIRED, reason=reason, memory=memory)
        handle = answered.handle_of.get(memory.key)
        if handle is None:
            return await self._no_candidate(expected, memory, answered)
        return _placed(expected, memory, handle, answered)

    async def _no_candidate(self, expected: str, memory: Memory, answered: _Answered) -> Expectation:
        """Why neither channel brought it: nothing in common, or others that have more."""
        trace, query = answered.trace, answered.query
        tokens = query_tokens(query.text)
        shared = frozenset(tokens).intersection(index_tokens(memory.text, memory.name, memory.topics, memory.entities))
        has_vector = trace.vector is not None and memory.embedding is EmbeddingStatus.READY
        if not has_vector and not shared:
            return Expectation(
                expected=expected, stage=Stage.NO_CANDIDATE, reason=_nothing_shared(memory, answered), memory=memory
            )
        if not has_vector and query.distance_max is not None:
            reason = "it has no vector, and by its words alone it is beyond distance_threshold"
            return Expectation(expected=expected, stage=Stage.UNDER_THE_CUT, reason=reason, memory=memory)
        if not has_vector:
            reason = "it holds words of the query, but more memories hold rarer ones than are looked at"
            return Expectation(expected=expected, stage=Stage.BEYOND_THE_POOL, reason=reason, memory=memory)
        rank, score = await self._by_vector(memory, answered)
        where = f"by meaning it is number {rank}, score {score:.3f}" if rank else "by meaning it is far down"
        if query.distance_max is not None and 1.0 - score > query.distance_max:
            reason = f"its distance is {1.0 - score:.3f}, beyond distance_threshold {query.distance_max:g}"
            return Expectation(expected=expected, stage=Stage.UNDER_THE_CUT, reason=reason, memory=memory)
        if query.mode is SearchMode.SEMANTIC:
            last = answered.last
            missing = None if last is None or not rank else last.score - score
            reason = f"{where}; the page ends at {query.offset + len(answered.page.hits)}"
            return Expectation(
                expected=expected, stage=Stage.OUTRANKED, reason=reason, memory=memory, missing_by=missing
            )
        reason = f"{where}, behind the last that is looked at, and its words do not bring it in"
        return Expectation(expected=expected, stage=Stage.BEYOND_THE_POOL, reason=reason, memory=memory)

    async def _by_vector(self, memory: Memory, answered: _Answered) -> tuple[int, float]:
        """Its rank and similarity among as many as any search may reach; (0, 0.0) beyond them."""
        vector = answered.trace.vector
        assert vector is not None
        near = await self._store.nearest(
            answered.criteria,
            vector=vector,
            model=self._embedder.model,
            now=answered.now,
            limit=LIMITS.search_window_max,
        )
        keys = await self._store.keys(near.handles)
        for rank, (handle, score) in enumerate(zip(near.handles, similarities(near), strict=True), start=1):
            if keys.get(handle) == memory.key:
                return rank, float(score)
        return 0, 0.0


def _of_page(page: Page, query: SearchQuery, explainer: ScoreExplainer) -> tuple[ScoreExplanation, ...]:
    return tuple(
        explainer.explanation(hit.handle, rank=query.offset + place)
        for place, hit in enumerate(page.hits, start=1)
        if hit.handle is not None
    )


def _not_found(expected: str, reason: str) -> Expectation:
    return Expectation(expected=expected, stage=Stage.NOT_FOUND, reason=reason)


def _placed(expected: str, memory: Memory, handle: Handle, answered: _Answered) -> Expectation:
    """A candidate: cut, on another page, outranked, or there."""
    query, explainer = answered.query, answered.explainer
    own = explainer.explanation(handle)
    shown = next((place for place, hit in enumerate(answered.page.hits, start=1) if hit.handle == handle), None)
    missing: float | None = None
    if shown is not None:
        own = explainer.explanation(handle, rank=query.offset + shown)
        stage, reason = Stage.ON_THE_PAGE, f"it is hit {query.offset + shown}"
    elif handle not in explainer.rank_of:
        lowest = lowest_score(explainer.uncut, score_min=query.score_min, relative_cut=query.relative_cut)
        stage = Stage.UNDER_THE_CUT
        reason = f"its score is {own.score:.6f}, and the cut is at {lowest:.6f}"
    elif own.rank <= query.offset:
        stage, reason = Stage.EARLIER_PAGE, f"it is hit {own.rank}, before offset {query.offset}"
    elif _stands_around(memory, answered.page):
        stage, reason = Stage.ON_THE_PAGE, f"it is no hit (number {own.rank}), but stands in the context beside one"
    elif query.tokens_max is not None and own.rank <= query.offset + query.limit:
        stage = Stage.OVER_THE_BUDGET
        reason = (
            f"it is number {own.rank}, and did not fit into what was left of the budget of {query.tokens_max} tokens"
        )
    else:
        stage, reason, missing = _outranked(own, answered.last)
    return Expectation(
        expected=expected, stage=stage, reason=reason, memory=memory, missing_by=missing, explanation=own
    )


def _stands_around(memory: Memory, page: Page) -> bool:
    return page.context is not None and line(memory) in page.context.text.splitlines()


def _outranked(own: ScoreExplanation, last: ScoreExplanation | None) -> tuple[Stage, str, float | None]:
    missing = None if last is None else last.final - own.final
    reason = f"it is number {own.rank} with {own.final:.6f}"
    if last is not None:
        reason += f"; the page ends at number {last.rank} with {last.final:.6f}"
        theirs = {part.name: part.contribution for part in last.parts}
        lacking = [(theirs.get(part.name, 0.0) - part.contribution, part.name) for part in own.parts]
        most, name = max(lacking, default=(0.0, ""))
        if own.said_once is not None and own.said_once < last.score:
            reason += (
                "; a message that it came from was found as well, so it has a quarter of that one's chance at most"
            )
        elif most > 0:
            reason += f", which has {most:.2f} more for {name}"
    if own.in_pool is False:
        reason += "; it was beyond the best of both channels, so its neighbours, speaker and time did not count"
        return Stage.BEYOND_THE_POOL, reason, missing
    return Stage.OUTRANKED, reason, missing


def _nothing_shared(memory: Memory, answered: _Answered) -> str:
    tokens = ", ".join(query_tokens(answered.query.text)) or "none that is looked up"
    reason = f"it holds none of the query's words ({tokens})"
    if answered.trace.vector is None:
        return f"{reason}, and this search goes by words alone"
    missing = "has no vector yet" if memory.embedding is EmbeddingStatus.PENDING else "has nothing to embed"
    return f"{reason} and {missing}"
