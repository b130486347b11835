"""Summary views over HTTP: the contract's shapes and sentences, and what each published client sends."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.api.conftest import encoded

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIEWS = "/v1/summary-views"


async def remember(client: httpx.AsyncClient, namespace: str, **texts: str) -> None:
    """One memory for each user."""
    memories = [
        {"id": f"{namespace}-{user}", "text": text, "user_id": user, "namespace": namespace}
        for user, text in texts.items()
    ]
    response = await client.post("/v1/long-term-memory/", json={"memories": memories})
    assert response.status_code == 200, response.text


async def create(client: httpx.AsyncClient, namespace: str, **fields: Any) -> str:
    """A view by user within the test's namespace; its id."""
    body = {"source": "long_term", "group_by": ["user_id"], "filters": {"namespace": namespace}, **fields}
    response = await client.post(VIEWS, json=body)
    assert response.status_code == 200, response.text
    return response.json()["id"]


async def ended(client: httpx.AsyncClient, task_id: str) -> dict[str, Any]:
    """The task when it has ended. Other tests' work in the same app may go on: sessions are extracted from when quiet."""
    async with asyncio.timeout(10):
        while True:
            task: dict[str, Any] = (await client.get(f"/v1/tasks/{task_id}")).json()
            if task["status"] not in ("pending", "running"):
                return task
            await asyncio.sleep(0.01)


async def test_a_view_answers_with_every_field(client: httpx.AsyncClient, namespace: str) -> None:
    """The contract's field set with its defaults, the same from create, get and list; unknown fields are ignored."""
    created = await client.post(VIEWS, json={"source": "long_term", "group_by": ["user_id"], "id": "mine", "odd": 1})
    view = created.json()
    assert view == {
        "id": view["id"],
        "name": None,
        "source": "long_term",
        "group_by": ["user_id"],
        "filters": {},
        "time_window_days": None,
        "continuous": False,
        "prompt": None,
        "model_name": None,
    }
    assert view["id"] != "mine"
    full = {
        "name": "Weekly",
        "source": "long_term",
        "group_by": ["namespace", "user_id"],
        "filters": {"namespace": namespace, "topics": {"any": ["a"]}},
        "time_window_days": 7,
        "continuous": True,
        "prompt": "Be brief.",
        "model_name": "some-model",
    }
    made = (await client.post(VIEWS, json=full)).json()
    assert made == {**full, "id": made["id"]}
    assert (await client.get(f"{VIEWS}/{made['id']}")).json() == made
    listed = (await client.get(VIEWS)).json()
    assert [each for each in listed if each["id"] in (view["id"], made["id"])] == [view, made]


async def test_null_is_the_default_everywhere(client: httpx.AsyncClient) -> None:
    """What the Java and JavaScript clients send for what is not set."""
    names = ("name", "group_by", "filters", "time_window_days", "continuous", "prompt", "model_name")
    response = await client.post(VIEWS, json={"source": "long_term", **dict.fromkeys(names)})
    assert response.status_code == 200
    view = response.json()
    assert (view["group_by"], view["filters"], view["continuous"]) == ([], {}, False)


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (
            {"source": "working_memory"},
            400,
            "SummaryView.source must be 'long_term' for now; 'working_memory' is not yet supported.",
        ),
        ({"source": "long_term", "group_by": ["y", "user_id", "x"]}, 400, "Unsupported group_by fields: x, y"),
        ({"source": "long_term", "filters": {"zeta": 1, "alpha": 2}}, 400, "Unsupported filter fields: alpha, zeta"),
        ({}, 422, ["body", "source"]),
        ({"source": "elsewhere"}, 422, ["body", "source"]),
        ({"source": "long_term", "time_window_days": 0}, 422, ["body", "time_window_days"]),
        ({"source": "long_term", "filters": {"memory_type": "fact"}}, 422, ["body", "filters", "memory_type"]),
        ({"source": "long_term", "filters": {"topics": {"like": "x"}}}, 422, ["body", "filters", "topics"]),
        ({"source": "long_term", "filters": {"event_date": {"gt": "x"}}}, 422, ["body", "filters", "event_date", "gt"]),
        ({"source": "long_term", "filters": "namespace"}, 422, ["body", "filters"]),
        ({"source": "long_term", "prompt": "x" * 20_001}, 422, ["body", "prompt"]),
    ],
)
async def test_a_bad_definition_is_refused_when_it_is_made(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, detail: Any
) -> None:
    """In the contract's words, or with the place of the value; nothing of it is stored."""
    before = len((await client.get(VIEWS)).json())
    response = await client.post(VIEWS, json=body)
    assert response.status_code == status, response.text
    told = response.json()["detail"]
    assert (told if status == 400 else told[0]["loc"]) == detail
    assert len((await client.get(VIEWS)).json()) == before


