"""Long-term memories through the published Python client: create, find, filter, edit, forget, delete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.exceptions import MemoryNotFoundError, MemoryServerError, MemoryValidationError
from agent_memory_client.filters import (
    CreatedAt,
    Entities,
    LastAccessed,
    MemoryType,
    Namespace,
    SessionId,
    Topics,
    UserId,
)
from agent_memory_client.models import (
    ClientMemoryRecord,
    ForgetPolicy,
    MemoryRecord,
    MemoryTypeEnum,
    RecencyConfig,
    WorkingMemory,
)

pytestmark = pytest.mark.filterwarnings("ignore:get_working_memory is deprecated:DeprecationWarning")

NOW = datetime.now(UTC)


def record(identifier: str, text: str, **fields: Any) -> ClientMemoryRecord:
    return ClientMemoryRecord(id=identifier, text=text, **fields)


async def ids_found(client: MemoryAPIClient, **filters: Any) -> set[str]:
    """The ids that a listing (no query) with these filters returns."""
    return {memory.id for memory in (await client.search_long_term_memory("", limit=100, **filters)).memories}


async def fill(client: MemoryAPIClient, namespace: str) -> None:
    """Four memories that differ in every field which the client can filter by; tags are given, so that none are added."""
    await client.create_long_term_memory(
        [
            record(
                f"{namespace}-1",
                "Green tea calms the mind",
                user_id="alice",
                session_id="s1",
                topics=["tea", "health"],
                entities=["Kyoto"],
                memory_type=MemoryTypeEnum.SEMANTIC,
                created_at=NOW - timedelta(days=3),
                last_accessed=NOW - timedelta(days=3),
            ),
            record(
                f"{namespace}-2",
                "Black coffee wakes one up",
                user_id="alice",
                session_id="s2",
                topics=["coffee", "health"],
                entities=["Vienna", "Kyoto"],
                memory_type=MemoryTypeEnum.EPISODIC,
                created_at=NOW - timedelta(days=2),
                last_accessed=NOW - timedelta(days=2),
            ),
            record(
                f"{namespace}-3",
                "The train to Vienna was late",
                user_id="bob",
                session_id="s1",
                topics=["travel"],
                entities=["Prague"],
                memory_type=MemoryTypeEnum.EPISODIC,
                created_at=NOW - timedelta(days=1),
                last_accessed=NOW - timedelta(days=1),
            ),
            record(
                f"{namespace}-4",
                "A memory of nobody in no session",
                topics=["nothing"],
                entities=["Nobody"],
                created_at=NOW,
                last_accessed=NOW,
            ),
        ],
        deduplicate=False,
    )


FILTERS: Sequence[tuple[str, dict[str, Any], str]] = [
    ("user eq", {"user_id": UserId(eq="alice")}, "12"),
    ("user in_", {"user_id": UserId(in_=["bob", "carol"])}, "3"),
    ("user not_eq", {"user_id": UserId(not_eq="alice")}, "34"),
    ("user not_in", {"user_id": UserId(not_in=["alice", "bob"])}, "4"),
    ("user dict", {"user_id": {"eq": "bob"}}, "3"),
    ("session eq", {"session_id": SessionId(eq="s1")}, "13"),
    ("session in_", {"session_id": SessionId(in_=["s1", "s2"])}, "123"),
    ("session not_eq", {"session_id": SessionId(not_eq="s1")}, "24"),
    ("session not_in", {"session_id": SessionId(not_in=["s1"])}, "24"),
    ("topics any", {"topics": Topics(any=["tea", "travel"])}, "13"),
    ("topics all", {"topics": Topics(all=["coffee", "health"])}, "2"),
    ("topics none", {"topics": Topics(none=["health"])}, "34"),
    ("topics combined", {"topics": Topics(any=["health"], none=["coffee"])}, "1"),
    ("entities any", {"entities": Entities(any=["Vienna"])}, "2"),
    ("entities all", {"entities": Entities(all=["Vienna", "Kyoto"])}, "2"),
    ("entities none", {"entities": Entities(none=["Vienna"])}, "134"),
    ("type eq", {"memory_type": MemoryType(eq="semantic")}, "1"),
    ("type in_", {"memory_type": MemoryType(in_=["semantic", "episodic"])}, "123"),
    ("type not_eq", {"memory_type": MemoryType(not_eq="episodic")}, "14"),
    ("type not_in", {"memory_type": MemoryType(not_in=["episodic", "semantic"])}, "4"),
    ("created gte", {"created_at": CreatedAt(gte=NOW - timedelta(days=2))}, "234"),
    ("created lte", {"created_at": CreatedAt(lte=NOW - timedelta(days=2))}, "12"),
    ("created eq", {"created_at": CreatedAt(eq=NOW - timedelta(days=2))}, "2"),
    ("created range", {"created_at": CreatedAt(gte=NOW - timedelta(days=2), lte=NOW - timedelta(days=1))}, "23"),
    ("created dict", {"created_at": {"gte": NOW - timedelta(hours=1)}}, "4"),
    ("accessed gte", {"last_accessed": LastAccessed(gte=NOW - timedelta(days=1))}, "34"),
    ("accessed lte", {"last_accessed": LastAccessed(lte=NOW - timedelta(days=3))}, "1"),
    ("accessed eq", {"last_accessed": LastAccessed(eq=NOW - timedelta(days=1))}, "3"),
    ("several fields", {"user_id": UserId(eq="alice"), "session_id": SessionId(eq="s2")}, "2"),
]


@pytest.mark.parametrize(("filters", "expected"), [row[1:] for row in FILTERS], ids=[row[0] for row in FILTERS])
async def test_every_filter_class_and_operator(
    client: MemoryAPIClient, namespace: str, filters: dict[str, Any], expected: str
) -> None:
    """Each operator that the client exposes selects exactly the memories that its name promises."""
    await fill(client, namespace)
    assert await ids_found(client, **filters) == {f"{namespace}-{digit}" for digit in expected}


async def test_namespace_filters(client: MemoryAPIClient, namespace: str) -> None:
    """The namespace filter is hard in every operator, and overrides the client's default."""
    other = f"{namespace}-b"
    await client.create_long_term_memory([record(f"{namespace}-1", "here"), record("2", "there", namespace=other)])
    assert await ids_found(client) == {f"{namespace}-1"}
    assert await ids_found(client, namespace=Namespace(eq=other)) == {"2"}
    assert await ids_found(client, namespace=Namespace(in_=[namespace, other])) == {f"{namespace}-1", "2"}
    only_other = Namespace(in_=[namespace, other], not_eq=namespace)
    assert await ids_found(client, namespace=only_other) == {"2"}
    assert await ids_found(client, namespace=Namespace(in_=[namespace, other], not_in=[other])) == {f"{namespace}-1"}


