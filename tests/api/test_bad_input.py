"""Bad input over HTTP: a clear 4xx that names the field, or an exact round trip; never a 5xx."""

from __future__ import annotations

import json
from typing import Any

import httpx
import orjson
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

CREATE = "/v1/long-term-memory/"
JSON = {"content-type": "application/json"}
AT = "2026-01-01T00:00:00Z"


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def memory(**fields: Any) -> dict[str, Any]:
    return {"memories": [{"id": "bad-input", "text": "text", **fields}]}


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi", "created_at": AT, **fields}]}


MEMORY = ("body", "memories", 0)
MESSAGE = ("body", "messages", 0)


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ({}, ("body", "memories"), "Field required"),
        ([], ("body",), "valid dictionary"),
        ({"memories": None}, ("body", "memories"), "valid list"),
        ({"memories": [None]}, MEMORY, "valid dictionary"),
        ({"memories": [{"text": "t"}]}, (*MEMORY, "id"), "Field required"),
        ({"memories": [{"id": "i"}]}, (*MEMORY, "text"), "Field required"),
        (memory(id=""), ("body",), "Value error, Memory at index 0 has empty id"),
        (memory(text=""), ("body",), "Value error, Memory at index 0 has empty text"),
        (memory(text=" \n\t"), ("body",), "Value error, Memory at index 0 has empty text"),
        (memory(id=7), (*MEMORY, "id"), "valid string"),
        (memory(text="x" * 100_001), (*MEMORY, "text"), "100000"),
        (memory(id="x" * 513), (*MEMORY, "id"), "512"),
        (memory(user_id=""), (*MEMORY, "user_id"), "at least 1 character"),
        (memory(user_id="  "), (*MEMORY, "user_id"), "blank"),
        (memory(namespace=" "), (*MEMORY, "namespace"), "blank"),
        (
            memory(topics=["a,b"]),
            (*MEMORY, "topics"),
            "topics[0] contains a comma: 'a,b'. Commas are not allowed because they are used as delimiters in storage.",
        ),
        (memory(entities=["ok", "a,b"]), (*MEMORY, "entities"), "entities[1] contains a comma"),
        (memory(extracted_from=["a,b"]), (*MEMORY, "extracted_from"), "contains a comma"),
        (memory(topics=["t"] * 257), (*MEMORY, "topics"), "256"),
        (memory(topics="tea"), (*MEMORY, "topics"), "valid list"),
        (memory(topics=["x" * 513]), (*MEMORY, "topics", 0), "512"),
        (memory(memory_type="odd"), (*MEMORY, "memory_type"), "semantic"),
        (memory(access_count=-1), (*MEMORY, "access_count"), "greater than or equal to 0"),
        (memory(access_count=2**70), (*MEMORY, "access_count"), "less than or equal to"),
        (memory(pinned="perhaps"), (*MEMORY, "pinned"), "boolean"),
        (memory(discrete_memory_extracted="x"), (*MEMORY, "discrete_memory_extracted"), "'t' or 'f'"),
        (memory(created_at="yesterday"), (*MEMORY, "created_at"), "datetime"),
        (memory(created_at="0000-01-01T00:00:00Z"), (*MEMORY, "created_at"), "datetime"),
        (memory(created_at="0001-01-01T00:00:00+01:00"), (*MEMORY, "created_at"), "years 1 to 9999"),
        (memory(event_date="9999-12-31T23:59:59-01:00"), (*MEMORY, "event_date"), "years 1 to 9999"),
        (memory(event_date=10**30), (*MEMORY, "event_date"), "date"),
        (memory(metadata=[]), (*MEMORY, "metadata"), "valid dictionary"),
        (memory(metadata=nested(65)), (*MEMORY, "metadata"), "64 levels"),
        (memory(metadata={"a": "x" * 1_048_577}), (*MEMORY, "metadata"), "1048576 bytes"),
        (memory(extraction_strategy_config=nested(65)), (*MEMORY, "extraction_strategy_config"), "64 levels"),
        (memory(text="a\0b"), (*MEMORY, "text"), "NUL"),
        (memory(id="a\0b"), (*MEMORY, "id"), "NUL"),
        (memory(metadata={"a": ["\0"]}), (*MEMORY, "metadata", "a", 0), "NUL"),
        (memory(metadata={"\0": 1}), (*MEMORY, "metadata"), "NUL"),
        (
            {"memories": [{"id": "one", "text": "t"}, {"id": "one", "text": "u"}]},
            ("body", "memories", 1, "id"),
            "twice",
        ),
        ({"memories": [{"id": str(n), "text": "t"} for n in range(1_001)]}, ("body", "memories"), "1000"),
    ],
)
async def test_a_memory_that_cannot_be_stored_is_422_and_names_the_field(
    client: httpx.AsyncClient, body: Any, place: tuple[str | int, ...], words: str
) -> None:
    """And nothing of the request is stored."""
    response = await client.post(CREATE, content=as_json(body), headers=JSON)
    assert response.status_code == 422, response.text
    problem = response.json()["detail"][0]
    assert tuple(problem["loc"]) == place
    assert words in problem["msg"]
    assert (await client.get("/v1/long-term-memory/bad-input")).status_code == 404


