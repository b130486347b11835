"""``agent-memory search``: finds memories, or lists them when there is no query. No recency boost here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from agent_memory_server.cli.running import OPERATOR, opened_app, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent_memory_server.domain.explanation import ScoreExplanation
    from agent_memory_server.domain.filters import MemoryFilter
    from agent_memory_server.domain.search import Hit, Page, SearchQuery
    from agent_memory_server.services.search_explanation import ExplainedPage

TEXT_SHOWN_MAX = 200
_RULE = "=" * 60


@click.command(short_help="Find or list memories.")
@click.argument("query", default="")
@click.option("-n", "--namespace", help="Only memories of this namespace.")
@click.option("-s", "--session-id", help="Only memories of this session.")
@click.option("-u", "--user-id", help="Only memories of this user.")
@click.option("-t", "--topics", help="Only memories with any of these topics (comma-separated).")
@click.option("-e", "--entities", help="Only memories with any of these entities (comma-separated).")
@click.option(
    "-l",
    "--limit",
    type=click.IntRange(1, 100),
    help="Memories to show. Default: 10; as many as fit with --max-tokens.",
)
@click.option("-o", "--offset", type=click.IntRange(0), default=0, show_default=True, help="Memories to skip.")
@click.option(
    "--search-mode",
    type=click.Choice(["semantic", "keyword", "hybrid"]),
    help="How to rank. Default: hybrid; semantic when --distance-threshold is given.",
)
@click.option(
    "--hybrid-alpha",
    type=click.FloatRange(0, 1),
    default=0.7,
    show_default=True,
    help="Weight of the meaning against the words in hybrid mode.",
)
@click.option("--text-scorer", default="BM25STD", help="Accepted for older scripts; words are always scored by BM25.")
@click.option("-d", "--distance-threshold", type=click.FloatRange(0), help="Only memories at most this far (semantic).")
@click.option("--min-score", type=click.FloatRange(0, 1), help="Only memories whose score is at least this.")
@click.option(
    "--relative-cut",
    type=click.FloatRange(0, 1),
    help="Only memories with at least this share of the best one's score.",
)
@click.option(
    "--max-tokens",
    type=click.IntRange(1),
    help="Fill a budget of tokens: print the hits and what was said around them as one text.",
)
@click.option("--explain", is_flag=True, help="Say of each hit how its score came about.")
@click.option(
    "--expect",
    multiple=True,
    metavar="ID|TEXT",
    help="Say why this memory is not among the hits. May be given several times.",
)
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def search(
    query: str,
    namespace: str | None,
    session_id: str | None,
    user_id: str | None,
    topics: str | None,
    entities: str | None,
    limit: int | None,
    offset: int,
    search_mode: str | None,
    hybrid_alpha: float,
    text_scorer: str,  # noqa: ARG001 - accepted and without effect
    distance_threshold: float | None,
    min_score: float | None,
    relative_cut: float | None,
    max_tokens: int | None,
    explain: bool,
    expect: tuple[str, ...],
    form: str,
    as_json: bool,
) -> None:
    """Find memories by QUERY; without one, list them, newest first."""
    mode = search_mode or ("hybrid" if distance_threshold is None else "semantic")
    if distance_threshold is not None and mode != "semantic":
        raise click.UsageError("--distance-threshold is only supported for --search-mode semantic")
    from agent_memory_server.api.schemas.search import SearchRequest, to_criteria, to_query
    from agent_memory_server.domain.search import SearchMode

    asked = parsed(
        SearchRequest,
        text=query,
        search_mode=mode,
        hybrid_alpha=hybrid_alpha,
        distance_threshold=distance_threshold,
        namespace=_equal(namespace),
        user_id=_equal(user_id),
        session_id=_equal(session_id),
        topics=_any_of(topics),
        entities=_any_of(entities),
        min_score=min_score,
        relative_cut=relative_cut,
        max_tokens=max_tokens,
        **({} if limit is None else {"limit": limit}),
        offset=offset,
        recency_boost=False,
    )
    if expect and not query.strip():
        raise click.UsageError("--expect needs a QUERY: a listing has no ranking to explain")
    asked_for = to_query(asked, default_mode=SearchMode.HYBRID)
    found = asyncio.run(_search(to_criteria(asked, OPERATOR), asked_for, explain=explain, expect=expect))
    if as_json or form == "json":
        click.echo(_json(found, explain=explain, expects=bool(expect)))
    else:
        click.echo(_text(found, explain=explain))


async def _search(
    criteria: MemoryFilter | None, query: SearchQuery, *, explain: bool, expect: tuple[str, ...]
) -> ExplainedPage:
    from agent_memory_server.api.schemas.search import NOTHING
    from agent_memory_server.services.search_explanation import ExplainedPage

    async with opened_app() as app:
        if expect:
            return await app.search_explanation.expected(criteria, query, expect)
        if criteria is None:
            return ExplainedPage(page=NOTHING, explanations=())
        if explain:
            return await app.search_explanation.explained(criteria, query)
        return ExplainedPage(page=await app.search.search(criteria, query), explanations=())


def _equal(value: str | None) -> dict[str, str] | None:
    return None if value is None else {"eq": value}


def _any_of(values: str | None) -> dict[str, list[str]] | None:
    wanted = [each.strip() for each in (values or "").split(",") if each.strip()]
    return {"any": wanted} if wanted else None


def _text(found: ExplainedPage, *, explain: bool) -> str:
    """The page for a person; absent fields are left out."""
    lines = _lines(found.page, found.explanations if explain else ())
    if found.page.context is not None:
        lines += ["", f"In the order of talk ({found.page.context.tokens} tokens):", found.page.context.text]
    if found.expectations:
        lines += ["", "Expected:"]
        lines += [f"    {each.expected}: {each.stage.value}: {each.reason}" for each in found.expectations]
    return "\n".join(lines)


def _lines(page: Page, explanations: Sequence[ScoreExplanation]) -> list[str]:
    lines = [f"Found {page.total} memories (showing {len(page.hits)}):", _RULE]
    for place, hit in enumerate(page.hits, start=1):
        lines += ["", *_entry(place, hit)]
        if explanations:
            lines += _why(explanations[place - 1])
    return lines


def _why(explanation: ScoreExplanation) -> list[str]:
    """The sum that makes the score, and where each channel had it."""
    parts = [f"{part.name} {part.contribution:+.2f}" for part in explanation.parts if part.contribution]
    channels = [
        f"{label} number {place.rank} ({place.score:.3f})"
        for label, place in (("by words", explanation.by_words), ("by meaning", explanation.by_meaning))
        if place is not None
    ]
    total = f"{explanation.base:+.2f} base, " if explanation.base else ""
    logistic = f", logistic of {explanation.total:+.2f}" if explanation.logistic else ""
    once = "" if explanation.said_once is None else f", at most {explanation.said_once:.4f} beside its message"
    judged = "" if explanation.judged is None else f", in the middle with the reranker's {explanation.judged:.4f}"
    return [
        f"    Why: {total}{', '.join(parts) or 'nothing'}{logistic}{once}{judged}",
        f"    Found {'; '.join(channels) or 'beside a hit'}",
    ]


def _entry(place: int, hit: Hit) -> list[str]:
    memory = hit.memory
    lines = [f"[{place}] ID: {memory.id}"]
    if hit.score is not None and hit.score_type is not None:
        lines += [f"    Score: {hit.score:.4f} ({hit.score_type.value})", f"    Distance: {hit.distance:.4f}"]
    shown = {
        "Namespace": memory.scope.namespace,
        "Session": memory.scope.session_id,
        "User": memory.scope.user_id,
        "Name": memory.name,
        "Topics": ", ".join(memory.topics),
        "Entities": ", ".join(memory.entities),
    }
    lines += [f"    {label}: {value}" for label, value in shown.items() if value]
    text = " ".join(memory.text.split())
    lines.append(f"    Text: {text[:TEXT_SHOWN_MAX]}{'...' if len(text) > TEXT_SHOWN_MAX else ''}")
    return lines


def _json(found: ExplainedPage, *, explain: bool, expects: bool) -> str:
    """The page as the REST API answers it."""
    from agent_memory_server.api.answers import encoded
    from agent_memory_server.api.schemas.memories import page_wire
    from agent_memory_server.api.schemas.search_explanation import explain_wire, explained_page_wire

    if expects:
        return encoded(explain_wire(found)).decode()
    return encoded(explained_page_wire(found) if explain else page_wire(found.page)).decode()
