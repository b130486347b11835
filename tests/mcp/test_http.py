"""Check 17: who is let in over HTTP, in which versions of the protocol, and what everybody else is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from agent_memory_server.domain.identity import Permission
from agent_memory_server.testing.running import RunningApp, running_app
from tests.mcp.messages import ACCEPTED, answer_in, headers, message, result_in, tool_call
from tests.problem_details import assert_problem
from tests.token_issuer import AUDIENCE, TokenIssuer, running_issuer

BASE = "http://agent-memory"
CLOCK = tool_call("get_current_datetime", {})
WRITE = tool_call("create_long_term_memories", {"memories": [{"text": "Ana likes tea"}]})
METADATA = "/.well-known/oauth-protected-resource"


@pytest.fixture
async def open_server() -> AsyncGenerator[RunningApp]:
    """Without authentication."""
    async with running_app(background=False) as running:
        yield running


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def made(running: RunningApp, *permissions: Permission) -> str:
    token, _ = await running.app.access_tokens.add(
        description="a test's", actor="test", permissions=permissions or tuple(Permission)
    )
    return token


async def test_no_credential_is_401_and_says_where_to_learn_more() -> None:
    """On every place of the server and for every body, before the body is looked at; the library is not even loaded."""
    async with running_app(auth_mode="token", background=False) as running:
        for url in ("/mcp", "/team/mcp", "/mcp/", "/mcp?token=x&access_token=y"):
            for content in (json.dumps(CLOCK), "{not json", ""):
                response = await running.client.post(url, headers=headers(), content=content)
                assert_problem(response, 401)
                path = url.partition("?")[0].rstrip("/")
                assert response.headers["www-authenticate"] == (
                    f'Bearer resource_metadata="{BASE}{METADATA}{path}", scope="memory:read memory:write"'
                )
        wrong = await running.client.post(
            "/mcp", headers=headers(bearer("nobody-ever-made-this-token-at-all")), json=CLOCK
        )
        assert_problem(wrong, 401)
        assert wrong.headers["www-authenticate"].startswith('Bearer error="invalid_token", resource_metadata="')


async def test_a_static_token_works_in_both_headers() -> None:
    """As Claude Code and Cursor send it, and as X-API-Key; a removed one stops working at once."""
    async with running_app(auth_mode="token", background=False) as running:
        token = await made(running)
        for sent in (bearer(token), {"x-api-key": token}):
            result_in(await running.client.post("/mcp", headers=headers(sent), json=CLOCK))
        (kept,) = await running.app.access_tokens.list()
        await running.app.access_tokens.remove(kept, actor="test")
        assert (await running.client.post("/mcp", headers=headers(bearer(token)), json=CLOCK)).status_code == 401


async def test_a_missing_permission_is_403_and_names_the_scope() -> None:
    """For a tool that writes or administers; listing and reading work."""
    async with running_app(auth_mode="token", background=False, mcp_tools="admin") as running:
        reader, writer = await made(running, Permission.READ), await made(running, Permission.WRITE)
        refused = await running.client.post("/mcp", headers=headers(bearer(reader)), json=WRITE)
        assert_problem(refused, 403)
        assert refused.headers["www-authenticate"] == (
            f'Bearer error="insufficient_scope", scope="memory:write", resource_metadata="{BASE}{METADATA}/mcp"'
        )
        result_in(await running.client.post("/mcp", headers=headers(bearer(writer)), json=WRITE))
        compact = tool_call("compact_long_term_memories", {})
        refused = await running.client.post("/mcp", headers=headers(bearer(writer)), json=compact)
        assert 'scope="memory:admin"' in refused.headers["www-authenticate"]
        listing = await running.client.post("/mcp", headers=headers(bearer(reader)), json=message("tools/list"))
        assert len(answer_in(listing)["result"]["tools"]) > 10
        result_in(await running.client.post("/mcp", headers=headers(bearer(reader)), json=CLOCK))


@pytest.fixture(scope="module")
def issuer() -> Any:
    with running_issuer() as running:
        yield running


def of_issuer(issuer: TokenIssuer) -> dict[str, Any]:
    """The settings that trust this issuer."""
    told = {name.lower(): value for name, value in issuer.environment.items()}
    return {**told, "oauth2_algorithms": json.loads(told["oauth2_algorithms"])}


async def test_oauth_tokens_of_the_right_audience_and_scope(issuer: TokenIssuer) -> None:
    """Wrong audience, issuer or time is 401, a missing scope 403; the metadata says whom to ask for what (RFC 9728)."""
    async with running_app(**of_issuer(issuer), background=False) as running:

        async def status(body: Any, token: str) -> int:
            return (await running.client.post("/mcp", headers=headers(bearer(token)), json=body)).status_code

        assert await status(WRITE, issuer.token()) == 200
        wrong: list[dict[str, Any]] = [
            {"aud": "https://other.example"}, {"aud": None}, {"iss": "https://other.example"}, {"exp": 1},
        ]  # fmt: skip
        for bad in wrong:
            assert await status(CLOCK, issuer.token(**bad)) == 401, bad
        assert await status(WRITE, issuer.token(scope="memory:read")) == 403
        assert await status(CLOCK, issuer.token(scope="memory:read")) == 200
        for path in ("", "/mcp", "/team/mcp"):
            document = (await running.client.get(f"{METADATA}{path}")).json()
            assert document == {
                "resource": AUDIENCE,
                "authorization_servers": [issuer.url],
                "scopes_supported": ["memory:read", "memory:write", "memory:admin"],
                "bearer_methods_supported": ["header"],
                "resource_name": "Agent Memory Server",
            }


async def test_the_metadata_is_about_what_is_there(open_server: RunningApp) -> None:
    """Without authentication there is none; with tokens of our own there is nobody else to ask."""
    assert (await open_server.client.get(f"{METADATA}/mcp")).status_code == 404
    async with running_app(auth_mode="token", background=False) as running:
        document = (await running.client.get(f"{METADATA}/team/mcp")).json()
        assert document["resource"] == f"{BASE}/team/mcp"
        assert "authorization_servers" not in document
        assert (await running.client.get(f"{METADATA}/v1/health")).status_code == 404
        assert (await running.client.post(f"{METADATA}/mcp")).status_code == 405


async def test_pages_of_other_origins_may_not_call() -> None:
    """403 before anything else; origins of this machine may on loopback, named ones may, and are told so by CORS."""
    async with running_app(
        background=False,
        mcp_allowed_origins=["https://app.example"],
        mcp_allowed_hosts=["agent-memory", "127.0.0.1:8000"],
    ) as running:
        for origin in (
            "http://evil.example",
            "null",
            "file://",
            "http://agent-memory.evil.example",
            "http://[",
            "https://app.example.evil",
        ):
            refused = await running.client.post("/mcp", headers=headers({"origin": origin}), json=CLOCK)
            assert_problem(refused, 403)
            assert "access-control-allow-origin" not in refused.headers
        for origin in ("https://app.example", BASE, "http://localhost:6274", "http://127.0.0.1:1"):
            answer = await running.client.post("/mcp", headers=headers({"origin": origin}), json=CLOCK)
            result_in(answer)
            assert answer.headers["access-control-allow-origin"] == origin
            asked = await running.client.options("/mcp", headers={"origin": origin})
            assert (asked.status_code, asked.headers["access-control-allow-methods"]) == (204, "POST")


async def test_a_name_that_is_not_ours_is_refused() -> None:
    """DNS rebinding: a page of evil.example that resolves to this machine sends evil.example as Host."""
    async with running_app(background=False, mcp_allowed_hosts=[]) as running:
        for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "agent-memory", ""):
            refused = await running.client.post("/mcp", headers=headers({"host": host}), json=CLOCK)
            assert_problem(refused, 421)
        for host in ("127.0.0.1:8000", "localhost", "[::1]:8000", "127.0.0.2"):
            result_in(await running.client.post("/mcp", headers=headers({"host": host}), json=CLOCK))
    async with running_app(background=False, mcp_allowed_hosts=["memory.example", "other.example:8000"]) as running:
        for host, status in (
            ("memory.example", 200), ("memory.example:9000", 200), ("other.example:8000", 200), ("other.example", 421),
            ("localhost", 421),
        ):  # fmt: skip
            answer = await running.client.post("/mcp", headers=headers({"host": host}), json=CLOCK)
            assert answer.status_code == status, host


@pytest.mark.parametrize("protocol", HANDSHAKE_PROTOCOL_VERSIONS)
async def test_every_version_with_a_handshake_works_without_a_session(open_server: RunningApp, protocol: str) -> None:
    """Stateless: a call needs no initialisation before it, and none is remembered."""
    sent = headers(protocol=protocol)
    asked = message(
        "initialize", protocolVersion=protocol, capabilities={}, clientInfo={"name": "test", "version": "1"}
    )
    greeting = await open_server.client.post("/mcp", headers=ACCEPTED, json=asked)
    assert "mcp-session-id" not in greeting.headers
    assert answer_in(greeting)["result"]["protocolVersion"] == protocol
    noted = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await open_server.client.post("/mcp", headers=sent, json=noted)).status_code == 202
    result_in(await open_server.client.post("/mcp", headers=sent, json=CLOCK))
    result_in(await open_server.client.post("/mcp", headers=ACCEPTED, json=CLOCK))


async def test_each_answer_is_one_line_for_every_client(open_server: RunningApp) -> None:
    """Some clients end lines at characters that may stand in a text, and would wait for an answer that they cut in two."""
    written = "one\u2028two\u2029three\x85four"
    stored = tool_call("create_long_term_memories", {"memories": [{"text": written}]})
    await open_server.client.post("/mcp", headers=headers(), json=stored)
    listed = tool_call("search_long_term_memory", {"text": "one"})
    response = await open_server.client.post("/mcp", headers=headers(), json=listed)
    (line,) = [each for each in response.text.splitlines() if each.startswith("data: {")]
    assert json.loads(line.removeprefix("data: "))["result"]["structuredContent"]["memories"][0]["text"] == written


async def test_the_newest_version_works(open_server: RunningApp) -> None:
    """Each request says everything about itself."""
    (newest,) = MODERN_PROTOCOL_VERSIONS
    about: dict[str, Any] = {
        "io.modelcontextprotocol/protocolVersion": newest,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = message("tools/call", name="get_current_datetime", arguments={}, _meta=about)
    sent = {**headers(protocol=newest), "mcp-method": "tools/call", "mcp-name": "get_current_datetime"}
    answer = await open_server.client.post("/mcp", headers=sent, json=body)
    assert "unix_ts" in result_in(answer)


@pytest.mark.parametrize("version", ["1999-01-01", "2030-01-01", "latest", "", "2025-11-25, 2025-06-18"])
async def test_an_unknown_version_is_400(open_server: RunningApp, version: str) -> None:
    """Whatever the message is."""
    for body in (CLOCK, message("tools/list"), {"jsonrpc": "2.0", "method": "notifications/initialized"}):
        answer = await open_server.client.post("/mcp", headers=headers(protocol=version), json=body)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff\xfe", -32700),
        (b"[]", None),
        (b"null", None),
        (b"{}", None),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": []}', None),
        (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', None),
        (b"[" * 5_000 + b"]" * 5_000, None),
    ],
)  # fmt: skip
async def test_what_is_no_message_is_400(open_server: RunningApp, content: bytes, code: int | None) -> None:
    """In the protocol's own form, and without a stack or path."""
    answer = await open_server.client.post("/mcp", headers=headers(), content=content)
    assert answer.status_code == 400
    error = answer_in(answer)["error"]
    assert code is None or error["code"] == code
    assert "agent_memory_server" not in answer.text