@pytest.mark.parametrize(
    ("body", "place", "words"),
    [
        ([], ("body",), "valid dictionary"),
        ({"messages": {}}, ("body", "messages"), "valid list"),
        ({"messages": [1]}, MESSAGE, "valid dictionary"),
        ({"messages": [{"content": "hi"}]}, (*MESSAGE, "role"), "Field required"),
        ({"messages": [{"role": "user"}]}, (*MESSAGE, "content"), "Field required"),
        (message(content=None), (*MESSAGE, "content"), "valid string"),
        (message(content="x" * 1_000_001), (*MESSAGE, "content"), "1000000"),
        (message(id=""), (*MESSAGE, "id"), "at least 1 character"),
        (message(id=5), (*MESSAGE, "id"), "valid string"),
        (message(created_at="soon"), (*MESSAGE, "created_at"), "datetime"),
        (
            message(created_at="2999-01-01T00:00:00Z"),
            (*MESSAGE, "created_at"),
            "created_at cannot be more than 300 seconds",
        ),
        (message(discrete_memory_extracted="yes"), (*MESSAGE, "discrete_memory_extracted"), "'t' or 'f'"),
        (message(content="a\0"), (*MESSAGE, "content"), "NUL"),
        (message(name="x" * 513), (*MESSAGE, "name"), "512"),
        ({"messages": [{"role": "user", "content": "a", "id": "1"}] * 2}, ("body", "messages", 1, "id"), "twice"),
        ({"messages": [{"role": "u", "content": "a"}] * 10_001}, ("body", "messages"), "10000"),
        ({"memories": [{"id": "", "text": "t"}]}, ("body",), "Value error, Memory at index 0 has empty id"),
        ({"memories": [{"id": "a", "text": ""}]}, ("body",), "Value error, Memory at index 0 has empty text"),
        ({"memories": [{"text": "t", "topics": ["a,b"]}]}, ("body", "memories", 0, "topics"), "comma"),
        ({"ttl_seconds": 0}, ("body", "ttl_seconds"), "greater than or equal to 1"),
        ({"ttl_seconds": -5}, ("body", "ttl_seconds"), "greater than or equal to 1"),
        ({"ttl_seconds": 1e12}, ("body", "ttl_seconds"), "less than or equal to"),
        ({"ttl_seconds": 1.5}, ("body", "ttl_seconds"), "integer"),
        ({"tokens": -1}, ("body", "tokens"), "greater than or equal to 0"),
        ({"data": []}, ("body", "data"), "valid dictionary"),
        ({"data": {"n": 2**64}}, ("body", "data"), "64 bits"),
        ({"data": nested(65)}, ("body", "data"), "64 levels"),
        ({"context": 5}, ("body", "context"), "valid string"),
        ({"context": "\0"}, ("body", "context"), "NUL"),
        ({"user_id": ""}, ("body", "user_id"), "at least 1 character"),
        ({"namespace": "\t"}, ("body", "namespace"), "blank"),
        (
            {"long_term_memory_strategy": {"strategy": "magic"}},
            ("body", "long_term_memory_strategy", "strategy"),
            "custom",
        ),
        ({"long_term_memory_strategy": "summary"}, ("body", "long_term_memory_strategy"), "valid dictionary"),
    ],
)
async def test_a_session_that_cannot_be_stored_is_422_and_names_the_field(
    client: httpx.AsyncClient, new_id: str, body: Any, place: tuple[str | int, ...], words: str
) -> None:
    """And nothing of the request is stored."""
    path = f"/v1/working-memory/{new_id}"
    response = await client.put(path, content=as_json(body), headers=JSON)
    assert response.status_code == 422, response.text
    problem = response.json()["detail"][0]
    assert tuple(problem["loc"]) == place
    assert words in problem["msg"]
    assert (await client.get(path)).status_code == 404


