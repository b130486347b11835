"""Search over HTTP: modes, filters with their real meaning, paging, what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agent_memory_server.testing.running import RunningApp

pytestmark = pytest.mark.asyncio(loop_scope="session")

SEARCH = "/v1/long-term-memory/search"
NO_OPERATORS: dict[str, Any] = {}
RANKED_FIELDS = {"dist", "score", "score_type"}

MEMORIES: list[dict[str, Any]] = [
    {
        "id": "tea", "text": "Ann likes green tea", "user_id": "ann", "session_id": "s1", "topics": ["drinks", "tea"],
        "entities": ["Ann"], "created_at": "2024-01-01T00:00:00Z", "event_date": "2024-06-01T00:00:00.5Z",
    },
    {
        "id": "coffee", "text": "Bob likes black coffee", "user_id": "bob", "session_id": "s2", "topics": ["drinks"],
        "created_at": "2024-02-01T00:00:00Z", "event_date": "2024-06-02T00:00:00Z", "memory_type": "episodic",
    },
    {
        "id": "car", "text": "The car is red", "created_at": "2024-03-01T00:00:00Z", "topics": ["cars"],
        "extraction_strategy": "manual",
    },
]  # fmt: skip


@pytest.fixture
async def stored(client: httpx.AsyncClient, namespace: str) -> str:
    """The three memories above in a namespace of their own."""
    memories = [{**each, "namespace": namespace} for each in MEMORIES]
    response = await client.post("/v1/long-term-memory/", json={"memories": memories})
    assert response.status_code == 200, response.text
    return namespace


async def found(client: httpx.AsyncClient, namespace: str, **body: Any) -> list[str]:
    response = await client.post(SEARCH, json={"namespace": {"eq": namespace}, **body})
    assert response.status_code == 200, response.text
    return [each["id"] for each in response.json()["memories"]]


@pytest.mark.parametrize("mode", ["semantic", "keyword", "hybrid"])
async def test_every_mode_ranks_the_memory_with_the_querys_words_first(
    client: httpx.AsyncClient, stored: str, mode: str
) -> None:
    """With a distance, a score in 0..1 and the kind of score."""
    response = await client.post(
        SEARCH, json={"text": "green tea", "search_mode": mode, "namespace": {"eq": stored}, "recency_boost": False}
    )
    first = response.json()["memories"][0]
    assert first["id"] == "tea"
    assert first.keys() > RANKED_FIELDS
    assert isinstance(first["dist"], float)
    assert 0 < first["score"] <= 1
    assert first["score_type"] == mode


async def test_a_blank_text_lists_by_filter_newest_first(client: httpx.AsyncClient, stored: str) -> None:
    """With distance 0 and no score, a true total and a true next offset."""
    for text in ("", "  ", None):
        page = (await client.post(SEARCH, json={"text": text, "namespace": {"eq": stored}, "limit": 2})).json()
        assert [each["id"] for each in page["memories"]] == ["car", "coffee"]
        assert (page["total"], page["next_offset"]) == (3, 2)
        assert {(each["dist"], each["score"], each["score_type"]) for each in page["memories"]} == {(0.0, None, None)}
    last = (await client.post(SEARCH, json={"namespace": {"eq": stored}, "limit": 2, "offset": 2})).json()
    assert ([each["id"] for each in last["memories"]], last["next_offset"]) == (["tea"], None)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"user_id": {"eq": "ann"}}, {"tea"}),
        ({"user_id": {"ne": "ann"}}, {"coffee", "car"}),
        ({"user_id": {"not_eq": "ann"}}, {"coffee", "car"}),
        ({"user_id": {"any": ["ann", "bob"]}}, {"tea", "coffee"}),
        ({"user_id": {"in_": ["ann", "eve"]}}, {"tea"}),
        ({"user_id": {"not_in": ["ann", "bob"]}}, {"car"}),
        ({"user_id": {"none": ["bob"]}}, {"tea", "car"}),
        ({"user_id": {"startswith": "an"}}, {"tea"}),
        ({"user_id": {"eq": "Ann"}}, set[str]()),
        ({"user_id": {"eq": "ann", "ne": "ann"}}, set[str]()),
        ({"user_id": {"ne": "ann", "not_in": ["bob"], "not_eq": "eve"}}, {"car"}),
        ({"session_id": {"eq": "s1"}}, {"tea"}),
        ({"topics": {"any": ["tea", "cars"]}}, {"tea", "car"}),
        ({"topics": {"all": ["drinks", "tea"]}}, {"tea"}),
        ({"topics": {"all": ["drinks"], "none": ["tea"]}}, {"coffee"}),
        ({"topics": {"startswith": "dri"}}, {"tea", "coffee"}),
        ({"entities": {"eq": "Ann"}}, {"tea"}),
        ({"memory_type": {"eq": "episodic"}}, {"coffee"}),
        ({"memory_type": {"ne": "episodic"}}, {"tea", "car"}),
        ({"memory_type": {"any": ["episodic", "message"]}}, {"coffee"}),
        ({"extraction_strategy": {"eq": "manual"}}, {"car"}),
        ({"created_at": {"gte": "2024-01-15T00:00:00Z", "lte": "2024-02-15T00:00:00Z"}}, {"coffee"}),
        ({"created_at": {"gt": "2024-01-01T00:00:00Z", "lt": "2024-03-01T00:00:00Z"}}, {"coffee"}),
        ({"created_at": {"between": ["2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"]}}, {"tea", "coffee"}),
        (
            {"created_at": {"between": ["2024-01-01T00:00:00Z", "2024-03-01T00:00:00Z"], "inclusive": "neither"}},
            {"coffee"},
        ),
        (
            {"created_at": {"between": ["2024-01-01T00:00:00Z", "2024-02-01T00:00:00Z"], "inclusive": "left"}},
            {"tea"},
        ),
        ({"created_at": {"ne": "2024-01-01T00:00:00Z"}}, {"coffee", "car"}),
        ({"created_at": {"eq": 1704067200}}, {"tea"}),
        ({"event_date": {"eq": "2024-06-01T02:00:00.5+02:00"}}, {"tea"}),
        ({"event_date": {"lt": "2024-06-02"}}, {"tea"}),
        ({"topics": {"eq": None, "any": ["cars"], "field": "topics"}}, {"car"}),
        ({"topics": None, "user_id": None, "created_at": NO_OPERATORS}, {"tea", "coffee", "car"}),
        ({"user_id": {"eq": "ann"}, "topics": {"any": ["cars"]}}, set[str]()),
    ],
)
async def test_filters_mean_what_they_say(
    client: httpx.AsyncClient, stored: str, filters: dict[str, Any], expected: set[str]
) -> None:
    """All operators of a field and all fields are ANDed, in listings and in ranked searches alike."""
    assert set(await found(client, stored, **filters)) == expected
    assert (
        set(await found(client, stored, text="likes red tea and coffee", search_mode="hybrid", **filters)) == expected
    )


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ({"topics": {"any": []}}, ["body", "topics"], "any cannot be an empty list"),
        ({"topics": {"all": []}}, ["body", "topics"], "all cannot be an empty list"),
        ({"topics": {"not_in": []}}, ["body", "topics"], "not_in cannot be an empty list"),
        ({"topics": {"any": ["a"], "in_": ["b"]}}, ["body", "topics"], "same operator"),
        ({"topics": {"startswith": ""}}, ["body", "topics"], "startswith cannot be empty"),
        ({"topics": {"like": "a"}}, ["body", "topics", "like"], "not permitted"),
        ({"topics": {"any": ["a"] * 257}}, ["body", "topics"], "256"),
        ({"topics": "plain"}, ["body", "topics"], "valid dictionary"),
        ({"user_id": {"eq": ""}}, ["body", "user_id", "eq"], "at least 1 character"),
        ({"user_id": {"any": [" "]}}, ["body", "user_id", "any", 0], "blank"),
        ({"namespace": {"eq": " "}}, ["body", "namespace", "eq"], "blank"),
        ({"user_id": {}}, ["body", "user_id"], "operator"),
        ({"user_id": {"eq": None}}, ["body", "user_id"], "operator"),
        ({"memory_type": {"eq": "nonsense"}}, ["body", "memory_type", "eq"], "semantic"),
        ({"memory_type": {"any": ["nonsense"]}}, ["body", "memory_type", "any", 0], "semantic"),
        ({"created_at": {"between": ["2024-01-01"]}}, ["body", "created_at", "between"], "at least 2"),
        ({"created_at": {"inclusive": "maybe", "eq": "2024-01-01"}}, ["body", "created_at", "inclusive"], "both"),
        ({"created_at": {"gt": "soon"}}, ["body", "created_at", "gt"], "datetime"),
        ({"created_at": {"startswith": "2"}}, ["body", "created_at", "startswith"], "not permitted"),
        ({"limit": 0}, ["body", "limit"], "greater than or equal to 1"),
        ({"limit": 101}, ["body", "limit"], "less than or equal to 100"),
        ({"offset": -1}, ["body", "offset"], "greater than or equal to 0"),
        ({"offset": 9_999, "limit": 2, "text": "tea"}, ["body", "offset"], "10000"),
        ({"hybrid_alpha": 1.5}, ["body", "hybrid_alpha"], "less than or equal to 1"),
        ({"search_mode": "psychic"}, ["body", "search_mode"], "semantic"),
        ({"distance_threshold": -1}, ["body", "distance_threshold"], "greater than or equal to 0"),
        ({"recency_half_life_created_days": -1}, ["body", "recency_half_life_created_days"], "greater than"),
        ({"text": "x" * 100_001}, ["body", "text"], "100000"),
    ],
)
async def test_nonsense_is_422_and_names_the_field(
    client: httpx.AsyncClient, body: dict[str, Any], place: list[str | int], words: str
) -> None:
    """Never ignored, never a 500."""
    response = await client.post(SEARCH, json=body)
    assert response.status_code == 422, response.text
    problems = response.json()["detail"]
    assert problems[0]["loc"] == place
    assert words in problems[0]["msg"]


@pytest.mark.parametrize("mode", ["keyword", "hybrid"])
async def test_a_distance_limit_needs_semantic_mode(client: httpx.AsyncClient, mode: str) -> None:
    """400 in the contract's words."""
    response = await client.post(SEARCH, json={"text": "tea", "search_mode": mode, "distance_threshold": 0.3})
    assert response.status_code == 400
    assert response.json()["detail"] == "distance_threshold is only supported for semantic search mode"