async def test_other_methods_media_types_and_paths(open_server: RunningApp) -> None:
    """405 says what is allowed: there is no stream to open and no session to end. The older transport is not in the API."""
    client = open_server.client
    for method in ("GET", "DELETE", "PUT", "PATCH", "OPTIONS"):
        answer = await client.request(method, "/mcp", headers=headers())
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await client.post("/mcp", headers={"accept": "text/html"}, json=CLOCK)).status_code == 406
    plain = {**headers(), "content-type": "text/plain"}
    assert (await client.post("/mcp", headers=plain, content=json.dumps(CLOCK))).status_code == 400
    for path in ("/sse", "/messages/", "/a/b/mcp", "/mcp/more"):
        assert (await client.get(path)).status_code == 404, path


async def test_a_message_has_a_limit(open_server: RunningApp) -> None:
    """413, with and without a Content-Length, and the advice to use REST."""

    async def in_pieces() -> AsyncGenerator[bytes]:
        for _ in range(5):
            yield b" " * 1024 * 1024

    for content in (b" " * 5 * 1024 * 1024, in_pieces()):
        answer = await open_server.client.post("/mcp", headers=headers(), content=content)
        assert_problem(answer, 413)
        assert "4194304 bytes; use the REST API" in answer.json()["detail"]