async def test_a_view_that_is_not_there(client: httpx.AsyncClient, new_id: str) -> None:
    """404 with the contract's sentence, whatever the id holds; only deleting it is no error."""
    for view_id in (new_id, "a/b", "..", "%", "ü", "run"):
        path = f"{VIEWS}/{encoded(view_id)}"
        for response in (
            await client.get(path),
            await client.get(f"{path}/partitions"),
            await client.post(f"{path}/run"),
            await client.post(f"{path}/partitions/run", json={"group": {}}),
        ):
            assert response.status_code == 404, response.text
            assert response.json()["detail"] == f"SummaryView {view_id} not found"
        assert (await client.delete(path)).json() == {"status": "ok"}


async def test_one_partition_is_run_at_once(client: httpx.AsyncClient, namespace: str) -> None:
    """Also for the bare group of the Java client; a group without memories is empty with the contract's reason."""
    await remember(client, namespace, ana="Ana keeps bees", bob="Bob plays the tuba")
    view = await create(client, namespace)
    path = f"{VIEWS}/{view}/partitions/run"
    wrapped = (await client.post(path, json={"group": {"user_id": "ana"}, "force": None})).json()
    assert wrapped == {
        "view_id": view,
        "group": {"user_id": "ana"},
        "summary": "Ana keeps bees",
        "memory_count": 1,
        "empty": False,
        "empty_reason": None,
        "computed_at": wrapped["computed_at"],
    }
    assert wrapped["computed_at"].endswith("Z")
    bare = (await client.post(path, json={"user_id": "ana"})).json()
    assert bare == wrapped, "nothing changed, so nothing was made anew"
    for forced in (
        await client.post(path, json={"group": {"user_id": "ana"}, "force": True}),
        await client.post(path, params={"force": "true"}, json={"user_id": "ana"}),
    ):
        assert forced.json()["computed_at"] > wrapped["computed_at"]
    nobody = (await client.post(path, json={"group": {"user_id": "zoe"}})).json()
    assert (nobody["summary"], nobody["memory_count"]) == ("", 0)
    assert (nobody["empty"], nobody["empty_reason"]) == (True, "no_matching_memories")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"group": {"namespace": "x"}}, 400),
        ({"group": {}}, 400),
        ({}, 400),
        ({"user_id": "x", "namespace": "y"}, 400),
        ({"group": None}, 422),
        ({"group": "x"}, 422),
        ({"group": {"user_id": 5}}, 422),
        ({"user_id": None}, 422),
        ([], 422),
        ("x", 422),
    ],
)
async def test_a_wrong_group_is_refused(client: httpx.AsyncClient, namespace: str, body: Any, status: int) -> None:
    """Other fields than the view groups by, or values that are no text."""
    view = await create(client, namespace)
    response = await client.post(f"{VIEWS}/{view}/partitions/run", json=body)
    assert response.status_code == status, response.text
    if body == {"group": {"namespace": "x"}}:
        said = "group keys ['namespace'] must exactly match view.group_by ['user_id']"
        assert response.json()["detail"] == said