async def test_a_distance_limit_cuts(client: httpx.AsyncClient, stored: str) -> None:
    """Only what is near enough is found."""
    near = await found(client, stored, text="Ann likes green tea", distance_threshold=0.05)
    assert near == ["tea"]


async def test_every_optional_field_may_be_null(client: httpx.AsyncClient, stored: str) -> None:
    """As the Java client writes unset fields; ``optimize_query`` is a query parameter."""
    names = (
        "search_mode", "hybrid_alpha", "text_scorer", "session_id", "topics", "entities", "created_at", "last_accessed",
        "user_id", "distance_threshold", "memory_type", "extraction_strategy", "event_date", "limit", "offset",
        "recency_boost", "recency_semantic_weight", "recency_recency_weight", "recency_freshness_weight",
        "recency_novelty_weight", "recency_half_life_last_access_days", "recency_half_life_created_days",
        "server_side_recency", "include_superseded",
    )  # fmt: skip
    body = {"text": "tea", "namespace": {"eq": stored}, **dict.fromkeys(names)}
    response = await client.post(SEARCH, params={"optimize_query": "false"}, json=body)
    assert response.status_code == 200, response.text
    assert len(response.json()["memories"]) == 3


async def test_a_shown_memory_counts_as_accessed_when_recency_is_on(
    running: RunningApp, new_id: str, namespace: str
) -> None:
    """After the answer, and only for a search with recency boost, which is the default."""
    old = {"id": new_id, "text": "green tea", "namespace": namespace, "last_accessed": "2020-01-01T00:00:00Z"}
    client = running.client
    await client.post("/v1/long-term-memory/", json={"memories": [old]})
    path = f"/v1/long-term-memory/{new_id}"
    await found(client, namespace, text="tea", recency_boost=False)
    assert (await client.get(path)).json()["access_count"] == 0
    await found(client, namespace, text="tea", recency_boost=None)
    await running.finish_afterwards()
    record = (await client.get(path)).json()
    assert record["access_count"] == 1
    assert record["last_accessed"] > "2026"


async def test_another_namespace_is_never_searched(client: httpx.AsyncClient, stored: str) -> None:
    """No filter is relaxed when nothing is found, in no mode."""
    for mode in ("semantic", "keyword", "hybrid"):
        body = {"text": "Ann likes green tea", "search_mode": mode, "namespace": {"eq": f"{stored}-empty"}}
        page = (await client.post(SEARCH, json={**body, "topics": {"any": ["drinks"]}})).json()
        assert page == {"memories": [], "total": 0, "next_offset": None}