async def test_a_failing_store_is_told_and_a_401_is_never_made_of_it(tmp_path: Any) -> None:
    """When the store is gone, a credential cannot be checked: 503, not 401."""
    async with running_app(auth_mode="token", data_dir=tmp_path / "data", background=False) as running:
        token = await made(running)
        with (tmp_path / "data" / "memory.db").open("r+b") as database:
            database.write(b"\0" * 8192)
        answer = await running.client.post("/mcp", headers=headers(bearer(token)), json=CLOCK)
        assert_problem(answer, 503)


async def test_it_can_be_left_out() -> None:
    """MCP_IN_API=false: the path is none of ours."""
    async with running_app(mcp_in_api=False, background=False) as running:
        assert (await running.client.post("/mcp", headers=headers(), json=CLOCK)).status_code == 404


async def test_calls_of_one_process_leave_nothing_behind(open_server: RunningApp) -> None:
    """No session, task or stream stays when a call is answered, also one that failed."""
    await open_server.client.post("/mcp", headers=headers(), json=CLOCK)
    before = len(asyncio.all_tasks())
    for body in (CLOCK, message("nonsense"), tool_call("nonsense", {}), WRITE):
        for _ in range(5):
            await open_server.client.post("/mcp", headers=headers(), json=body)
    await open_server.finish_afterwards()
    assert len(asyncio.all_tasks()) <= before