async def test_blank_content_is_400_with_the_contracts_words(client: httpx.AsyncClient, new_id: str) -> None:
    """In PUT and append."""
    body = {"messages": [{"role": "user", "content": " \n", "id": "m1", "created_at": AT}]}
    for response in (
        await client.put(f"/v1/working-memory/{new_id}", json=body),
        await client.post(f"/v1/working-memory/{new_id}/messages", json=body),
    ):
        assert response.status_code == 400
        assert response.json()["detail"] == "Message content cannot be empty (message ID: m1)"


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({}, ["body", "messages"]),
        ({"messages": []}, ["body", "messages"]),
        ({"messages": None}, ["body", "messages"]),
        ({"messages": [{"role": "u", "content": "a"}] * 1_001}, ["body", "messages"]),
        ({"messages": [{"role": "u", "content": "a", "id": "1"}] * 2}, ["body", "messages", 1, "id"]),
        ({"messages": [{"role": "u", "content": "a"}], "user_id": " "}, ["body", "user_id"]),
    ],
)
async def test_an_append_that_makes_no_sense_is_422(
    client: httpx.AsyncClient, new_id: str, body: Any, place: list[str | int]
) -> None:
    """Between one and a thousand messages, each id once."""
    response = await client.post(f"/v1/working-memory/{new_id}/messages", json=body)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == place


