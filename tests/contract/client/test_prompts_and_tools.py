"""Memory prompts and the tools for language models, through the published Python client."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from agent_memory_client import MemoryAPIClient
from agent_memory_client.models import ClientMemoryRecord, MemoryMessage, MemoryTypeEnum, WorkingMemory

pytestmark = pytest.mark.filterwarnings("ignore:get_working_memory is deprecated:DeprecationWarning")

TOOL_NAMES = {
    "search_memory",
    "get_or_create_working_memory",
    "lazily_create_long_term_memory",
    "update_working_memory_data",
    "get_long_term_memory",
    "eagerly_create_long_term_memory",
    "edit_long_term_memory",
    "delete_long_term_memories",
    "get_current_datetime",
}


def texts(prompt: dict[str, Any]) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]["text"]) for message in prompt["messages"]]


def said(content: str, role: str = "user") -> MemoryMessage:
    return MemoryMessage(role=role, content=content, created_at=datetime.now(UTC))


async def test_prompt_holds_session_memories_and_query_in_order(client: MemoryAPIClient, namespace: str) -> None:
    """The summary, the conversation, the memories and the query come in the contract's order and wording."""
    memory = WorkingMemory(
        session_id="p",
        user_id="alice",
        messages=[said("Hello"), said("looked it up", "tool")],
        context="They met in Kyoto.",
    )
    await client.put_working_memory("p", memory)
    await client.create_long_term_memory(
        [ClientMemoryRecord(id=f"{namespace}-tea", text="Alice loves green tea", user_id="alice")]
    )
    prompt = await client.memory_prompt(
        "What tea does Alice love?",
        session_id="p",
        user_id="alice",
        context_window_max=4000,
        long_term_search={"limit": 5, "session_id": {"not_eq": "p"}},
    )
    lines = texts(prompt)
    assert lines[0][0] == "system"
    assert lines[0][1].startswith("## A summary of the conversation so far:\n")
    assert "They met in Kyoto." in lines[0][1]
    assert lines[1:3] == [("user", "Hello"), ("assistant", "looked it up")]
    assert lines[3][0] == "system"
    assert lines[3][1].startswith("## Long term memories related to the user's query\n ")
    assert lines[-1] == ("user", "What tea does Alice love?")
    assert "namespace" in json.dumps(prompt["long_term_memories"])


async def test_prompt_for_a_missing_session_is_empty_not_an_error(client: MemoryAPIClient) -> None:
    """A session that does not exist contributes nothing; the query still comes back."""
    prompt = await client.memory_prompt("Anything?", session_id="never-was", user_id="alice")
    assert texts(prompt) == [("user", "Anything?")]
    assert prompt["long_term_memories"] is None


async def test_hydrate_memory_prompt_uses_filters(client: MemoryAPIClient, namespace: str) -> None:
    """hydrate_memory_prompt finds by filters only what they admit."""
    await client.create_long_term_memory(
        [
            ClientMemoryRecord(
                id=f"{namespace}-{user}",
                text=f"{user} likes sailing on the lake",
                user_id=user,
                topics=["sport"],
                entities=[user],
                memory_type=MemoryTypeEnum.SEMANTIC,
            )
            for user in ("alice", "bob")
        ]
    )
    prompt = await client.hydrate_memory_prompt(
        "Who likes sailing?",
        user_id={"eq": "alice"},
        topics={"any": ["sport"]},
        entities={"none": ["bob"]},
        memory_type={"eq": "semantic"},
        created_at={"gte": "2020-01-01T00:00:00Z"},
        last_accessed={"gte": "2020-01-01T00:00:00Z"},
        distance_threshold=2.0,
        limit=5,
    )
    memories = prompt["long_term_memories"]
    assert [memory["id"] for memory in memories] == [f"{namespace}-alice"]
    assert "alice likes sailing" in texts(prompt)[0][1]
    none = await client.hydrate_memory_prompt("Who likes sailing?", session_id={"eq": "no-such-session"})
    assert none["long_term_memories"] is None
    assert "No relevant long-term memories found." in texts(none)[0][1]


async def test_search_memory_tool_shapes_its_answer(client: MemoryAPIClient, namespace: str) -> None:
    """The tool's paging and relevance follow from our total, next_offset and distances."""
    await client.create_long_term_memory(
        [
            ClientMemoryRecord(id=f"{namespace}-{i}", text=f"Bread recipe number {i}", topics=["food"], user_id="u")
            for i in range(5)
        ],
        deduplicate=False,
    )
    found = await client.search_memory_tool("bread recipe", topics=["food"], user_id="u", max_results=3)
    assert len(found["memories"]) == 3
    assert found["has_more"]
    assert found["next_offset"] == 3
    assert found["total_found"] == 5
    rest = await client.search_memory_tool("bread recipe", user_id="u", max_results=3, offset=3)
    assert len(rest["memories"]) == 2
    assert not rest["has_more"]
    near = await client.search_memory_tool("Bread recipe number 4", user_id="u", min_relevance=0.97)
    assert near["memories"][0]["id"] == f"{namespace}-4"
    assert near["memories"][0]["relevance_score"] >= 0.97


def test_tool_schemas_name_the_nine_tools() -> None:
    """Both schema collections list the nine tools; what the resolver understands is tested below."""
    openai = MemoryAPIClient.get_all_memory_tool_schemas().to_list()
    anthropic = MemoryAPIClient.get_all_memory_tool_schemas_anthropic().to_list()
    assert {schema["function"]["name"] for schema in openai} == TOOL_NAMES
    assert {schema["name"] for schema in anthropic} == TOOL_NAMES


