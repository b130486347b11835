"""Memory prompts over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

PROMPT = "/v1/memory/prompt"
HEADING = "## Long term memories related to the user's query\n "


def text(role: str, words: str) -> dict[str, Any]:
    return {"role": role, "content": {"type": "text", "text": words, "annotations": None, "_meta": None}}


async def store(client: httpx.AsyncClient, *memories: dict[str, Any]) -> None:
    response = await client.post("/v1/long-term-memory/", json={"memories": list(memories)})
    assert response.status_code == 200, response.text


async def test_the_prompt_has_the_contracts_order_and_form(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """Summary, conversation (everyone but the user as assistant), the query; memories null when not asked for."""
    said = [{"role": role, "content": role} for role in ("user", "assistant", "tool", "system")]
    await client.put(f"/v1/working-memory/{new_id}", json={"messages": said, "context": "ctx", "namespace": namespace})
    body = {"query": "q", "session": {"session_id": new_id, "namespace": namespace, "model_name": "gpt-5"}}
    assert (await client.post(PROMPT, json=body)).json() == {
        "messages": [
            text("system", "## A summary of the conversation so far:\nctx"),
            text("user", "user"),
            text("assistant", "assistant"),
            text("assistant", "tool"),
            text("assistant", "system"),
            text("user", "q"),
        ],
        "long_term_memories": None,
    }


async def test_a_search_object_searches_with_the_query(client: httpx.AsyncClient, new_id: str, namespace: str) -> None:
    """Its own text is overwritten; the found memories are in the prompt and beside it."""
    await store(
        client,
        {"id": f"{new_id}-1", "text": "green tea is lovely", "namespace": namespace},
        {"id": f"{new_id}-2", "text": "the car is red", "namespace": namespace},
    )
    search = {"text": "red car", "namespace": {"eq": namespace}, "limit": 1}
    answered = (await client.post(PROMPT, json={"query": "green tea", "long_term_search": search})).json()
    assert answered["messages"][0] == text("system", f"{HEADING}- green tea is lovely (ID: {new_id}-1)")
    assert [each["id"] for each in answered["long_term_memories"]] == [f"{new_id}-1"]
    assert answered["long_term_memories"][0]["score_type"] == "hybrid"


async def test_true_searches_within_the_sessions_owner_and_leaves_the_session_out(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """With the query's words, never another user's or namespace's memories."""
    for user, space in (("ann", namespace), ("bob", namespace), ("ann", f"{namespace}-2")):
        await store(
            client, {"id": f"{new_id}-{user}-{space}", "text": "likes green tea", "user_id": user, "namespace": space}
        )
    await store(
        client, {"id": new_id, "text": "green tea now", "user_id": "ann", "namespace": namespace, "session_id": "this"}
    )
    session = {"session_id": "this", "user_id": "ann", "namespace": namespace}
    for asked in (True, "true"):
        body = {"query": "green tea", "session": session, "long_term_search": asked}
        answered = (await client.post(PROMPT, json=body)).json()
        assert [each["id"] for each in answered["long_term_memories"]] == [f"{new_id}-ann-{namespace}"]


async def test_a_search_object_takes_the_sessions_owner_where_it_names_none(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """User and namespace; what the search names itself counts."""
    for user in ("ann", "bob"):
        await store(
            client, {"id": f"{new_id}-{user}", "text": "likes green tea", "user_id": user, "namespace": namespace}
        )
    session = {"session_id": "this", "user_id": "ann", "namespace": namespace}
    for search, expected in (({}, "ann"), ({"user_id": {"eq": "bob"}}, "bob")):
        body = {"query": "green tea", "session": session, "long_term_search": search}
        answered = (await client.post(PROMPT, json=body)).json()
        assert [each["id"] for each in answered["long_term_memories"]] == [f"{new_id}-{expected}"]


async def test_nothing_found_is_said_and_is_null(client: httpx.AsyncClient, namespace: str) -> None:
    """A missing session counts as an empty one."""
    session = {"session_id": "none", "namespace": namespace, "context_window_max": "4000"}
    answered = await client.post(PROMPT, json={"query": "q", "session": session, "long_term_search": True})
    assert answered.json() == {
        "messages": [text("system", HEADING + "No relevant long-term memories found."), text("user", "q")],
        "long_term_memories": None,
    }


@pytest.mark.parametrize("search", [{}, {"long_term_search": False}, {"long_term_search": None, "session": None}])
async def test_a_prompt_of_nothing_is_400(client: httpx.AsyncClient, search: dict[str, Any]) -> None:
    """The contract's words."""
    response = await client.post(PROMPT, json={"query": "q", **search})
    assert response.status_code == 400
    assert response.json()["detail"] == "Either session or long_term_search must be provided"


@pytest.mark.parametrize(
    "body",
    [
        {"session": {"session_id": "s"}},
        {"query": "q", "session": {}},
        {"query": "q", "session": {"session_id": ""}},
        {"query": "q", "session": {"session_id": "s", "user_id": " "}},
        {"query": "q", "session": {"session_id": "s", "context_window_max": "wide"}},
        {"query": "q", "long_term_search": {"limit": 0}},
        {"query": "q", "long_term_search": "perhaps"},
    ],
)
async def test_nonsense_is_422(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    """Naming the field."""
    response = await client.post(PROMPT, json=body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][0] == "body"


async def test_a_distance_limit_alone_means_semantic(client: httpx.AsyncClient, namespace: str) -> None:
    """As the published clients send it; with another mode it is refused as in a search."""
    search = {"distance_threshold": 0.5, "namespace": {"eq": namespace}}
    assert (await client.post(PROMPT, json={"query": "q", "long_term_search": search})).status_code == 200
    body = {"query": "q", "long_term_search": {**search, "search_mode": "hybrid"}}
    assert (await client.post(PROMPT, json=body)).status_code == 400