@pytest.mark.parametrize(
    "raw",
    [
        b"{", b"nonsense", b"{'a': 1}", b'{"data": NaN}', b'{"data": {"a": NaN}}', b'{"data": {"a": Infinity}}',
        b'{"data": {"a": 1e999}}', b'{"data": {"a": -1e999}}', b'{"data": {"a": 123456789012345678901234567890}}',
        b'{"context": "\\ud800"}', b'{"context": "\\udc00\\ud800"}', b'{"context": "\xff"}', b'{"context": "\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}", b'{"data": ' + b'{"a":' * 250 + b"1" + b"}" * 251, b'{"data": {"a": ' + b"[" * 100_000,
        b'{"tokens": 1e999}', b'{"tokens": ' + b"9" * 5_000 + b"}", b'{"created_at": 1e300}', b'{"context": "a\nb"}',
        b"\x00", b"{}{}", b'{"a": 01}', b"[1, 2,]",
    ],
)  # fmt: skip
async def test_what_is_not_plain_json_is_422(client: httpx.AsyncClient, new_id: str, raw: bytes) -> None:
    """Broken, beyond doubles and 64 bits, lone surrogates, invalid UTF-8, too deep."""
    response = await client.put(f"/v1/working-memory/{new_id}", content=raw, headers=JSON)
    assert response.status_code == 422, response.text
    assert response.json()["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("raw", [b"", b"  "])
async def test_a_missing_body_is_422(client: httpx.AsyncClient, new_id: str, raw: bytes) -> None:
    """As a missing field."""
    response = await client.put(f"/v1/working-memory/{new_id}", content=raw)
    assert response.json()["detail"][0] == {"type": "missing", "loc": ["body"], "msg": "Field required"}


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 200), ("", 200), ("application/json", 200), ("application/json; charset=utf-8", 200),
        ('Application/JSON; Charset="UTF-8"', 200), ("application/merge-patch+json", 200), ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415), ("multipart/form-data; boundary=x", 415), ("application/xml", 415),
        ("application/json; charset=utf-16", 415), ("application/json; charset=latin-1", 415), ("nonsense", 415),
    ],
)  # fmt: skip
async def test_bodies_are_json_in_utf_8(
    client: httpx.AsyncClient, new_id: str, content_type: str | None, status: int
) -> None:
    """Another declared type is 415; none at all counts as JSON."""
    headers = {} if content_type is None else {"content-type": content_type}
    response = await client.put(f"/v1/working-memory/{new_id}", content=b"{}", headers=headers)
    assert response.status_code == status


async def test_extreme_values_come_back_exactly(client: httpx.AsyncClient, new_id: str) -> None:
    """Years 1 and 9999, microseconds, 64-bit integers, doubles, every script, odd but legal text."""
    metadata: dict[str, Any] = {
        "max": 2**63 - 1, "unsigned": 2**64 - 1, "min": -(2**63), "tiny": 5e-324, "huge": 1.7976931348623157e308,
        "zero": -0.0, "": "empty key", "unicode": "日本 🦊 e\u0301 \u202e \ufeff \u2028 \x01\x7f", "deep": nested(60),
        "list": [None, True, [], {}],
    }  # fmt: skip
    sent: dict[str, Any] = {
        "id": new_id, "text": "\ufeff odd \u2028 text \x01 🦊\r\n", "created_at": "0001-01-01T00:00:00Z",
        "event_date": "9999-12-31T23:59:59.999999Z", "updated_at": "2024-02-29T12:00:00.000001Z", "metadata": metadata,
        "topics": ["", " spaced ", "Ünï"], "name": "",
    }  # fmt: skip
    response = await client.post(CREATE, content=orjson.dumps({"memories": [sent]}), headers=JSON)
    assert response.status_code == 200, response.text
    record = orjson.loads((await client.get(f"/v1/long-term-memory/{new_id}")).content)
    assert {name: record[name] for name in sent} == sent


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2024-05-06T07:08:09", "2024-05-06T07:08:09Z"),
        ("2024-05-06T07:08:09+02:00", "2024-05-06T05:08:09Z"),
        ("2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09.123456Z"),
        ("2024-05-06", "2024-05-06T00:00:00Z"),
        (1715000000, "2024-05-06T12:53:20Z"),
        (1715000000.25, "2024-05-06T12:53:20.250000Z"),
        ("1715000000", "2024-05-06T12:53:20Z"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00Z"),
    ],
)
async def test_times_are_read_in_every_form_and_written_in_one(
    client: httpx.AsyncClient, new_id: str, given: object, expected: str
) -> None:
    """A naive time is UTC, an offset is applied, more than six digits of a second are cut, numbers are epoch seconds."""
    body = {"messages": [{"role": "user", "content": "hi", "created_at": given}], "created_at": given}
    stored = (await client.put(f"/v1/working-memory/{new_id}", json=body)).json()
    assert stored["messages"][0]["created_at"] == stored["created_at"] == expected
    read = (await client.get(f"/v1/working-memory/{new_id}")).json()
    assert read["messages"][0]["created_at"] == read["created_at"] == expected