async def test_create_is_readable_at_once_and_keeps_every_field(client: MemoryAPIClient, namespace: str) -> None:
    """A created memory is found by id in the next call, equal in every field that the client can set."""
    memory = record(
        f"{namespace}-full",
        "Alice visited Kyoto in spring",
        user_id="alice",
        session_id="s1",
        topics=["travel"],
        entities=["Alice", "Kyoto"],
        memory_type=MemoryTypeEnum.EPISODIC,
        event_date=datetime(2024, 4, 2, 9, 0, 0, 500000, UTC),
        created_at=NOW - timedelta(days=9),
        last_accessed=NOW - timedelta(days=8),
        extracted_from=["m1", "m2"],
    )
    assert (await client.create_long_term_memory([memory])).status == "ok"
    read = await client.get_long_term_memory(memory.id)
    compared = {"id", "text", "user_id", "session_id", "namespace", "topics", "entities", "memory_type", "event_date"}
    compared |= {"created_at", "extracted_from"}
    assert read.model_dump(include=compared) == memory.model_dump(include=compared)
    assert read.namespace == namespace
    assert read.memory_hash


async def test_search_ranks_by_meaning_and_words(client: MemoryAPIClient, namespace: str) -> None:
    """A search finds the memory that it is about, with a distance for each hit, and honours a distance threshold."""
    await fill(client, namespace)
    found = await client.search_long_term_memory("relaxing green tea", limit=2)
    assert found.memories[0].id == f"{namespace}-1"
    assert len(found.memories) == 2
    assert all(0 <= memory.dist <= 2 for memory in found.memories)
    near = await client.search_long_term_memory("Green tea calms the mind", distance_threshold=0.05)
    assert [memory.id for memory in near.memories] == [f"{namespace}-1"]


