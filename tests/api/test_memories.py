"""Long-term memories over HTTP: create, list, read, edit, delete."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

RECORD_FIELDS = {
    "id", "text", "session_id", "user_id", "namespace", "last_accessed", "created_at", "updated_at", "pinned",
    "access_count", "topics", "entities", "memory_hash", "discrete_memory_extracted", "memory_type", "persisted_at",
    "extracted_from", "event_date", "extraction_strategy", "extraction_strategy_config", "metadata", "name", "source",
    "derived_from", "superseded_by", "trust", "author", "embedding", "valid_from", "valid_to", "expires_at",
}  # fmt: skip
CREATE = "/v1/long-term-memory/"


async def create(client: httpx.AsyncClient, *memories: dict[str, Any], **options: Any) -> dict[str, Any]:
    response = await client.post(CREATE, json={"memories": list(memories), **options})
    assert response.status_code == 200, response.text
    return response.json()


async def test_a_created_memory_is_readable_at_once_with_every_field(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """By id and in listings, and equal to what was sent."""
    sent = {
        "id": new_id, "text": "Tea, please", "namespace": namespace, "user_id": "u", "session_id": "s",
        "topics": ["drinks"], "entities": ["tea"], "memory_type": "episodic", "event_date": "1999-12-31T23:59:59.5Z",
        "created_at": "2020-01-01T00:00:00Z", "metadata": {"a": [1, {"b": None}]}, "pinned": True, "access_count": 3,
        "extraction_strategy": "manual", "extraction_strategy_config": {"x": 1}, "extracted_from": ["m1"], "name": "Ann",
    }  # fmt: skip
    answered = await create(client, sent)
    assert answered == {"status": "ok", "ids": [new_id], "task_id": None}
    record = (await client.get(f"/v1/long-term-memory/{new_id}")).json()
    assert record.keys() == RECORD_FIELDS
    expected = {**sent, "event_date": "1999-12-31T23:59:59.500000Z"}
    assert {name: record[name] for name in expected} == expected
    assert (record["discrete_memory_extracted"], record["persisted_at"], record["superseded_by"]) == ("t", None, None)
    listed = (await client.get("/v1/long-term-memory", params={"namespace": namespace})).json()
    assert [each["id"] for each in listed["memories"]] == [new_id]


async def test_defaults_are_the_contracts(client: httpx.AsyncClient, new_id: str) -> None:
    """Semantic, extracted, strategy "discrete", empty tags as lists."""
    await create(client, {"id": new_id, "text": "plain"})
    record = (await client.get(f"/v1/long-term-memory/{new_id}")).json()
    assert (record["memory_type"], record["extraction_strategy"], record["topics"]) == ("semantic", "discrete", [])


async def test_both_spellings_of_the_create_path_work(client: httpx.AsyncClient, new_id: str) -> None:
    """With and without the slash, without a redirect."""
    for path in ("/v1/long-term-memory/", "/v1/long-term-memory"):
        response = await client.post(path, json={"memories": [{"id": new_id, "text": "plain"}]})
        assert response.status_code == 200


async def test_a_namespace_in_the_query_fills_in_records_without_one(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """As the JavaScript client sends its default namespace; a record's own namespace stays."""
    memories = [{"id": new_id, "text": "one"}, {"id": f"{new_id}-2", "text": "two", "namespace": f"{namespace}-own"}]
    await client.post(CREATE, params={"namespace": namespace}, json={"memories": memories})
    first = await client.get(f"/v1/long-term-memory/{new_id}", params={"namespace": namespace})
    assert first.json()["namespace"] == namespace
    other = await client.get(f"/v1/long-term-memory/{new_id}-2", params={"namespace": namespace})
    assert other.status_code == 404


