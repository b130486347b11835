"""Sessions over HTTP: what the contract says, and append, paging, patching and conditional writes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from agent_memory_server.testing.running import RunningApp

pytestmark = pytest.mark.asyncio(loop_scope="session")

SESSION_FIELDS = {
    "messages", "memories", "data", "context", "user_id", "tokens", "session_id", "namespace", "long_term_memory_strategy",
    "ttl_seconds", "last_accessed", "created_at", "updated_at", "context_percentage_total_used",
    "context_percentage_until_summarization", "summarization",
}  # fmt: skip
MESSAGE_FIELDS = {"role", "content", "id", "created_at", "persisted_at", "discrete_memory_extracted", "name"}
WARNING = (
    "messages[].created_at will become required in the next major version. Please provide timestamps for all messages."
)
AT = "2026-01-02T03:04:05Z"


def said(content: str, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, "created_at": AT, **fields}


async def put(client: httpx.AsyncClient, session_id: str, **body: Any) -> dict[str, Any]:
    response = await client.put(f"/v1/working-memory/{session_id}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("count", [0, 500, 501, 1_000, 2_001])
async def test_a_long_session_is_answered_whole_and_in_order(
    client: httpx.AsyncClient, new_id: str, namespace: str, count: int
) -> None:
    """However many pieces it is read and written out in, and wherever they end."""
    messages = [said(f"number {number}", id=f"m{number}") for number in range(count)]
    stored = await put(client, new_id, messages=messages, namespace=namespace)
    read = (await client.get(f"/v1/working-memory/{new_id}", params={"namespace": namespace})).json()
    assert [each["content"] for each in stored["messages"]] == [each["content"] for each in messages]
    assert [each["id"] for each in read["messages"]] == [each["id"] for each in messages]
    assert list(read) == list(stored)


async def test_a_put_answers_every_field_and_get_answers_the_same(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """Nulls included: clients build their models from all fields."""
    stored = await put(client, new_id, messages=[said("hi", id="m1", name="Ann")], namespace=namespace, user_id="u")
    assert stored.keys() == SESSION_FIELDS
    assert stored["messages"][0].keys() == MESSAGE_FIELDS
    assert stored["messages"][0]["created_at"] == AT
    assert stored["messages"][0]["name"] == "Ann"
    assert stored["long_term_memory_strategy"] == {"strategy": "discrete", "config": {}}
    assert stored["context_percentage_total_used"] is None
    read = await client.get(f"/v1/working-memory/{new_id}", params={"namespace": namespace, "user_id": "u"})
    marks = ("persisted_at", "discrete_memory_extracted")
    assert [{k: v for k, v in each.items() if k not in marks} for each in read.json()["messages"]] == [
        {k: v for k, v in each.items() if k not in marks} for each in stored["messages"]
    ]
    assert {**read.json(), "messages": 0} == {**stored, "messages": 0}


async def test_messages_without_time_are_stored_with_a_warning(client: httpx.AsyncClient, new_id: str) -> None:
    """The published header, word for word, and only when a time is missing."""
    untimed = await client.put(f"/v1/working-memory/{new_id}", json={"messages": [{"role": "user", "content": "hi"}]})
    assert untimed.headers["X-Deprecation-Warning"] == WARNING
    assert untimed.json()["messages"][0]["created_at"].endswith("Z")
    timed = await client.put(f"/v1/working-memory/{new_id}", json={"messages": [said("hi")]})
    assert "X-Deprecation-Warning" not in timed.headers


async def test_a_missing_session_is_404_with_the_contracts_words(client: httpx.AsyncClient, new_id: str) -> None:
    """Clients' get-or-create lives on this."""
    response = await client.get(f"/v1/working-memory/{new_id}")
    assert (response.status_code, response.json()["detail"]) == (404, f"Session {new_id} not found")


async def test_delete_is_idempotent(client: httpx.AsyncClient, new_id: str) -> None:
    """200 and ok, whether or not there was a session."""
    await put(client, new_id, messages=[said("hi")])
    for _ in range(2):
        response = await client.delete(f"/v1/working-memory/{new_id}")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert (await client.get(f"/v1/working-memory/{new_id}")).status_code == 404


async def test_sessions_are_listed_with_a_true_total(client: httpx.AsyncClient, namespace: str) -> None:
    """Most recently updated first, with and without a slash at the end of the path."""
    for name in ("a", "b", "c"):
        await put(client, f"{name}-{namespace}", namespace=namespace, messages=[said("hi")])
    for path in ("/v1/working-memory/", "/v1/working-memory"):
        response = await client.get(path, params={"namespace": namespace, "limit": 2})
        assert response.json() == {"sessions": [f"c-{namespace}", f"b-{namespace}"], "total": 3}