@pytest.mark.parametrize(
    ("content", "query"),
    [
        (b"", ""),
        (b"", "?force="),
        (b"", "?force=true"),
        (b"{}", ""),
        (b'{"force": true}', ""),
        (b'{"task_id": null}', ""),
    ],
)
async def test_all_partitions_are_run_in_the_background(
    client: httpx.AsyncClient, namespace: str, content: bytes, query: str
) -> None:
    """With the body of each client; the task says how it ended, and the partitions can be read and filtered."""
    await remember(client, namespace, ana="Ana keeps bees", bob="Bob plays the tuba")
    view = await create(client, namespace)
    task = (await client.post(f"{VIEWS}/{view}/run{query}", content=content)).json()
    assert task == {
        "id": task["id"],
        "type": "summary_view_full_run",
        "status": "pending",
        "view_id": view,
        "created_at": task["created_at"],
        "started_at": None,
        "completed_at": None,
        "error_message": None,
        "result": None,
    }
    done = await ended(client, task["id"])
    assert (done["status"], done["error_message"]) == ("success", None)
    assert done["created_at"] <= done["started_at"] <= done["completed_at"]
    path = f"{VIEWS}/{view}/partitions"
    listed = await client.get(path)
    assert [each["group"] for each in listed.json()] == [{"user_id": "ana"}, {"user_id": "bob"}]
    assert listed.headers["x-total-count"] == "2"
    of_bob = (await client.get(path, params={"user_id": "bob"})).json()
    assert [each["summary"] for each in of_bob] == ["Bob plays the tuba"]
    page = await client.get(path, params={"limit": 1, "offset": 1})
    assert (page.json(), page.headers["x-total-count"]) == (of_bob, "2")
    for nowhere in ({"user_id": "zoe"}, {"namespace": namespace}, {"memory_type": "odd"}):
        assert (await client.get(path, params=nowhere)).json() == []
    for wrong in ({"limit": 0}, {"limit": 1001}, {"offset": -1}, {"user_id": " "}):
        assert (await client.get(path, params=wrong)).status_code == 422


async def test_a_task_id_of_ones_own(client: httpx.AsyncClient, namespace: str, new_id: str) -> None:
    """It is the task's id; used a second time after the run it is a conflict, and a blank one is refused."""
    view = await create(client, namespace)
    path = f"{VIEWS}/{view}/run"
    assert (await client.post(path, json={"task_id": new_id})).json()["id"] == new_id
    await ended(client, new_id)
    again = await client.post(path, json={"task_id": new_id})
    assert again.status_code == 409, again.text
    assert new_id in again.json()["detail"]
    assert (await client.post(path, json={"task_id": ""})).status_code == 422


async def test_a_deleted_view_is_gone_with_its_partitions(client: httpx.AsyncClient, namespace: str) -> None:
    """Deleting twice is no error."""
    await remember(client, namespace, ana="Ana keeps bees")
    view = await create(client, namespace)
    await client.post(f"{VIEWS}/{view}/partitions/run", json={"user_id": "ana"})
    for _ in range(2):
        assert (await client.delete(f"{VIEWS}/{view}")).json() == {"status": "ok"}
        assert (await client.get(f"{VIEWS}/{view}/partitions")).status_code == 404


async def test_a_deleted_memory_leaves_the_summary_at_once(client: httpx.AsyncClient, namespace: str) -> None:
    """No partition shows the words of a memory after its delete was answered; the next run makes a summary of the rest."""
    await remember(client, namespace, ana="Ana keeps bees")
    view = await create(client, namespace)
    path = f"{VIEWS}/{view}/partitions"
    await client.post(f"{path}/run", json={"user_id": "ana"})
    await client.delete("/v1/long-term-memory", params={"memory_ids": f"{namespace}-ana"})
    (partition,) = (await client.get(path)).json()
    assert (partition["summary"], partition["empty"], partition["empty_reason"]) == ("", True, "source_deleted")
    anew = (await client.post(f"{path}/run", json={"user_id": "ana"})).json()
    assert anew["empty_reason"] == "no_matching_memories"