async def test_a_duplicate_answers_with_the_survivors_id_and_still_answers_by_its_own(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """And stays out of listings unless superseded ones are asked for."""
    await create(client, {"id": new_id, "text": "same words", "namespace": namespace})
    answered = await create(client, {"id": f"{new_id}-2", "text": "same words", "namespace": namespace})
    assert answered["ids"] == [new_id]
    assert (await client.get(f"/v1/long-term-memory/{new_id}-2")).json()["superseded_by"] == new_id
    for include, count in (("false", 1), ("true", 2)):
        params = {"namespace": namespace, "include_superseded": include}
        assert (await client.get("/v1/long-term-memory", params=params)).json()["total"] == count
        asked, query = {"namespace": {"eq": namespace}, "text": "words"}, {"include_superseded": include}
        searched = await client.post("/v1/long-term-memory/search", json=asked, params=query)
        assert searched.json()["total"] == count
        searched = await client.post("/v1/long-term-memory/search", json=asked | query)
        assert searched.json()["total"] == count
    kept = await create(client, {"id": f"{new_id}-3", "text": "same words", "namespace": namespace}, deduplicate=False)
    assert kept["ids"] == [f"{new_id}-3"]


async def test_listing_is_newest_first_with_a_cursor(client: httpx.AsyncClient, namespace: str) -> None:
    """``created_at desc, id``, a true total, and a cursor until the end."""
    await create(
        client,
        *(
            {
                "id": f"{n}-{namespace}",
                "text": f"text {n}",
                "namespace": namespace,
                "created_at": f"202{n}-01-01T00:00:00Z",
            }
            for n in range(5)
        ),
    )
    seen: list[str] = []
    params = {"namespace": namespace, "limit": "2"}
    while True:
        page = (await client.get("/v1/long-term-memory/", params=params)).json()
        assert page["total"] == 5
        seen += [each["id"] for each in page["memories"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == [f"{n}-{namespace}" for n in (4, 3, 2, 1, 0)]
    assert (await client.get("/v1/long-term-memory", params={"cursor": "nonsense"})).status_code == 422


async def test_listing_narrows_by_user_session_and_type(client: httpx.AsyncClient, namespace: str) -> None:
    """Each parameter is a hard filter."""
    await create(
        client,
        {"id": "a", "text": "one", "namespace": namespace, "user_id": "u", "session_id": "s"},
        {"id": "b", "text": "two", "namespace": namespace, "user_id": "u", "memory_type": "episodic"},
        {"id": "c", "text": "three", "namespace": namespace, "user_id": "v"},
    )
    for narrow, expected in (
        ({"user_id": "u"}, {"a", "b"}),
        ({"session_id": "s"}, {"a"}),
        ({"memory_type": "episodic"}, {"b"}),
        ({"user_id": "none"}, set[str]()),
    ):
        page = (await client.get("/v1/long-term-memory", params={"namespace": namespace, **narrow})).json()
        assert {each["id"] for each in page["memories"]} == expected


# -- by id


async def test_an_id_that_several_users_hold_is_ambiguous_until_narrowed(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """409 for get, edit and delete; ``user_id`` narrows strictly."""
    for user in ("ann", "bob"):
        await create(client, {"id": new_id, "text": f"of {user}", "user_id": user, "namespace": namespace})
    path = f"/v1/long-term-memory/{new_id}"
    assert (await client.get(path)).status_code == 409
    assert (await client.patch(path, json={"text": "x"})).status_code == 409
    assert (await client.delete("/v1/long-term-memory", params={"memory_ids": new_id})).status_code == 409
    assert (await client.get(path, params={"user_id": "ann"})).json()["text"] == "of ann"
    assert (await client.get(path, params={"user_id": "eve"})).status_code == 404
    assert (await client.patch(path, params={"user_id": "bob"}, json={"text": "of Bob"})).json()["text"] == "of Bob"
    deleted = await client.delete("/v1/long-term-memory", params={"memory_ids": new_id, "user_id": "bob"})
    assert deleted.json() == {"status": "ok, deleted 1 memories"}
    assert (await client.get(path)).json()["text"] == "of ann"


async def test_a_missing_memory_is_404_with_the_contracts_words(client: httpx.AsyncClient, new_id: str) -> None:
    """For get and patch."""
    for response in (
        await client.get(f"/v1/long-term-memory/{new_id}"),
        await client.patch(f"/v1/long-term-memory/{new_id}", json={"text": "x"}),
    ):
        assert (response.status_code, response.json()["detail"]) == (404, f"Memory with ID {new_id} not found")


async def test_delete_counts_what_was_there(client: httpx.AsyncClient, new_id: str) -> None:
    """Unknown ids are no error; no id at all deletes nothing."""
    await create(client, {"id": new_id, "text": "plain"})
    deleted = await client.delete("/v1/long-term-memory", params={"memory_ids": [new_id, "never-there"]})
    assert deleted.json() == {"status": "ok, deleted 1 memories"}
    assert (await client.get(f"/v1/long-term-memory/{new_id}")).status_code == 404
    for path in ("/v1/long-term-memory", "/v1/long-term-memory/"):
        assert (await client.delete(path)).json() == {"status": "ok, deleted 0 memories"}


async def test_patch_changes_what_is_given_and_null_means_not_given(
    client: httpx.AsyncClient, new_id: str, namespace: str
) -> None:
    """``[]`` empties tags, ``clear`` empties anything else, an edit renews updated_at and keeps created_at."""
    await create(
        client,
        {
            "id": new_id, "text": "old", "namespace": namespace, "user_id": "u", "topics": ["a"], "entities": ["b"],
            "event_date": "2020-01-01T00:00:00Z", "created_at": "2020-01-01T00:00:00Z",
            "updated_at": "2020-01-01T00:00:00Z",
        },
    )  # fmt: skip
    path = f"/v1/long-term-memory/{new_id}"
    body = {"text": "new", "topics": [], "entities": None, "user_id": None, "pinned": True, "clear": ["event_date"]}
    edited = (await client.patch(path, json=body)).json()
    assert (edited["text"], edited["topics"], edited["entities"], edited["user_id"]) == ("new", [], ["b"], "u")
    assert (edited["pinned"], edited["event_date"]) == (True, None)
    assert edited["created_at"] == "2020-01-01T00:00:00Z" != edited["updated_at"]
    moved = (await client.patch(path, json={"user_id": "v", "memory_type": "episodic", "clear": ["topics"]})).json()
    assert (moved["user_id"], moved["memory_type"]) == ("v", "episodic")
    assert (await client.get(path, params={"user_id": "u"})).status_code == 404


@pytest.mark.parametrize("body", [{}, {"text": None}, {"unknown": 1}])
async def test_a_patch_without_a_field_is_400(client: httpx.AsyncClient, new_id: str, body: dict[str, Any]) -> None:
    """The contract's words."""
    await create(client, {"id": new_id, "text": "plain"})
    response = await client.patch(f"/v1/long-term-memory/{new_id}", json=body)
    assert (response.status_code, response.json()["detail"]) == (400, "No fields provided for update")


@pytest.mark.parametrize(
    "body", [{"text": ""}, {"text": " \n"}, {"clear": ["text"]}, {"topics": ["a"], "clear": ["topics"]}]
)
async def test_a_patch_that_makes_no_sense_is_422(client: httpx.AsyncClient, new_id: str, body: dict[str, Any]) -> None:
    """Empty text, what cannot be cleared, what is both set and cleared."""
    await create(client, {"id": new_id, "text": "plain"})
    assert (await client.patch(f"/v1/long-term-memory/{new_id}", json=body)).status_code == 422


async def test_a_stale_edit_is_412(client: httpx.AsyncClient, new_id: str) -> None:
    """If-Match on a memory, with the ETag that GET and PATCH return."""
    await create(client, {"id": new_id, "text": "one"})
    path = f"/v1/long-term-memory/{new_id}"
    etag = (await client.get(path)).headers["ETag"]
    won = await client.patch(path, json={"text": "two"}, headers={"If-Match": etag})
    lost = await client.patch(path, json={"text": "three"}, headers={"If-Match": etag})
    assert (won.status_code, lost.status_code) == (200, 412)
    assert (await client.get(path)).headers["ETag"] == won.headers["ETag"] != etag


async def test_an_empty_list_is_fine(client: httpx.AsyncClient) -> None:
    """Creating nothing succeeds."""
    assert await create(client) == {"status": "ok", "ids": [], "task_id": None}
