"""Whose memories a call works on: its arguments, the URL, the credential, the defaults, in this order; never another call's."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from agent_memory_server.app import MemoryApp
from agent_memory_server.domain.identity import Principal
from agent_memory_server.mcp.scope import Defaults
from agent_memory_server.testing.running import RunningApp, running_app
from tests.mcp.conversing import Conversation, conversing
from tests.mcp.messages import headers, result_in, tool_call

DEFAULTS = Defaults(namespace="house", user_id="ana")


async def everything_writes_and_reads(agent: Conversation, app: MemoryApp) -> list[tuple[str | None, str | None]]:
    """The owners of what each writing tool wrote; every reading tool has to find it without naming anybody."""
    memory_id = await agent.remembered("Ana likes tea")
    found = (await agent.done("search_long_term_memory", text="tea"))["memories"][0]
    got = await agent.done("get_long_term_memory", memory_id=memory_id)
    edited = await agent.done("edit_long_term_memory", memory_id=memory_id, text="Ana likes green tea")
    written = await agent.done(
        "set_working_memory",
        session_id="s",
        messages=[{"role": "user", "content": "I moved to Lisbon"}],
        memories=[{"text": "Ana lives in Lisbon"}],
    )
    read = await agent.done("get_working_memory", session_id="s")
    assert len(read["messages"]) == 1
    await app.pending_work.run_due()
    prompt = await agent.done("memory_prompt", query="tea", session_id="s")
    assert "green tea" in str(prompt["messages"])
    assert (await agent.done("list_sessions"))["sessions"] == ["s"]
    listed = (await agent.done("list_long_term_memories"))["memories"]
    view = await agent.done("create_summary_view", source="long_term", group_by=["user_id"])
    assert (await agent.done("compact_long_term_memories"))["status"].startswith(f"ok, {len(listed)} ")
    owners = [(each["namespace"], each["user_id"]) for each in (found, got, edited, written, read, *listed)]
    assert (await agent.done("delete_long_term_memories", memory_ids=[memory_id]))["status"] == "ok, deleted 1 memories"
    await agent.done("delete_working_memory", session_id="s")
    await agent.done("delete_summary_view", view_id=view["id"])
    return owners


async def test_the_defaults_hold_for_every_tool_alike(app: MemoryApp) -> None:
    """What one tool writes the others find, with the configured namespace and user; others' records do not come in."""
    async with conversing(app) as others:
        await others.remembered("Bob likes tea", user_id="bob", namespace="house")
        await others.remembered("nobody's tea")
    async with conversing(app, tools="admin", defaults=DEFAULTS) as agent:
        assert set(await everything_writes_and_reads(agent, app)) == {("house", "ana")}
        assert await agent.found() == ["Ana lives in Lisbon"]
        assert await agent.found("tea", user_id="bob") == ["Bob likes tea"]
    async with conversing(app, tools="simple", defaults=DEFAULTS) as agent:
        stored = await agent.done("remember", text="Ana likes cake")
        memory = (await agent.done("recall", query="what does Ana like?"))["memories"][0]
        assert (memory["id"], memory["user_id"]) == (stored["id"], "ana")
        assert await agent.done("forget", memory_ids=[stored["id"]]) == {"deleted": 1}


async def test_the_namespace_of_the_url_holds_for_every_tool_alike(app: MemoryApp) -> None:
    """Before the default, and after what the arguments name; the reference's create tool forgot it."""
    async with conversing(app, tools="admin", defaults=DEFAULTS, url_namespace="garden") as agent:
        assert set(await everything_writes_and_reads(agent, app)) == {("garden", "ana")}
        await agent.remembered("tea in the house", namespace="house")
        assert await agent.found() == ["Ana lives in Lisbon"]
        assert await agent.found("tea", namespace="house") == ["tea in the house"]


async def test_a_bound_credential_fills_in_what_is_missing_and_the_default_does_not(
    app: MemoryApp, ana: Principal
) -> None:
    """A default of somebody else's name would leave its holder with nothing."""
    async with conversing(app, tools="admin", caller=ana, defaults=Defaults(user_id="bob")) as agent:
        assert set(await everything_writes_and_reads(agent, app)) == {(None, "ana")}


