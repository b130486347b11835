"""What the reference server keeps in its Redis, written by its documented layout: what real deployments hold after years."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import bcrypt
import numpy as np
import redis

T0 = 1_760_000_000.0
"""2025-10-09T08:53:20Z, as the layout writes it: seconds since the epoch."""
DIMENSIONS = 1536
TOKEN = "the-token-of-the-reference-server-0123456789"
Client = redis.Redis


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def vector(seed: int, dimensions: int = DIMENSIONS) -> bytes:
    """Not of unit length: the reference stored what the endpoint answered."""
    return (np.random.default_rng(seed).normal(size=dimensions) * 3).astype("<f4").tobytes()


def memory_fields(identity: str, said: str | bytes, **changes: Any) -> dict[Any, Any]:
    """The fields of one hash. A change to None leaves the field out."""
    fields: dict[str, Any] = {
        "text": said,
        "id_": identity,
        "session_id": "",
        "user_id": "",
        "namespace": "",
        "memory_type": "semantic",
        "extraction_strategy": "discrete",
        "extraction_strategy_config": "{}",
        "metadata": "{}",
        "topics": "",
        "entities": "",
        "extracted_from": "",
        "memory_hash": f"hash-of-{identity}",
        "discrete_memory_extracted": "t",
        "pinned": 0,
        "access_count": 0,
        "created_at": T0,
        "last_accessed": T0,
        "updated_at": T0,
        "vector": vector(len(identity)),
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not None}


def put_memory(client: Client, identity: str, said: str | bytes, *, prefix: str = "memory_idx", **changes: Any) -> None:
    client.hset(f"{prefix}:{identity}", mapping=memory_fields(identity, said, **changes))  # pyright: ignore[reportUnknownMemberType]


def message(identity: str | None, role: str, content: str, seconds: float = T0, **changes: Any) -> dict[str, Any]:
    return {
        "role": role,
        "content": content,
        "id": identity,
        "created_at": moment(seconds).isoformat().replace("+00:00", "Z"),
        "persisted_at": None,
        "discrete_memory_extracted": "t",
        **changes,
    }


def session_document(session_id: str | None, **changes: Any) -> dict[str, Any]:
    return {
        "messages": [],
        "memories": [],
        "context": None,
        "user_id": None,
        "tokens": 0,
        "session_id": session_id,
        "namespace": None,
        "ttl_seconds": None,
        "data": {},
        "long_term_memory_strategy": {"strategy": "discrete", "config": {}},
        "last_accessed": int(T0),
        "created_at": int(T0),
        "updated_at": int(T0),
        **changes,
    }


def put_session(
    client: Client, key: str, document: dict[str, Any], *, ttl_s: int | None = None, old: bool = False
) -> None:
    """``old``: a string, as versions before RedisJSON wrote it."""
    if old:
        client.set(key, json.dumps(document))
    else:
        client.execute_command("JSON.SET", key, "$", json.dumps(document))  # pyright: ignore[reportUnknownMemberType]
    if ttl_s is not None:
        client.expire(key, ttl_s)


def put_view(client: Client, view_id: str, **changes: Any) -> None:
    view: dict[str, Any] = {
        "id": view_id,
        "name": None,
        "source": "long_term",
        "group_by": ["user_id"],
        "filters": {},
        "time_window_days": None,
        "continuous": False,
        "prompt": None,
        "model_name": None,
        **changes,
    }
    client.set(f"summary_view:{view_id}:config", json.dumps(view))
    client.sadd("summary_view:index", view_id)


def put_partition(client: Client, view_id: str, group: dict[str, str], summary: str, **changes: Any) -> None:
    named = "|".join(f"{quote(name, safe='')}={quote(group[name], safe='')}" for name in sorted(group))
    result = {
        "view_id": view_id,
        "group": group,
        "summary": summary,
        "memory_count": 2,
        "empty": False,
        "empty_reason": None,
        "computed_at": moment(T0 + 60).isoformat(),
        **changes,
    }
    client.set(f"summary_view:{view_id}:summary:{named}", json.dumps(result))


def put_task(client: Client, task_id: str, status: str, view_id: str, **changes: Any) -> None:
    task = {
        "id": task_id,
        "type": "summary_view_full_run",
        "status": status,
        "view_id": view_id,
        "created_at": moment(T0).isoformat(),
        "started_at": None,
        "completed_at": None,
        "error_message": None,
        **changes,
    }
    client.set(f"task:{task_id}", json.dumps(task), ex=7 * 86_400)


def put_token(client: Client, token: str, description: str) -> str:
    """Returns the hash."""
    hashed = bcrypt.hashpw(token.encode(), bcrypt.gensalt(rounds=4)).decode()
    held = {"description": description, "created_at": moment(T0).isoformat(), "expires_at": None, "token_hash": hashed}
    client.set(f"auth_token:{hashed}", json.dumps(held))
    client.sadd("auth_tokens:list", hashed)
    return hashed


def make_indexes(
    client: Client, *, name: str = "memory_records", prefix: str = "memory_idx", dimensions: int = DIMENSIONS
) -> None:
    """The two search indexes, with the fields that the layout names."""
    tags = ("session_id", "user_id", "namespace", "memory_type", "topics", "entities", "memory_hash", "id_")
    more = ("discrete_memory_extracted", "extraction_strategy", "pinned", "extracted_from")
    numbers = ("access_count", "created_at", "last_accessed", "updated_at", "persisted_at", "event_date")
    fields: list[Any] = ["text", "TEXT"]
    for tag in (*tags, *more):
        fields += [tag, "TAG"]
    for number in numbers:
        fields += [number, "NUMERIC"]
    fields += ["vector", "VECTOR", "HNSW", 6, "TYPE", "FLOAT32", "DIM", dimensions, "DISTANCE_METRIC", "COSINE"]
    client.execute_command("FT.CREATE", name, "ON", "HASH", "PREFIX", 1, prefix, "SCHEMA", *fields)  # pyright: ignore[reportUnknownMemberType]


def fill(client: Client) -> None:
    """A deployment that has seen every version."""
    make_indexes(client)
    _fill_memories(client)
    _fill_sessions(client)
    put_view(client, "01JAVIEW000000000000000000", name="by user", continuous=True)
    put_partition(client, "01JAVIEW000000000000000000", {"user_id": "ann|e=x"}, "Ann likes tea.")
    put_partition(
        client, "01JAVIEW000000000000000000", {"user_id": "bob"}, "", empty=True, empty_reason="no_matching_memories"
    )
    put_partition(client, "01JAGONE000000000000000000", {"user_id": "bob"}, "of a view that was deleted")
    put_task(client, "task-done", "success", "01JAVIEW000000000000000000", completed_at=moment(T0 + 5).isoformat())
    put_task(client, "task-open", "running", "01JAVIEW000000000000000000", started_at=moment(T0).isoformat())
    put_token(client, TOKEN, "the old one")
    client.set("extraction_pending:chat", moment(T0).isoformat())
    client.set("working_memory:migration:complete", "true")
    client.set("working_memory:migration:remaining", "0")
    # Another application's.
    client.set("shop:basket:1", "bread")
    client.hset("task:of-another-application", mapping={"type": "email"})  # pyright: ignore[reportUnknownMemberType]


def _fill_memories(client: Client) -> None:
    put_memory(
        client,
        "full",
        "Ann drinks green tea in the morning",
        user_id="Ann",
        namespace="home",
        session_id="chat",
        topics="drinks,habits",
        entities="Ann",
        extracted_from="m1,m2",
        metadata='{"source_session_id": "chat", "n": [1, 2.5]}',
        extraction_strategy_config='{"summary_version": "v1"}',
        pinned=1,
        access_count=7,
        memory_type="episodic",
        event_date=T0 - 3_600.5,
        persisted_at=T0 + 1,
        last_accessed=int(T0 + 9),
        updated_at=T0 + 2.25,
    )
    put_memory(client, "bars", "Bars between tags", topics="red|green", entities="A | B|", user_id="Ann")
    put_memory(client, "no-hash", "Never hashed", memory_hash=None, user_id="ann")
    put_memory(client, "empty", "", user_id="Ann")
    put_memory(client, "other-size", "Of another embedding model", vector=vector(5, 384), user_id="Ann")
    put_memory(client, "no-vector", "Never embedded", vector=None, user_id="Ann")
    put_memory(
        client, "ownerless", "Extracted from somebody, owner lost", memory_type=None, discrete_memory_extracted=None
    )
    put_memory(
        client, "01JA0000000000000000000000", "Without a time", created_at=None, last_accessed=None, updated_at=None
    )
    put_memory(client, "message-1", "assistant: Shall I order tea?", memory_type="message", extraction_strategy="message",
               session_id="chat", user_id="Ann", namespace="home")  # fmt: skip
    put_memory(client, "id/with:colons, commas|ü", "An id of any form", user_id="o'Brien, Pat")
    # Cannot be read.
    client.hset("memory_idx:ghost", mapping={"last_accessed": int(T0), "access_count": 3})  # pyright: ignore[reportUnknownMemberType]
    put_memory(client, "bad-json", "Broken metadata", metadata="{")
    put_memory(client, "bad-text", b"\xff\xfe")
    client.set("memory_idx_backup", "the index's prefix covers this key too, and it is no memory")


def _fill_sessions(client: Client) -> None:
    put_session(
        client,
        "working_memory:home:Ann:chat",
        session_document(
            "chat",
            namespace="home",
            user_id="Ann",
            messages=[
                message("m1", "user", "I like green tea", T0 + 1),
                message("m2", "assistant", "Noted", T0 + 2.5, persisted_at=moment(T0 + 3).isoformat()),
                message("m3", "user", "And coffee at night", T0 + 4, discrete_memory_extracted="f"),
            ],
            memories=[{**_session_memory("sm1", "Ann likes tea"), "persisted_at": moment(T0 + 3).isoformat()},
                      _session_memory("sm2", "not promoted yet")],
            context="They talked about tea.",
            data={"step": 2, "nested": {"a": [None, True]}},
            tokens=42,
            ttl_seconds=3600,
            long_term_memory_strategy={"strategy": "preferences", "config": {"x": 1}},
            updated_at=int(T0 + 100),
        ),
        ttl_s=3600,
    )  # fmt: skip
    put_session(
        client, "working_memory:plain", session_document("plain", messages=[message(None, "user", "no id, no owner")])
    )
    put_session(
        client,
        "working_memory:Bob:old",
        session_document("old", user_id="Bob", messages=[message("o1", "user", "from an older version")]),
        old=True,
    )
    # Key says ns "x" or user "x": the document knows.
    put_session(
        client,
        "working_memory:x:same",
        session_document("same", user_id="x", messages=[message("c1", "user", "user x")]),
    )
    put_session(
        client,
        "working_memory:a:b:c",
        session_document("b:c", namespace="a", messages=[message("t", "user", "one"), message("t", "user", "two")]),
    )
    put_session(client, "working_memory:who:knows", session_document(None, messages=[]))
    put_session(client, "working_memory:broken", {**session_document("broken"), "messages": [{"role": "user"}]})


def _session_memory(identity: str, text: str) -> dict[str, Any]:
    return {
        "id": identity,
        "text": text,
        "session_id": None,
        "user_id": None,
        "namespace": None,
        "created_at": moment(T0).isoformat(),
        "last_accessed": moment(T0).isoformat(),
        "updated_at": moment(T0).isoformat(),
        "memory_type": "semantic",
        "topics": ["tea"],
        "entities": None,
        "persisted_at": None,
        "discrete_memory_extracted": "t",
        "pinned": False,
        "access_count": 0,
    }