async def test_put_ignores_scope_in_its_query(client: httpx.AsyncClient, new_id: str, namespace: str) -> None:
    """Four Java methods send user and namespace swapped there."""
    response = await client.put(
        f"/v1/working-memory/{new_id}",
        params={"namespace": "wrong", "user_id": "wrong", "background": "true"},
        json={"messages": [said("hi")], "namespace": namespace},
    )
    assert (response.json()["namespace"], response.json()["user_id"]) == (namespace, None)


async def test_the_window_cuts_the_view_and_fills_the_percentages(client: httpx.AsyncClient, new_id: str) -> None:
    """A window as a string, as the Python client sends it; the stored session keeps everything."""
    messages = [said("word " * 50, id=f"m{index}") for index in range(6)]
    whole = await client.put(
        f"/v1/working-memory/{new_id}", params={"model_name": "any-model"}, json={"messages": messages}
    )
    assert whole.json()["context_percentage_total_used"] > 0
    cut = (await client.get(f"/v1/working-memory/{new_id}", params={"context_window_max": "100"})).json()
    assert 1 <= len(cut["messages"]) < 6
    assert cut["messages"][-1]["id"] == "m5"
    recent = await client.get(f"/v1/working-memory/{new_id}", params={"recent_messages_limit": 2})
    assert [each["id"] for each in recent.json()["messages"]] == ["m4", "m5"]
    for no_limit in ("0", "-3"):
        read = await client.get(f"/v1/working-memory/{new_id}", params={"recent_messages_limit": no_limit})
        assert len(read.json()["messages"]) == 6


async def test_created_at_survives_a_put_that_does_not_name_it(client: httpx.AsyncClient, new_id: str) -> None:
    """The published Python client never echoes it."""
    first = await put(client, new_id, messages=[said("one")], created_at="2020-05-06T07:08:09Z")
    second = await put(client, new_id, messages=[said("two")])
    assert first["created_at"] == second["created_at"] == "2020-05-06T07:08:09Z"


async def test_clients_cannot_set_the_servers_marks(client: httpx.AsyncClient, new_id: str) -> None:
    """persisted_at and discrete_memory_extracted of a message are ignored."""
    stored = await put(client, new_id, messages=[said("hi", persisted_at=AT, discrete_memory_extracted="t")])
    assert stored["messages"][0]["persisted_at"] is None
    assert stored["messages"][0]["discrete_memory_extracted"] == "f"


# -- finding a session