@pytest.mark.parametrize(
    ("method", "path", "params", "place"),
    [
        ("GET", "/v1/working-memory/", {"limit": "0"}, "limit"),
        ("GET", "/v1/working-memory/", {"limit": "101"}, "limit"),
        ("GET", "/v1/working-memory/", {"limit": "ten"}, "limit"),
        ("GET", "/v1/working-memory/", {"offset": "-1"}, "offset"),
        ("GET", "/v1/working-memory/", {"offset": "9" * 30}, "offset"),
        ("GET", "/v1/working-memory/", {"user_id": ""}, "user_id"),
        ("GET", "/v1/working-memory/", {"namespace": " "}, "namespace"),
        ("GET", "/v1/working-memory/s", {"user_id": ""}, "user_id"),
        ("GET", "/v1/working-memory/s", {"context_window_max": "-1"}, "context_window_max"),
        ("GET", "/v1/working-memory/s", {"recent_messages_limit": "9" * 30}, "recent_messages_limit"),
        ("DELETE", "/v1/working-memory/s", {"namespace": ""}, "namespace"),
        ("DELETE", "/v1/working-memory/s", {"cascade": "perhaps"}, "cascade"),
        ("GET", "/v1/working-memory/s/messages", {"limit": "1001"}, "limit"),
        ("GET", "/v1/working-memory/s/messages", {"order": "up"}, "order"),
        ("GET", "/v1/long-term-memory", {"limit": "0"}, "limit"),
        ("GET", "/v1/long-term-memory", {"memory_type": "odd"}, "memory_type"),
        ("GET", "/v1/long-term-memory", {"user_id": "\t"}, "user_id"),
        ("GET", "/v1/long-term-memory/m", {"user_id": ""}, "user_id"),
        ("DELETE", "/v1/long-term-memory", {"namespace": ""}, "namespace"),
        ("DELETE", "/v1/long-term-memory", {"memory_ids": ["m"] * 1001}, "memory_ids"),
        ("DELETE", "/v1/long-term-memory", {"memory_ids": ""}, "memory_ids"),
        ("DELETE", "/v1/long-term-memory", {"memory_ids": "a\0"}, "memory_ids"),
        ("POST", "/v1/long-term-memory/compact", {"user_id": ""}, "user_id"),
        ("GET", "/v1/pending", {"namespace": ""}, "namespace"),
    ],
)
async def test_a_bad_query_is_422_and_names_the_parameter(
    client: httpx.AsyncClient, method: str, path: str, params: dict[str, Any], place: str
) -> None:
    """In the shape that clients know."""
    response = await client.request(method, path, params=params)
    assert response.status_code == 422, response.text
    assert response.json()["detail"][0]["loc"][:2] == ["query", place]


async def test_a_limit_out_of_range_reads_as_in_the_contract(client: httpx.AsyncClient) -> None:
    """Type, place, message, input and context, exactly."""
    response = await client.get("/v1/working-memory/?limit=0")
    assert response.json()["detail"] == [
        {
            "type": "greater_than_equal",
            "loc": ["query", "limit"],
            "msg": "Input should be greater than or equal to 1",
            "input": "0",
            "ctx": {"ge": 1},
        }
    ]


@pytest.mark.parametrize(
    "sent",
    [
        {"topics": "tea"},
        {"created_at": "2026-01-01"},
        {"user_id": ["ann"]},
        {"limit": {}},
        {"user_id": {"eq": ""}},
        {"user_id": {}},
        {"event_date": {"gt": 1, "between": [1]}},
    ],
)
async def test_each_problem_has_the_members_that_clients_know(client: httpx.AsyncClient, sent: dict[str, Any]) -> None:
    """``input`` too, null where it is no scalar; what should be an object is told in FastAPI's words, naming no class."""
    response = await client.post("/v1/long-term-memory/search", json=sent)
    assert response.status_code == 422
    for problem in response.json()["detail"]:
        assert {"type", "loc", "msg", "input"} <= set(problem) <= {"type", "loc", "msg", "input", "ctx"}
        assert "Filter" not in str(problem)
    if not isinstance(next(iter(sent.values())), dict):
        assert (
            response.json()["detail"][0]["msg"] == "Input should be a valid dictionary or object to extract fields from"
        )


async def test_a_query_that_is_not_utf_8_is_422(client: httpx.AsyncClient) -> None:
    """Bytes that mean nothing are not guessed at."""
    assert (await client.get("/v1/working-memory/?user_id=%ff")).status_code == 422


async def test_an_error_never_echoes_a_large_input(client: httpx.AsyncClient) -> None:
    """Neither a long text nor thousands of problems."""
    body = {"memories": [{"id": "x" * 10_000, "text": 5}] * 900}
    response = await client.post(CREATE, json=body)
    assert response.status_code == 422
    assert len(response.content) < 50_000


def as_json(body: Any) -> bytes:
    """JSON of integers beyond 64 bits too."""
    return json.dumps(body).encode()
