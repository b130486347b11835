"""P11: whatever is acknowledged reads back equal; whatever cannot be is a 4xx that names the field. Found by hypothesis."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timezone
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ulid import ULID

from tests.problem_details import assert_problem
from tests.server_process import ServerProcess

quickly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

any_text = st.text(st.characters(), max_size=60)
"""Every code point, lone surrogates and NUL included."""
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
numbers = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
)
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, any_text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(any_text, inner, max_size=4)),
    max_leaves=12,
)
json_objects = st.dictionaries(any_text, json_values, max_size=5)
times = st.datetimes(
    datetime(1, 1, 1, 15), datetime(2025, 12, 31), timezones=st.sampled_from([UTC, timezone.max, timezone.min])
)
tags = st.lists(any_text, max_size=5)


@pytest.fixture(scope="module")
def http(shared_server: ServerProcess) -> Iterator[httpx.Client]:
    with shared_server.client() as client:
        yield client


def send(client: httpx.Client, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
    """Send JSON as a careless client would: lone surrogates as escapes, every number as Python writes it."""
    headers = {"content-type": "application/json"}
    return client.request(method, path, content=json.dumps(body).encode(), headers=headers)


def refused_with_a_name(response: httpx.Response, field: str) -> None:
    """A 4xx whose detail leads to the field (the contract fixes a few sentences that name it only in words)."""
    problem = assert_problem(response, 400, 422)
    if response.status_code == 422:
        found: list[dict[str, Any]] = problem["detail"]
        assert any(field in [str(part) for part in each["loc"]] or "Memory at index" in each["msg"] for each in found)


def exactly(value: Any) -> str:
    """JSON text that tells 1 from 1.0 and True, so that equality is of what a client sees."""
    return json.dumps(value, sort_keys=True)


@quickly
@given(data=json_objects)
@example(data={"": {"a": [[], {}, None, "", 0.0, -0.0, 1e300, 5e-324, 2**53 + 1, 10**30]}})
@example(data={"k": "\x00"})
@example(data={"\ud800": 1})
@example(data={"__proto__": {"$ref": "#"}, "a.b": 1, "a'b\"": 2, "🙂": "👩‍👩‍👧"})
def test_session_data_reads_back_equal(http: httpx.Client, data: dict[str, Any]) -> None:
    """Arbitrary JSON in a session's data comes back exactly, or is refused with its place."""
    session = f"/v1/working-memory/{ULID()}"
    response = send(http, "PUT", session, {"data": data})
    if response.status_code != 200:
        refused_with_a_name(response, "data")
        return
    for seen in (response, http.get(session)):
        assert seen.status_code == 200, seen.text
        assert exactly(seen.json()["data"]) == exactly(data)


@quickly
@given(data=json_objects)
def test_a_null_in_session_data_is_kept_by_put_and_removes_by_patch(http: httpx.Client, data: dict[str, Any]) -> None:
    """PATCH merges by RFC 7396: patching the same data again changes nothing but removes its top-level nulls."""
    session = f"/v1/working-memory/{ULID()}"
    if send(http, "PUT", session, {"data": data}).status_code != 200:
        return
    response = send(http, "PATCH", session, {"data": dict.fromkeys(data)})
    assert response.status_code == 200, response.text
    assert http.get(session).json()["data"] == {}


@quickly
@given(
    content=any_text,
    role=words,
    name=st.one_of(st.none(), words),
    identifier=words,
    created_at=st.one_of(times, st.none()),
)
@example(content="\x00", role="user", name=None, identifier="x", created_at=None)
@example(content="\ud800", role="user", name=None, identifier="x", created_at=None)
@example(content=" leading and trailing \r\n\t", role="user", name="Zoë", identifier="a/b?c#d%2F", created_at=None)
@example(content="x", role="user", name=None, identifier="..", created_at=datetime(1, 1, 2, tzinfo=UTC))
def test_a_message_reads_back_equal(
    http: httpx.Client, content: str, role: str, name: str | None, identifier: str, created_at: datetime | None
) -> None:
    """A message's id, role, name, content and time come back exactly through PUT, GET and the page of messages."""
    session = f"/v1/working-memory/{ULID()}"
    message: dict[str, Any] = {"id": identifier, "role": role, "content": content, "name": name}
    message["created_at"] = created_at.isoformat() if created_at else None
    response = send(http, "PUT", session, {"messages": [message]})
    if response.status_code != 200:
        refused_with_a_name(response, "messages")
        return
    whole = http.get(session).json()["messages"]
    page = http.get(f"{session}/messages").json()["messages"]
    for messages in (whole, page):
        assert len(messages) == 1
        read = messages[0]
        assert {key: read.get(key) for key in ("id", "role", "content")} == {
            "id": identifier,
            "role": role,
            "content": content,
        }
        assert read.get("name") == name
        if created_at:
            assert datetime.fromisoformat(read["created_at"]) == created_at


