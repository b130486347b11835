"""Summary views and tasks through the published Python client."""

from __future__ import annotations

import asyncio

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryNotFoundError, MemoryServerError
from agent_memory_client.models import ClientMemoryRecord, CreateSummaryViewRequest, Task


async def ended(client: MemoryAPIClient, task: Task, *, within_s: float = 20.0) -> Task:
    """The task when it has ended; the server works on it meanwhile."""
    async with asyncio.timeout(within_s):
        while True:
            found = await client.get_task(task.id)
            assert found is not None
            if found.status in ("success", "failed"):
                return found
            await asyncio.sleep(0.02)


async def test_the_whole_life_of_a_view(client: MemoryAPIClient, namespace: str) -> None:
    """Create, get, list, run one partition, run all, follow the task, read the partitions, delete."""
    await client.create_long_term_memory(
        [
            ClientMemoryRecord(id=f"{namespace}-1", text="Ana keeps bees on the roof", user_id="ana"),
            ClientMemoryRecord(id=f"{namespace}-2", text="Bob plays the tuba", user_id="bob"),
        ]
    )
    request = CreateSummaryViewRequest(
        name="by user", source="long_term", group_by=["user_id"], filters={"namespace": namespace}
    )
    view = await client.create_summary_view(request)
    assert (view.name, view.group_by, view.filters, view.continuous) == (
        "by user",
        ["user_id"],
        {"namespace": namespace},
        False,
    )
    assert await client.get_summary_view(view.id) == view
    assert view in await client.list_summary_views()
    partition = await client.run_summary_view_partition(view.id, {"user_id": "ana"})
    assert (partition.summary, partition.memory_count) == ("Ana keeps bees on the roof", 1)
    for force in (False, True):
        task = await client.run_summary_view(view.id, force=force)
        assert (task.type, task.view_id) == ("summary_view_full_run", view.id)
        done = await ended(client, task)
        assert (done.status, done.error_message) == ("success", None)
    partitions = await client.list_summary_view_partitions(view.id)
    assert {each.group["user_id"]: each.summary for each in partitions} == {
        "ana": "Ana keeps bees on the roof",
        "bob": "Bob plays the tuba",
    }
    (of_bob,) = await client.list_summary_view_partitions(view.id, user_id="bob")
    assert of_bob.group == {"user_id": "bob"}
    assert (await client.delete_summary_view(view.id)).status == "ok"
    assert await client.get_summary_view(view.id) is None


async def test_what_is_not_there(client: MemoryAPIClient, namespace: str) -> None:
    """The client's own ways to say so: None for a get, its not-found error for the rest, no error for a delete."""
    absent = f"{namespace}-absent"
    assert await client.get_summary_view(absent) is None
    assert await client.get_task(absent) is None
    assert (await client.delete_summary_view(absent)).status == "ok"
    with pytest.raises(MemoryNotFoundError):
        await client.list_summary_view_partitions(absent)
    with pytest.raises(MemoryServerError, match="not yet supported"):
        await client.create_summary_view(CreateSummaryViewRequest(source="working_memory", group_by=[]))