async def test_every_tool_resolves_against_the_server(client: MemoryAPIClient, namespace: str) -> None:
    """The nine tools, called one after another as a model would, all succeed."""
    identifier = f"{namespace}-tool"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_current_datetime", {}),
        ("get_or_create_working_memory", {}),
        (
            "lazily_create_long_term_memory",
            {"text": "User is vegetarian", "memory_type": "semantic", "topics": ["food"], "entities": ["User"]},
        ),
        ("update_working_memory_data", {"data": {"trip": "Paris"}, "merge_strategy": "deep_merge"}),
        (
            "eagerly_create_long_term_memory",
            {"memories": [{"id": identifier, "text": "User lives in Seattle", "memory_type": "semantic"}]},
        ),
        ("get_long_term_memory", {"memory_id": identifier}),
        ("search_memory", {"query": "Where does the user live?", "max_results": 3, "user_id": "alice"}),
        (
            "edit_long_term_memory",
            {"memory_id": identifier, "text": "User lives in Oslo", "event_date": "2024-01-01T00:00:00Z"},
        ),
        ("delete_long_term_memories", {"memory_ids": [identifier]}),
    ]
    assert {name for name, _ in calls} == TOOL_NAMES
    results: dict[str, Any] = {}
    for name, arguments in calls:
        outcome = await client.resolve_function_call(name, arguments, session_id="chat", user_id="alice")
        assert outcome["success"], outcome
        result: dict[str, Any] = outcome["result"] or {}
        # The two tools that write a session report their own failures inside a successful result.
        assert result.get("success", True), outcome
        assert "error" not in result, outcome
        results[name] = result
    assert results["get_long_term_memory"]["memory"].text == "User lives in Seattle"
    assert results["get_long_term_memory"]["memory"].user_id == "alice"
    assert identifier in [memory["id"] for memory in results["search_memory"]["memories"]]
    assert results["edit_long_term_memory"]["memory"].text == "User lives in Oslo"
    assert results["delete_long_term_memories"]["status"] == "ok, deleted 1 memories"
    state = await client.get_or_create_working_memory_tool("chat", user_id="alice")
    assert state["data"] == {"trip": "Paris"}
    assert [memory["text"] for memory in state["memories"]] == ["User is vegetarian"]
    assert (await client.get_working_memory_tool("chat", user_id="alice"))["memory_count"] == 1


async def test_tool_calls_in_every_providers_form(client: MemoryAPIClient) -> None:
    """OpenAI's two forms, Anthropic's and the plain one resolve, in order."""
    calls: list[dict[str, Any]] = [
        {"id": "c1", "type": "function", "function": {"name": "search_memory", "arguments": '{"query": "tea"}'}},
        {"name": "search_memory", "arguments": '{"query": "tea"}'},
        {"type": "tool_use", "id": "c2", "name": "search_memory", "input": {"query": "tea"}},
        {"type": "tool_use", "id": "c3", "name": "get_current_datetime", "input": {}},
    ]
    outcomes = await client.resolve_tool_calls(calls, session_id="chat", user_id="alice")
    assert [outcome["success"] for outcome in outcomes] == [True] * 4, outcomes
    batch = await client.resolve_function_calls(
        [{"name": "get_working_memory", "arguments": {}}, {"name": "no_such_tool", "arguments": {}}], session_id="chat"
    )
    assert [outcome["success"] for outcome in batch] == [True, False]


@pytest.mark.filterwarnings("ignore:Tool name:DeprecationWarning")
async def test_deprecated_tool_names_still_work(client: MemoryAPIClient, namespace: str) -> None:
    """The two old names are aliases of the new tools."""
    added = await client.resolve_function_call(
        "add_memory_to_working_memory", {"text": "Old name", "memory_type": "semantic"}, session_id="old"
    )
    created = await client.resolve_function_call(
        "create_long_term_memory",
        {"memories": [{"id": f"{namespace}-old", "text": "Old name too", "memory_type": "episodic"}]},
        session_id="old",
    )
    assert added["success"]
    assert created["success"]
    assert (await client.get_long_term_memory(f"{namespace}-old")).text == "Old name too"


async def test_tool_failures_are_reported_to_the_model(client: MemoryAPIClient) -> None:
    """An unknown memory or broken arguments are results with an error, not exceptions."""
    missing = await client.resolve_function_call("get_long_term_memory", {"memory_id": "nope"}, session_id="s")
    broken = await client.resolve_function_call("search_memory", "{not json", session_id="s")
    assert not missing["success"]
    assert "not found" in str(missing["error"]).lower()
    assert not broken["success"]


async def test_langchain_tools_store_and_find(client: MemoryAPIClient) -> None:
    """The client's LangChain integration: its tools are there, and run."""
    from agent_memory_client.integrations import langchain

    offered: Any = langchain.get_memory_tools(memory_client=client, session_id="s", user_id="u")
    tools: dict[str, Any] = {tool.name: tool for tool in offered}
    assert len(tools) >= len(TOOL_NAMES) - 1
    record = {"text": "Ana is allergic to peanuts", "memory_type": "semantic"}
    await tools["eagerly_create_long_term_memory"].ainvoke({"memories": [record]})
    found: Any = await tools["search_memory"].ainvoke({"query": "what may she not eat?"})
    # All that this version of the client lets the model see is how many there were.
    assert found == "Found 1 relevant memories for: what may she not eat?"