@quickly
@given(
    text=any_text,
    topics=tags,
    metadata=json_objects,
    event_date=st.one_of(times, st.none()),
    session_id=st.one_of(st.none(), words),
    strategy=words,
)
@example(text="a\x00b", topics=[], metadata={}, event_date=None, session_id=None, strategy="discrete")
@example(text="ok", topics=["a,b"], metadata={}, event_date=None, session_id=None, strategy="discrete")
@example(text="ok", topics=["", " "], metadata={}, event_date=None, session_id=None, strategy="discrete")
@example(text="ok", topics=["dup", "dup"], metadata={}, event_date=None, session_id=None, strategy="discrete")
@example(text="ok", topics=[], metadata={"n": 10**400}, event_date=None, session_id=None, strategy="discrete")
def test_a_memory_reads_back_equal(
    http: httpx.Client,
    text: str,
    topics: list[str],
    metadata: dict[str, Any],
    event_date: datetime | None,
    session_id: str | None,
    strategy: str,
) -> None:
    """A memory's text, tags, metadata and times come back exactly by id, or the request is refused with the place."""
    identifier, user = str(ULID()), str(ULID())
    memory: dict[str, Any] = {
        "id": identifier,
        "text": text,
        "topics": topics,
        "metadata": metadata,
        "user_id": user,
        "session_id": session_id,
        "extraction_strategy": strategy,
        "event_date": event_date.isoformat() if event_date else None,
    }
    response = send(http, "POST", "/v1/long-term-memory/", {"memories": [memory]})
    if response.status_code != 200:
        refused_with_a_name(response, "memories")
        return
    by_id = http.get(f"/v1/long-term-memory/{identifier}").json()
    listed = http.get("/v1/long-term-memory", params={"user_id": user}).json()["memories"]
    found = send(http, "POST", "/v1/long-term-memory/search", {"user_id": {"eq": user}}).json()["memories"]
    assert [len(listed), len(found)] == [1, 1]
    for read in (by_id, listed[0], found[0]):
        assert read["text"] == text
        assert read["topics"] == topics
        assert exactly(read["metadata"]) == exactly(metadata)
        assert (read["session_id"], read["extraction_strategy"]) == (session_id, strategy)
        if event_date:
            assert datetime.fromisoformat(read["event_date"]) == event_date


@quickly
@given(identifier=any_text, owner=any_text)
@example(identifier="a/b", owner="a b")
@example(identifier="..", owner=".")
@example(identifier="search", owner="%2F")
@example(identifier="a/messages", owner="ü")
@example(identifier="%00", owner="x")
@example(identifier="\r\nX-Injected: 1", owner="\r\n")
def test_any_id_addresses_its_own_record(http: httpx.Client, identifier: str, owner: str) -> None:
    """Percent-encoded, an id of any characters finds its session and its memory; a blank or unencodable one is refused."""
    unique = str(ULID())
    mine = f"{unique}{identifier}"
    segment = quote(mine, safe="", errors="surrogatepass")
    scope = {"namespace": owner, "user_id": unique}
    query = f"?user_id={unique}&namespace={quote(owner, safe='', errors='surrogatepass')}"
    put = send(http, "PUT", f"/v1/working-memory/{segment}", {"context": mine, **scope})
    created = send(http, "POST", "/v1/long-term-memory/", {"memories": [{"id": mine, "text": "text", **scope}]})
    assert (put.status_code == 200) == (created.status_code == 200), f"{put.text} {created.text}"
    if put.status_code != 200:
        assert_problem(put, 400, 422)
        assert_problem(created, 422)
        return
    session = http.get(f"/v1/working-memory/{segment}{query}")
    memory = http.get(f"/v1/long-term-memory/{segment}{query}")
    assert [session.status_code, memory.status_code] == [200, 200]
    assert session.json()["session_id"] == mine
    assert (memory.json()["id"], memory.json()["namespace"]) == (mine, owner)
    assert (
        http.delete(f"/v1/long-term-memory?memory_ids={segment}&user_id={unique}")
        .json()["status"]
        .startswith("ok, deleted 1")
    )
    assert http.delete(f"/v1/working-memory/{segment}{query}").status_code == 200
    assert http.get(f"/v1/working-memory/{segment}{query}").status_code == 404
