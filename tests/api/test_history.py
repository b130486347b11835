"""History, operations, undo, time travel and times to live over the REST API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from agent_memory_server.testing.running import running_app

MEMORIES = "/v1/long-term-memory"


async def created(client: httpx.AsyncClient, *memories: dict[str, Any], **options: Any) -> None:
    response = await client.post(f"{MEMORIES}/", json={"memories": list(memories), **options})
    assert response.status_code == 200, response.text


async def body(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


async def test_a_history_says_who_when_what_and_why(client: httpx.AsyncClient, new_id: str, namespace: str) -> None:
    """Revisions with their differences, in pages; a deleted memory leaves a tombstone without text."""
    owner = {"namespace": namespace}
    await created(client, {"id": new_id, "text": "Ana lives in Rome.", **owner})
    await client.patch(f"{MEMORIES}/{new_id}", params=owner, json={"text": "Ana lives in Oslo.", "topics": ["home"]})
    history = await body(await client.get(f"{MEMORIES}/{new_id}/history", params=owner))
    assert [(each["kind"], each["actor"], each["effect"]) for each in history["revisions"]] == [
        ("create", "anonymous", "created"),
        ("edit", "anonymous", "updated"),
    ]
    changes = {each["field"]: (each["before"], each["after"]) for each in history["revisions"][1]["changes"]}
    assert changes["text"] == ("Ana lives in Rome.", "Ana lives in Oslo.")
    assert history["revisions"][1]["details"] == {"fields": ["text"] if len(changes) == 1 else sorted(changes)}
    assert history["memory"]["text"] == "Ana lives in Oslo."
    first = await body(await client.get(f"{MEMORIES}/{new_id}/history", params={**owner, "limit": 1}))
    rest = await body(await client.get(f"{MEMORIES}/{new_id}/history", params={**owner, "after": first["next_cursor"]}))
    assert [*first["revisions"], *rest["revisions"]] == history["revisions"]
    assert rest["origin"] is None
    await client.delete(MEMORIES, params={"memory_ids": new_id, **owner})
    gone = await client.get(f"{MEMORIES}/{new_id}/history", params=owner)
    assert "Oslo" not in gone.text
    assert "Rome" not in gone.text
    told = await body(gone)
    assert told["memory"] is None
    assert all(each["scrubbed"] and not each["changes"] for each in told["revisions"])


async def test_a_memory_says_where_it_came_from(client: httpx.AsyncClient, new_id: str) -> None:
    """The messages that it was extracted from are quoted, and the operation names how."""
    said = {"id": f"{new_id}-m", "role": "user", "content": "I am allergic to penicillin."}
    await client.put(f"/v1/working-memory/{new_id}", json={"messages": [said], "user_id": new_id})
    scope = {"user_id": new_id}
    await client.post(
        f"{MEMORIES}/",
        json={
            "memories": [
                {
                    "id": new_id,
                    "text": "User is allergic.",
                    "extracted_from": [said["id"]],
                    "session_id": new_id,
                    **scope,
                }
            ]
        },
    )
    history = await body(await client.get(f"{MEMORIES}/{new_id}/history", params=scope))
    assert [(each["id"], each["content"]) for each in history["origin"]["messages"]] == [(said["id"], said["content"])]


async def test_a_run_is_undone_as_a_whole_and_later_changes_stand(client: httpx.AsyncClient, namespace: str) -> None:
    """A dry run shows it; what was edited since is a conflict that names the operation, and nothing is changed."""
    owner = {"namespace": namespace}
    for number in range(3):
        await created(
            client,
            *({"id": f"{namespace}-{number}{copy}", "text": f"Fact {number}.", **owner} for copy in "ab"),
            deduplicate=False,
        )
    done = await body(await client.post(f"{MEMORIES}/compact", params=owner))
    assert done["superseded"] == 3
    planned = await body(await client.post(f"/v1/operations/{done['run_id']}/undo", params={"dry_run": True}))
    assert (planned["possible"], planned["dry_run"], planned["operation_ids"]) == (True, True, [])
    stepped_back = planned["steps"][0]["memory_id"]
    edited = await client.patch(f"{MEMORIES}/{stepped_back}", params=owner, json={"text": "Mine now."})
    assert edited.status_code == 200
    refused = await body(await client.post(f"/v1/operations/{done['run_id']}/undo"), 409)
    operations = await body(await client.get("/v1/operations", params={**owner, "order": "desc", "limit": 1}))
    latest = operations["operations"][0]
    assert latest["kind"] == "edit"
    assert latest["id"] in refused["detail"]
    assert (await body(await client.get(MEMORIES, params=owner)))["total"] == 3
    await body(await client.post(f"/v1/operations/{latest['id']}/undo"))
    undone = await body(await client.post(f"/v1/operations/{done['run_id']}/undo"))
    assert undone["counts"]["revert"] >= 3
    assert (await body(await client.get(MEMORIES, params=owner)))["total"] == 6
    again = await body(await client.post(f"{MEMORIES}/compact", params=owner))
    assert again["superseded"] == 0
    twice = await body(await client.post(f"/v1/operations/{done['run_id']}/undo"), 409)
    assert "undone already" in twice["detail"]
    await body(await client.post(f"/v1/operations/{undone['operation_ids'][0]}/undo"))
    assert (await body(await client.get(MEMORIES, params=owner)))["total"] == 3


async def test_forgetting_is_undone_and_deletion_is_not(client: httpx.AsyncClient, namespace: str) -> None:
    """What a policy removed comes back, found as before; what was deleted for good is refused, also after it was forgotten."""
    owner = {"namespace": namespace}
    names = [f"{namespace}-{number}" for number in range(3)]
    await created(client, *({"id": name, "text": f"Otters {name} swim.", **owner} for name in names))
    policy = {"policy": {"budget": 0}}
    done = await body(await client.post(f"{MEMORIES}/forget", params={**owner, "dry_run": "false"}, json=policy))
    assert done["deleted"] == 3
    await client.delete(MEMORIES, params={"memory_ids": names[0], **owner})
    refused = await body(await client.post(f"/v1/operations/{done['run_id']}/undo"), 409)
    assert names[0] in refused["detail"]
    rest = await body(await client.post(f"/v1/operations/{done['run_id']}/undo", params={"skip_conflicts": True}))
    assert (rest["counts"], [each["memory_id"] for each in rest["conflicts"]]) == ({"bring_back": 2}, [names[0]])
    assert (await body(await client.get(MEMORIES, params=owner)))["total"] == 2
    found = await client.get(f"{MEMORIES}/{names[0]}/history", params=owner)
    assert "Otters" not in found.text
    operations = (await body(await client.get("/v1/operations", params=owner)))["operations"]
    deletion = [each["id"] for each in operations if each["kind"] == "delete"]
    for operation_id in deletion:
        assert "for good" in (await body(await client.post(f"/v1/operations/{operation_id}/undo"), 409))["detail"]
    told = await body(await client.get(f"/v1/operations/{operations[0]['id']}"))
    assert {each["memory_id"] for each in told["changes"]} == set(names)
    await body(await client.post("/v1/operations/absent/undo"), 404)


@pytest.mark.parametrize(
    "cursor", ["", "x", "deadbeef-1", "00000000-99999999", "deadbeef-1-2", "-1", "١٢٣", "deadbeef-1-1-1-1"]
)
async def test_a_cursor_that_is_not_of_this_store_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    """A clear 422, for operations; one from ahead of the store too."""
    for path in ("/v1/operations",):
        refused = await client.get(path, params={"after": cursor})
        assert refused.status_code == 422
        assert refused.json()["detail"][0]["loc"] == ["query", "after"]
    known = (await client.get("/v1/operations", params={"limit": 1})).json()["operations"]
    for each in known:
        ahead = f"{each['cursor'].partition('-')[0]}-999999999"
        assert (await client.get("/v1/operations", params={"after": ahead})).status_code == 422


async def test_what_was_so_and_what_was_known(client: httpx.AsyncClient, namespace: str) -> None:
    """An edit that supersedes leaves both statements with their dates; as_of shows the store of then."""
    owner = {"namespace": namespace}
    name = f"{namespace}-home"
    await created(client, {"id": name, "text": "Ana lives in Berlin.", "valid_from": "2020-01-01T00:00:00Z", **owner})
    before = datetime.now(UTC)
    moved = await body(
        await client.patch(
            f"{MEMORIES}/{name}",
            params=owner,
            json={"text": "Ana lives in Lisbon.", "supersede": True, "valid_from": "2024-06-01T00:00:00Z"},
        )
    )
    assert moved["id"] != name
    old = await body(await client.get(f"{MEMORIES}/{name}", params=owner))
    assert (old["text"], old["valid_to"]) == ("Ana lives in Berlin.", "2024-06-01T00:00:00Z")

    async def searched(**options: Any) -> list[str]:
        asked = {"text": "Where does Ana live?", "namespace": {"eq": namespace}, "search_mode": "hybrid", **options}
        return sorted(
            each["text"] for each in (await body(await client.post(f"{MEMORIES}/search", json=asked)))["memories"]
        )

    both = ["Ana lives in Berlin.", "Ana lives in Lisbon."]
    assert await searched() == both
    assert await searched(valid_at="2022-01-01T00:00:00Z") == both[:1]
    assert await searched(valid_at="2025-01-01T00:00:00Z") == both[1:]
    assert await searched(as_of=before.isoformat()) == both[:1]
    assert await searched(as_of="2001-01-01T00:00:00Z") == []
    listed = await body(await client.get(MEMORIES, params={**owner, "as_of": before.isoformat()}))
    assert [(each["text"], each["valid_to"]) for each in listed["memories"]] == [("Ana lives in Berlin.", None)]
    then = await body(await client.get(f"{MEMORIES}/{name}", params={**owner, "as_of": before.isoformat()}))
    assert then["valid_to"] is None
    await body(await client.get(f"{MEMORIES}/{moved['id']}", params={**owner, "as_of": before.isoformat()}), 404)
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await body(await client.get(MEMORIES, params={**owner, "as_of": future}), 422)
    await body(await client.get(MEMORIES, params={**owner, "as_of": before.isoformat(), "cursor": "nonsense"}), 422)
    history = await body(await client.get(f"{MEMORIES}/{name}/history", params=owner))
    assert history["outcome"]["replaced_by"]["id"] == moved["id"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"valid_from": "2024-01-02T00:00:00Z", "valid_to": "2024-01-01T00:00:00Z"}, None),
        ({"expires_at": "2030-01-01T00:00:00Z", "ttl_seconds": 5}, None),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"ttl_seconds": 0}, "ttl_seconds"),
        ({"ttl_seconds": 10**12}, "ttl_seconds"),
    ],
)
async def test_times_that_make_no_sense_are_refused(
    client: httpx.AsyncClient, new_id: str, fields: dict[str, Any], field: str | None
) -> None:
    """On create and on edit, with the field where there is one."""
    await created(client, {"id": new_id, "text": "A fact."})
    for response in (
        await client.post(f"{MEMORIES}/", json={"memories": [{"id": f"{new_id}-2", "text": "t", **fields}]}),
        await client.patch(f"{MEMORIES}/{new_id}", json=fields),
    ):
        assert response.status_code == 422, response.text
        assert field is None or field in response.json()["detail"][0]["loc"]


async def test_an_end_is_not_set_and_cleared_at_once(client: httpx.AsyncClient, new_id: str) -> None:
    """One of the two would be ignored: 422, and the memory keeps the end that it has."""
    await created(client, {"id": new_id, "text": "A fact.", "expires_at": "2099-01-01T00:00:00Z"})
    both = {"ttl_seconds": 5, "clear": ["expires_at"]}
    refused = await body(await client.patch(f"{MEMORIES}/{new_id}", json=both), 422)
    assert refused["detail"][0]["loc"] == ["body", "clear"]
    assert (await body(await client.get(f"{MEMORIES}/{new_id}")))["expires_at"] == "2099-01-01T00:00:00Z"


class _Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


async def test_a_memory_is_gone_from_the_second_at_which_it_expires() -> None:
    """By id, in listings and in search; upkeep then forgets it, and an undo brings it back without its end."""
    clock = _Clock()
    async with running_app(now=clock, background=False) as running:
        client = running.client
        await created(
            client,
            {"id": "short", "text": "Otters swim.", "ttl_seconds": 60, "pinned": True},
            {"id": "long", "text": "Owls fly."},
        )
        clock.now += timedelta(seconds=59)
        await body(await client.get(f"{MEMORIES}/short"))
        clock.now += timedelta(seconds=1)
        await body(await client.get(f"{MEMORIES}/short"), 404)
        await body(await client.patch(f"{MEMORIES}/short", json={"text": "still?"}), 404)
        assert (await body(await client.get(MEMORIES)))["total"] == 1
        found = await body(
            await client.post(f"{MEMORIES}/search", json={"text": "otters swim", "search_mode": "keyword"})
        )
        assert found["memories"] == []
        for _ in range(2):
            await running.app.schedules.run_due()
            for lane in running.app.lanes.values():
                await lane.run_due()
        (operation,) = (await body(await client.get("/v1/operations", params={"order": "desc", "limit": 1})))[
            "operations"
        ]
        assert (operation["kind"], operation["reason"]) == ("forget", "their time to live was over")
        undone = await body(await client.post(f"/v1/operations/{operation['id']}/undo"))
        assert undone["notices"]
        assert (await body(await client.get(f"{MEMORIES}/short")))["expires_at"] is None


async def test_nothing_is_undone_after_its_time() -> None:
    """A clear refusal that names the setting; the text of what was forgotten is gone from the journal by then."""
    clock = _Clock()
    async with running_app(now=clock, background=False, undo_retention_days=2) as running:
        client = running.client
        await created(client, {"id": "a", "text": "Otters swim."})
        done = await body(
            await client.post(f"{MEMORIES}/forget", params={"dry_run": "false"}, json={"policy": {"budget": 0}})
        )
        clock.now += timedelta(days=3)
        refused = await body(await client.post(f"/v1/operations/{done['run_id']}/undo"), 409)
        assert "UNDO_RETENTION_DAYS" in refused["detail"]
        assert "Otters" in (await client.get(f"{MEMORIES}/a/history")).text
        await running.app.schedules.run_due()
        for lane in running.app.lanes.values():
            await lane.run_due()
        assert "Otters" not in (await client.get(f"{MEMORIES}/a/history")).text