async def test_search_accepts_every_recency_option(client: MemoryAPIClient, namespace: str) -> None:
    """All recency options of the client are accepted, and switching the boost off still returns the hits."""
    await fill(client, namespace)
    full = RecencyConfig(
        recency_boost=True,
        semantic_weight=0.1,
        recency_weight=0.9,
        freshness_weight=0.5,
        novelty_weight=0.5,
        half_life_last_access_days=0.5,
        half_life_created_days=0.5,
        server_side_recency=True,
    )
    boosted = await client.search_long_term_memory("memory", recency=full)
    assert boosted.memories[0].id == f"{namespace}-4"
    plain = await client.search_long_term_memory("green tea", recency=RecencyConfig(recency_boost=False))
    assert plain.memories[0].id == f"{namespace}-1"


async def test_search_all_pages_to_the_end(client: MemoryAPIClient, namespace: str) -> None:
    """search_all_long_term_memories yields every memory once, through several pages."""
    await client.create_long_term_memory(
        [record(f"{namespace}-{index}", f"Fact number {index} about rivers") for index in range(23)], deduplicate=False
    )
    seen = [m.id async for m in client.search_all_long_term_memories("rivers", batch_size=10)]
    assert len(seen) == 23
    assert set(seen) == {f"{namespace}-{index}" for index in range(23)}


async def test_offset_pages_do_not_overlap(client: MemoryAPIClient, namespace: str) -> None:
    """Two pages of one search are disjoint, and next_offset leads from one to the other."""
    await client.create_long_term_memory(
        [record(f"{namespace}-{index}", f"Mountain path number {index}") for index in range(6)], deduplicate=False
    )
    first = await client.search_long_term_memory("mountain path", limit=4)
    assert first.next_offset == 4
    assert first.total == 6
    second = await client.search_long_term_memory("mountain path", limit=4, offset=first.next_offset)
    assert second.next_offset is None
    assert {m.id for m in first.memories}.isdisjoint(m.id for m in second.memories)


async def test_bulk_create(client: MemoryAPIClient, namespace: str) -> None:
    """bulk_create splits batches and acknowledges each."""
    batches = [[record(f"{namespace}-{b}-{i}", f"Bulk {b} {i}") for i in range(5)] for b in range(2)]
    acknowledged = await client.bulk_create_long_term_memories(batches, batch_size=2, delay_between_batches=0)
    assert [answer.status for answer in acknowledged] == ["ok"] * 6
    assert len(await ids_found(client)) == 10


async def test_creating_the_same_id_again_replaces(client: MemoryAPIClient, namespace: str) -> None:
    """The client's id is for overwrites: the second text of an id wins and there is one record."""
    await client.create_long_term_memory([record(f"{namespace}-x", "first")])
    await client.create_long_term_memory([record(f"{namespace}-x", "second")])
    assert (await client.get_long_term_memory(f"{namespace}-x")).text == "second"
    assert len(await ids_found(client)) == 1


async def test_edit_changes_only_what_is_named(client: MemoryAPIClient, namespace: str) -> None:
    """edit_long_term_memory sends its dict as it is, nulls included; the rest stays."""
    await fill(client, namespace)
    identifier = f"{namespace}-1"
    edited = await client.edit_long_term_memory(
        identifier,
        {"text": "White tea calms", "topics": ["tea"], "event_date": "2024-01-02T03:04:05Z", "user_id": None},
    )
    assert (edited.text, edited.topics, edited.user_id) == ("White tea calms", ["tea"], "alice")
    assert edited.event_date == datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (await client.get_long_term_memory(identifier)).text == "White tea calms"
    assert edited.updated_at > NOW
    with pytest.raises(MemoryServerError, match="No fields provided for update") as refused:
        await client.edit_long_term_memory(identifier, {})
    assert refused.value.status_code == 400
    with pytest.raises(MemoryNotFoundError):
        await client.edit_long_term_memory(f"{namespace}-absent", {"text": "x"})