async def test_beyond_the_credential_there_is_nothing(app: MemoryApp, ana: Principal) -> None:
    """Another user's records answer as those of nobody: by id, by filter, by any operator."""
    async with conversing(app) as others:
        memory_id = await others.remembered("Bob likes tea", user_id="bob")
        await others.done("set_working_memory", session_id="s", user_id="bob", context="Bob's")
    async with conversing(app, tools="admin", caller=ana) as agent:
        for user_id in ("bob", {"ne": "ana"}, {"any": ["bob", "ana"]}, {"startswith": "b"}, None):
            assert await agent.found("tea", user_id=user_id) == []
        for arguments in ({}, {"user_id": "bob"}):
            absent = await agent.refused("get_long_term_memory", memory_id="absent", **arguments)
            told = await agent.refused("get_long_term_memory", memory_id=memory_id, **arguments)
            assert told.replace(memory_id, "absent") == absent
            assert (await agent.done("get_working_memory", session_id="s", **arguments))["context"] is None
            assert await agent.done("delete_long_term_memories", memory_ids=[memory_id], **arguments) == {
                "status": "ok, deleted 0 memories"
            }
        assert "not found" in await agent.refused(
            "create_long_term_memories", memories=[{"text": "x", "user_id": "bob"}]
        )
        assert "not found" in await agent.refused("edit_long_term_memory", memory_id=memory_id, user_id="ana")
    async with conversing(app) as others:
        assert await others.found("tea", user_id="bob") == ["Bob likes tea"]


@pytest.mark.parametrize(
    "user",
    [
        "nobody|alice",
        "ALICE",
        "alice*",
        "a,b",
        "auth0|x",
        "a:b",
        "a-b",
        "a b",
        "'\"",
        "\\",
        "@x:{y}",
        "x" * 300,
        "ü",
        "u\u0308",
    ],
)
async def test_hostile_names_are_names(agent: Conversation, user: str) -> None:
    """In every place where a name goes they mean exactly themselves."""
    await agent.remembered("alice's", user_id="alice")
    await agent.remembered("theirs", user_id=user, namespace=user, session_id=user)
    for arguments in ({"user_id": user}, {"namespace": user}, {"session_id": user}, {"user_id": {"any": [user]}}):
        assert await agent.found(None, **arguments) == ["theirs"]
    assert await agent.found(None, user_id="alice") == ["alice's"]


async def tenant_token(running: RunningApp, tenant: str) -> dict[str, str]:
    token, _ = await running.app.access_tokens.add(description=tenant, actor="test", tenant=tenant)
    return {"authorization": f"Bearer {token}"}


async def test_sixty_calls_at_once_in_two_tenants_do_not_cross() -> None:
    """Each call stores a word and looks for everybody's: it finds its own tenant's and namespace's, over one connection pool."""
    async with running_app(auth_mode="token") as running:
        tokens = {tenant: await tenant_token(running, tenant) for tenant in ("one", "two")}

        async def called(number: int) -> tuple[str, str, list[dict[str, Any]]]:
            tenant, place = ("one", "two")[number % 2], f"n{number % 3}"
            url, sent = f"/{place}/mcp", headers(tokens[tenant])
            record = {"memories": [{"text": f"tea of {tenant} in {place}, cup {number}"}]}
            result_in(await running.client.post(url, headers=sent, json=tool_call("create_long_term_memories", record)))
            search = tool_call("search_long_term_memory", {"text": "tea", "limit": 100})
            page = result_in(await running.client.post(url, headers=sent, json=search))
            return tenant, place, page["memories"]

        for tenant, place, memories in await asyncio.gather(*(called(number) for number in range(60))):
            assert memories
            for memory in memories:
                assert f"tea of {tenant} in {place}," in memory["text"]
                assert memory["namespace"] == place


async def test_a_namespace_in_the_url_may_hold_any_character() -> None:
    """As an id in any path: percent-encoded. A blank or too long one is refused."""
    async with running_app() as running:
        for name, raw in (("a/b", "a%2Fb"), ("ü", "%C3%BC"), ("v1", "v1"), ("mcp", "mcp"), ("@x:{y}", "@x:%7By%7D")):
            answer = await _created_in(running.client, raw)
            memory_id = result_in(answer)["ids"][0]
            read = (await running.client.get(f"/v1/long-term-memory/{memory_id}")).json()
            assert read["namespace"] == name
        assert (await _created_in(running.client, "%20")).status_code == 422
        assert (await _created_in(running.client, "x" * 600)).status_code == 422


async def _created_in(client: httpx.AsyncClient, raw: str) -> httpx.Response:
    body = tool_call("create_long_term_memories", {"memories": [{"text": f"in {raw[:40]}"}]})
    return await client.post(f"/{raw}/mcp", headers=headers(), json=body)
