"""Check 13 for MCP: every tool of the live listing × credentials × own, other and absent ids, on both engines.

Another's record answers exactly like an absent one; without a credential nothing answers; a credential that may only read
calls nothing that writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from tests.contract.scope_matrix.parties import Party, World
from tests.contract.scope_matrix.test_scope_matrix import fingerprint
from tests.contract.scope_matrix.tool_recipes import TOOL_RECIPES
from tests.mcp.messages import answer_in, headers, message, tool_call

pytestmark = pytest.mark.long

AIMED = [name for name, recipe in TOOL_RECIPES.items() if recipe.target]
SCOPED = [name for name, recipe in TOOL_RECIPES.items() if recipe.owner]
READING = [name for name, recipe in TOOL_RECIPES.items() if recipe.permission == "read"]


def call(world: World, party: Party, tool: str, arguments: Mapping[str, Any]) -> httpx.Response:
    return world.client.post("/mcp", headers=headers(party.headers), json=tool_call(tool, arguments))


def aimed(world: World, party: Party, tool: str, arguments: Mapping[str, Any], target: str) -> tuple[Any, ...]:
    """What the party can tell of the answer; nobody else's words may stand in it."""
    recipe = TOOL_RECIPES[tool]
    response = call(world, party, tool, arguments)
    assert response.status_code == 200, response.text
    assert world.leaks(response, party) == [], f"{party.name} aims at {target}: {response.text}"
    if recipe.undo is not None:
        undoing, undo_arguments = recipe.undo
        call(world, party, undoing, undo_arguments(target))
    return fingerprint(response, target)


def test_every_live_tool_has_a_recipe(world: World) -> None:
    """A tool that is listed and not in the matrix fails here: it cannot be forgotten."""
    listing = world.client.post("/mcp", headers=headers(world.reader.headers), json=message("tools/list"))
    assert {tool["name"] for tool in answer_in(listing)["result"]["tools"]} == set(TOOL_RECIPES)


def test_without_a_credential_nothing_answers(world: World) -> None:
    """Neither a tool nor the listing nor anything else: 401, whatever the body is; a token in the URL is not looked at."""
    token = world.owners[0].token
    bodies = [message("tools/list"), message("initialize"), *(tool_call(name, {}) for name in TOOL_RECIPES)]
    for body in bodies:
        for url in ("/mcp", f"/mcp?access_token={token}&token={token}&api_key={token}", "/team/mcp"):
            response = world.client.post(url, headers=headers(), json=body)
            assert response.status_code == 401, response.text
            assert response.headers["www-authenticate"].startswith("Bearer")
    assert world.client.post("/mcp", headers=headers(), content=b"{not json").status_code == 401


@pytest.mark.parametrize("tool", AIMED)
def test_anothers_id_answers_exactly_like_an_absent_one(world: World, tool: str) -> None:
    """Foreign equals absent in status, headers and body: another user's, namespace's and tenant's."""
    recipe = TOOL_RECIPES[tool]
    assert recipe.target is not None
    for party in world.owners:
        absent = world.absent(recipe.target)
        expected = aimed(world, party, tool, recipe.arguments(absent), absent)
        for stranger in world.strangers(party):
            target = world.target(stranger, recipe.target)
            answered = aimed(world, party, tool, recipe.arguments(target), target)
            assert answered == expected, f"{party.name} aims at {stranger.name}"


@pytest.mark.parametrize("tool", SCOPED)
def test_naming_anothers_scope_answers_like_naming_nobodys(world: World, tool: str) -> None:
    """A bound credential that names a user or namespace beyond its own, in an argument or in the URL."""
    recipe = TOOL_RECIPES[tool]
    for party in world.confined:
        absent = world.absent(recipe.target or "session")
        for argument, theirs, nobodys in _beyond(world, party):
            answers = {
                _without(call(world, party, tool, {**recipe.arguments(absent), argument: value}), value, absent)
                for value in (theirs, nobodys)
            }
            assert len(answers) == 1, f"{party.name} names {theirs}: {answers}"
            if argument == "namespace":
                url = f"/{theirs}/mcp"
                response = world.client.post(
                    url, headers=headers(party.headers), json=tool_call(tool, recipe.arguments(absent))
                )
                assert world.leaks(response, party) == []


@pytest.mark.parametrize("tool", READING)
def test_reads_show_ones_own_and_nobody_elses(world: World, tool: str) -> None:
    """What a credential fills in is its own."""
    recipe = TOOL_RECIPES[tool]
    for party in world.owners:
        response = call(world, party, tool, recipe.arguments(world.target(party, recipe.target or "session")))
        assert world.leaks(response, party) == [], party.name
        own = (party.canary, *(identifier for (owner, _), identifier in world.targets.items() if owner == party.name))
        assert any(each in response.text for each in own) or not recipe.shows, f"{party.name}: {response.text}"


def test_a_credential_does_only_what_it_may(world: World) -> None:
    """The reader is refused with 403 and the scope that it lacks, the same for own, other and absent targets."""
    for tool, recipe in TOOL_RECIPES.items():
        kind = recipe.target or "session"
        for target in (*(world.target(owner, kind) for owner in world.owners), world.absent(kind)):
            response = call(world, world.reader, tool, recipe.arguments(target))
            if recipe.permission == "read":
                assert response.status_code == 200, f"{tool}: {response.text}"
                assert world.leaks(response, world.reader) == []
            else:
                assert response.status_code == 403, f"{tool}: {response.text}"
                assert f'scope="memory:{recipe.permission}"' in response.headers["www-authenticate"]


def test_after_all_attempts_everybody_has_what_it_had(world: World) -> None:
    """Every owner aims every writing tool at the ids of others, each at two in turn: nothing of theirs changes."""
    before = {party.name: world.state(party) for party in world.owners}
    for number, party in enumerate(world.owners):
        strangers = world.strangers(party)
        for tool, recipe in TOOL_RECIPES.items():
            if recipe.permission != "read" and recipe.target is not None:
                for stranger in (strangers[number % len(strangers)], strangers[-number % len(strangers)]):
                    target = world.target(stranger, recipe.target)
                    aimed(world, party, tool, recipe.arguments(target), target)
    world.wait()
    for party in world.owners:
        assert world.state(party) == before[party.name], party.name


def _beyond(world: World, party: Party) -> set[tuple[str, str, str]]:
    """(argument, another's value, a value of one length that nobody has)."""
    found: set[tuple[str, str, str]] = set()
    for other in world.strangers(party):
        if party.user_id is not None and other.user_id not in (None, party.user_id):
            found.add(("user_id", str(other.user_id), "z" * len(str(other.user_id))))
        if party.namespace is not None and other.namespace not in (None, party.namespace):
            found.add(("namespace", str(other.namespace), "z" * len(str(other.namespace))))
    return found


def _without(response: httpx.Response, value: str, target: str) -> tuple[int, str]:
    """The answer without the scope that the call itself named, where it is echoed."""
    status, _, body = fingerprint(response, target)
    return status, body.replace(value, "<named>")