async def test_delete_counts_what_was_there(client: MemoryAPIClient, namespace: str) -> None:
    """delete_long_term_memories says how many were really deleted; unknown ids are no error."""
    await fill(client, namespace)
    answered = await client.delete_long_term_memories([f"{namespace}-1", f"{namespace}-2", f"{namespace}-absent"])
    assert answered.status == "ok, deleted 2 memories"
    with pytest.raises(MemoryNotFoundError):
        await client.get_long_term_memory(f"{namespace}-1")
    assert await ids_found(client) == {f"{namespace}-3", f"{namespace}-4"}


async def test_forget_by_age_dry_and_real(client: MemoryAPIClient, namespace: str) -> None:
    """A dry run names what would go and deletes nothing; the real run deletes exactly that."""
    await fill(client, namespace)
    policy = ForgetPolicy(max_age_days=2)
    dry = await client.forget_long_term_memories(policy, namespace=namespace, dry_run=True)
    assert (dry.dry_run, set(dry.deleted_ids)) == (True, {f"{namespace}-1", f"{namespace}-2"})
    assert len(await ids_found(client)) == 4
    real = await client.forget_long_term_memories(
        policy, namespace=namespace, pinned_ids=[f"{namespace}-1"], limit=100, user_id="alice"
    )
    # The client says dry_run=False by sending nothing, and is understood.
    assert not real.dry_run
    assert real.deleted_ids == [f"{namespace}-2"]
    assert await ids_found(client) == {f"{namespace}-{number}" for number in (1, 3, 4)}


async def test_forget_by_inactivity_budget_and_type(client: MemoryAPIClient, namespace: str) -> None:
    """The other rules of a policy select by last access, by count of the newest, and by type."""
    await fill(client, namespace)

    async def would_go(**policy: Any) -> set[str]:
        outcome = await client.forget_long_term_memories(ForgetPolicy(**policy), namespace=namespace, dry_run=True)
        return {identifier.removeprefix(f"{namespace}-") for identifier in outcome.deleted_ids}

    assert await would_go(max_inactive_days=3) == {"1"}
    assert await would_go(max_age_days=0, memory_type_allowlist=["episodic"]) == {"2", "3"}
    assert len(await would_go(budget=3)) == 1


async def test_promote_working_memories(client: MemoryAPIClient, namespace: str) -> None:
    """The client's own promotion (GET, then create) is accepted as it is and finds its memories again."""
    memories: list[MemoryRecord | ClientMemoryRecord] = [
        record(f"{namespace}-p{i}", f"Promoted fact {i}") for i in (1, 2)
    ]
    await client.put_working_memory("p", WorkingMemory(session_id="p", memories=memories))
    one = await client.promote_working_memories_to_long_term("p", memory_ids=[f"{namespace}-p1"])
    assert one.status.startswith("ok")
    assert (await client.get_long_term_memory(f"{namespace}-p1")).text == "Promoted fact 1"
    everything = await client.promote_working_memories_to_long_term("p")
    assert everything.status.startswith("ok")
    assert (await client.get_long_term_memory(f"{namespace}-p2")).text == "Promoted fact 2"
    assert (await client.promote_working_memories_to_long_term("p", memory_ids=["none"])).status == "ok"


async def test_errors_carry_status_and_detail(client: MemoryAPIClient) -> None:
    """Failures reach the client's exceptions with the status, and 404 becomes MemoryNotFoundError."""
    with pytest.raises(MemoryNotFoundError):
        await client.get_long_term_memory("no-such-memory")
    with pytest.raises(MemoryServerError) as refused:
        await client.search_long_term_memory("x", limit=1000)
    assert refused.value.status_code == 422
    assert "limit" in str(refused.value)


async def test_client_side_validation_is_untouched(client: MemoryAPIClient) -> None:
    """The client's own validators accept records that this server returned."""
    created = ClientMemoryRecord(text="valid", memory_type=MemoryTypeEnum.SEMANTIC)
    await client.create_long_term_memory([created])
    client.validate_memory_record(await client.get_long_term_memory(created.id))
    client.validate_search_filters(limit=1, offset=0, distance_threshold=0.5)
    with pytest.raises(MemoryValidationError):
        client.validate_search_filters(nonsense=1)