async def test_the_exact_session_goes_first_then_the_only_match(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """One visible match answers, several are a 409 that says what to do, a named part is never dropped."""
    await put(client, new_id, messages=[said("of ann")], namespace=namespace, user_id="ann")
    alone = await client.get(f"/v1/working-memory/{new_id}")
    assert (alone.json()["user_id"], alone.json()["namespace"]) == ("ann", namespace)
    await put(client, new_id, messages=[said("of bob")], namespace=namespace, user_id="bob")
    several = await client.get(f"/v1/working-memory/{new_id}", params={"namespace": namespace})
    assert several.status_code == 409
    assert "user_id or namespace" in several.json()["detail"]
    assert (await client.delete(f"/v1/working-memory/{new_id}")).status_code == 409
    prompt = {"query": "q", "session": {"session_id": new_id}}
    assert (await client.post("/v1/memory/prompt", json=prompt)).status_code == 409
    bobs = await client.get(f"/v1/working-memory/{new_id}", params={"user_id": "bob"})
    assert bobs.json()["messages"][0]["content"] == "of bob"
    assert (await client.get(f"/v1/working-memory/{new_id}", params={"user_id": "eve"})).status_code == 404
    await put(client, new_id, messages=[said("of nobody")])
    exact = await client.get(f"/v1/working-memory/{new_id}")
    assert exact.json()["messages"][0]["content"] == "of nobody"


async def test_writes_never_fall_back(client: httpx.AsyncClient, new_id: str, namespace: str) -> None:
    """An absent part of the scope means none: append makes another session, a patch finds none."""
    await put(client, new_id, messages=[said("of ann")], namespace=namespace, user_id="ann")
    assert (await client.patch(f"/v1/working-memory/{new_id}", json={"context": "x"})).status_code == 404
    appended = await client.post(f"/v1/working-memory/{new_id}/messages", json={"messages": [said("mine")]})
    assert appended.json()["total"] == 1


# -- append, page, patch


async def test_append_is_idempotent_by_id(client: httpx.AsyncClient, new_id: str) -> None:
    """A known id with the same words counts as a duplicate; with other words nothing of the request is applied."""
    path = f"/v1/working-memory/{new_id}/messages"
    first = await client.post(path, json={"messages": [said("one", id="1"), said("two", id="2")]})
    assert first.json() == {"status": "ok", "appended": 2, "duplicates": 0, "total": 2}
    again = await client.post(path, json={"messages": [said("two", id="2"), said("three", id="3")]})
    assert again.json() == {"status": "ok", "appended": 1, "duplicates": 1, "total": 3}
    other = await client.post(path, json={"messages": [said("four", id="4"), said("else", id="1")]})
    assert other.status_code == 409
    page = await client.get(path)
    assert [each["id"] for each in page.json()["messages"]] == ["1", "2", "3"]
    assert page.headers["ETag"] == again.headers["ETag"]


async def test_messages_are_paged_in_both_orders(client: httpx.AsyncClient, new_id: str) -> None:
    """The cursor leads through all of them; the last page has none."""
    path = f"/v1/working-memory/{new_id}/messages"
    await client.post(path, json={"messages": [said(f"{index}", id=str(index)) for index in range(5)]})
    for order, expected in (("asc", ["0", "1", "2", "3", "4"]), ("desc", ["4", "3", "2", "1", "0"])):
        seen: list[str] = []
        cursor: str | None = None
        while True:
            params = {"limit": "2", "order": order, **({"cursor": cursor} if cursor else {})}
            page = (await client.get(path, params=params)).json()
            assert page["total"] == 5
            seen += [each["id"] for each in page["messages"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == expected
    assert (await client.get(path, params={"cursor": "nonsense"})).status_code == 422


async def test_patch_merges_data_and_clears_with_null(client: httpx.AsyncClient, new_id: str) -> None:
    """RFC 7396 for data; an absent field stays; messages are not touched."""
    await put(
        client, new_id, messages=[said("hi")], data={"a": {"b": 1, "c": 2}, "d": 3}, context="old", ttl_seconds=600
    )
    path = f"/v1/working-memory/{new_id}"
    strategy = {"strategy": "summary", "config": {"max_summary_length": 9}}
    body = {"data": {"a": {"b": None}, "e": 4}, "context": None, "long_term_memory_strategy": strategy}
    patched = (await client.patch(path, json=body)).json()
    assert patched["data"] == {"a": {"c": 2}, "d": 3, "e": 4}
    assert patched["context"] is None
    assert patched["ttl_seconds"] == 600
    assert patched["long_term_memory_strategy"] == strategy
    assert len(patched["messages"]) == 1
    cleared = (await client.patch(path, json={"data": None, "ttl_seconds": None})).json()
    assert (cleared["data"], cleared["ttl_seconds"]) == (None, None)


# -- conditional writes


async def test_a_stale_etag_is_412_and_changes_nothing(client: httpx.AsyncClient, new_id: str) -> None:
    """PUT, PATCH, append and DELETE honour If-Match; two writers with one ETag: the first wins."""
    path = f"/v1/working-memory/{new_id}"
    body = {"messages": [said("one", id="1")]}
    created = await client.put(path, json=body, headers={"If-None-Match": "*"})
    assert created.status_code == 200
    assert (await client.put(path, json=body, headers={"If-None-Match": "*"})).status_code == 412
    etag = created.headers["ETag"]
    assert (await client.get(path)).headers["ETag"] == etag
    won = await client.put(path, json={"messages": [said("two", id="2")]}, headers={"If-Match": f'"x", {etag}'})
    assert won.status_code == 200
    for request in (
        client.put(path, json=body, headers={"If-Match": etag}),
        client.patch(path, json={"context": "x"}, headers={"If-Match": etag}),
        client.post(f"{path}/messages", json=body, headers={"If-Match": etag}),
        client.put(path, json=body, headers={"If-Match": f"W/{won.headers['ETag']}"}),
        client.delete(path, headers={"If-Match": etag}),
    ):
        lost = await request
        assert (lost.status_code, lost.headers["content-type"]) == (412, "application/problem+json")
    read = await client.get(path)
    assert [each["id"] for each in read.json()["messages"]] == ["2"]
    assert read.headers["ETag"] == won.headers["ETag"]
    assert (await client.put(path, json=body, headers={"If-Match": "*"})).status_code == 200


async def test_if_match_star_needs_an_existing_session(client: httpx.AsyncClient, new_id: str) -> None:
    """``*`` means "any state", and there is none yet."""
    path = f"/v1/working-memory/{new_id}"
    assert (await client.put(path, json={}, headers={"If-Match": "*"})).status_code == 412


@pytest.mark.parametrize(("name", "value"), [("If-Match", "bare"), ("If-Match", '"open'), ("If-None-Match", '"x"')])
async def test_a_condition_that_is_none_is_refused(
    client: httpx.AsyncClient, new_id: str, name: str, value: str
) -> None:
    """Better than writing as if nothing had been asked."""
    response = await client.put(f"/v1/working-memory/{new_id}", json={}, headers={name: value})
    assert response.status_code == 400


async def test_background_marks_do_not_change_the_etag(running: RunningApp, new_id: str) -> None:
    """Only content does: a client that read before promotion may still write."""
    created = await running.client.put(f"/v1/working-memory/{new_id}", json={"messages": [said("hi")]})
    await running.app.pending_work.run_due()
    read = await running.client.get(f"/v1/working-memory/{new_id}")
    assert read.headers["ETag"] == created.headers["ETag"]
