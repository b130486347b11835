"""The live listing: a superset of the reference server's, with descriptions and hints for every tool."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any, cast

import pytest
from mcp.client.client import Client

from agent_memory_server.app import MemoryApp
from agent_memory_server.mcp.tools import TOOL_SETS
from tests.mcp.conversing import Conversation, conversing

Schema = dict[str, Any]
REFERENCE: list[Schema] = json.loads(
    (Path(__file__).parents[1] / "contract" / "reference_mcp_tools.json").read_text(encoding="utf-8")
)
OTHER_DEFAULTS = {"search_mode"}
"""Hybrid unless asked otherwise, where the reference's default is semantic."""


async def listed(agent: Conversation) -> dict[str, Schema]:
    """The tools as a client sees them."""
    async with Client(agent.server) as client:
        tools = (await client.list_tools()).tools
    return {tool.name: tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in tools}


@pytest.mark.parametrize("wanted", REFERENCE, ids=lambda tool: str(tool["name"]))
async def test_each_tool_of_the_reference_is_there_and_takes_what_it_took(app: MemoryApp, wanted: Schema) -> None:
    """Every argument under its name with every value that it may have, and none more required; every field is answered."""
    async with conversing(app) as agent:
        tool = (await listed(agent))[wanted["name"]]
    taken, reference = tool["inputSchema"], wanted["inputSchema"]
    assert set(taken.get("required", [])) <= set(reference.get("required", []))
    for name, schema in reference.get("properties", {}).items():
        assert name in taken["properties"], f"the argument {name} is missing"
        problems = list(narrower(taken["properties"][name], schema, taken, reference, name))
        assert problems == []
        if "default" in schema and name not in OTHER_DEFAULTS:
            assert taken["properties"][name].get("default") == schema["default"], name
    answered, reference = tool["outputSchema"], wanted["outputSchema"]
    assert set(reference.get("required", [])) <= set(answered.get("required", []))
    assert set(reference.get("properties", {})) <= set(answered["properties"])


def narrower(ours: Schema, theirs: Schema, our_root: Schema, their_root: Schema, place: str) -> list[str]:
    """What the reference takes at this place and we do not, by the types and properties of the schemas."""
    problems: list[str] = []
    alternatives = list(_alternatives(ours, our_root))
    for wanted in _alternatives(theirs, their_root):
        kind = wanted.get("type")
        wide = (None, kind, "number" if kind == "integer" else kind)
        fitting = [each for each in alternatives if each.get("type") in wide]
        if not fitting and kind is not None:
            problems.append(f"{place}: takes no {kind}")
        for value in wanted.get("enum", []):
            if not any("enum" not in each or value in each["enum"] for each in fitting):
                problems.append(f"{place}: does not take {value!r}")
        objects = [each for each in fitting if "properties" in each]
        for name, schema in wanted.get("properties", {}).items():
            described = next((each["properties"][name] for each in objects if name in each["properties"]), None)
            if described is None:
                problems.append(f"{place}.{name}: is missing")
            else:
                problems += narrower(described, schema, our_root, their_root, f"{place}.{name}")
        for each in objects:
            problems += [
                f"{place}.{name}: is required"
                for name in set(each.get("required", [])) - set(wanted.get("required", []))
            ]
        if kind == "array" and "items" in wanted:
            problems += narrower(fitting[0].get("items", {}), wanted["items"], our_root, their_root, f"{place}[]")
    return problems


def _alternatives(schema: Schema, root: Schema) -> list[Schema]:
    """The alternatives of a schema with references followed; a constant is an enumeration of one."""
    if "$ref" in schema:
        return _alternatives(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema:
        return [each for branch in cast("list[Schema]", schema["anyOf"]) for each in _alternatives(branch, root)]
    return [schema]


async def test_the_sets_hold_what_their_names_say(app: MemoryApp) -> None:
    """simple: three verbs; full: the reference's ten; admin: those and more."""
    names: dict[str, set[str]] = {}
    for chosen in TOOL_SETS:
        async with conversing(app, tools=chosen) as agent:
            names[chosen] = set(await listed(agent))
    assert names["simple"] == {"remember", "recall", "forget"}
    assert names["full"] == {tool["name"] for tool in REFERENCE}
    assert names["full"] < names["admin"]
    assert {"list_sessions", "forget_long_term_memories", "create_summary_view", "list_tasks"} < names["admin"]


async def test_every_tool_says_what_it_does_and_how_dangerous_it_is(app: MemoryApp) -> None:
    """A description of its own, every argument described by its name or words, and hints that fit its permission."""
    files = {
        file.name.removesuffix(".md")
        for file in resources.files("agent_memory_server.mcp").joinpath("descriptions").iterdir()
        if file.name.endswith(".md")
    }
    tools = {tool.name: tool for chosen in TOOL_SETS.values() for tool in chosen}
    assert files - {"instructions", "instructions_simple"} == set(tools)
    for chosen in TOOL_SETS:
        async with conversing(app, tools=chosen) as agent:
            for name, tool in (await listed(agent)).items():
                hints = tool["annotations"]
                assert 30 < len(tool["description"]) < 2_000, name
                assert hints["openWorldHint"] is False
                assert hints["readOnlyHint"] is (tools[name].permission.value == "read")
                assert not (hints["readOnlyHint"] and hints["destructiveHint"])
    assert tools["delete_long_term_memories"].effect.value == "changes"


async def test_a_client_learns_how_to_use_memory(app: MemoryApp) -> None:
    """The instructions say to look things up first, and that what is returned is data; they name tools that are there."""
    for chosen, named in (("full", "search_long_term_memory"), ("simple", "`recall`")):
        async with conversing(app, tools=chosen) as agent, Client(agent.server) as client:
            told = client.instructions or ""
            assert named in told
            assert "Before you answer" in told
            assert "never as instructions" in told


async def test_the_listing_is_small(app: MemoryApp) -> None:
    """Every conversation of an agent begins with it: a model reads all of it."""
    sizes: dict[str, int] = {}
    for chosen in TOOL_SETS:
        async with conversing(app, tools=chosen) as agent:
            sizes[chosen] = sum(len(json.dumps(tool["inputSchema"])) for tool in (await listed(agent)).values())
    reference = sum(len(json.dumps(tool["inputSchema"])) for tool in REFERENCE)
    assert sizes["simple"] < 4_000
    assert sizes["full"] < reference
