"""Check 13: every operation of the live OpenAPI document × credentials × own, other and absent ids, on both engines.

Another's record answers exactly like an absent one, whether it is another user's, another namespace's or another tenant's;
without a credential nothing answers; a credential that may only read changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from tests.contract.scope_matrix.callers import Caller
from tests.contract.scope_matrix.parties import Party, World
from tests.contract.scope_matrix.recipes import (
    CREDENTIAL_RECIPES,
    PERMISSIONS,
    RECIPES,
    UNSCOPED,
    Recipe,
)
from tests.contract.scope_matrix.test_scope_matrix import METHODS, fingerprint
from tests.problem_details import assert_problem

pytestmark = pytest.mark.long

ALL_RECIPES: Mapping[str, Recipe] = {
    f"{method} {path}": recipe for (method, path), recipe in {**RECIPES, **CREDENTIAL_RECIPES}.items()
}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AIMED = [name for name, recipe in ALL_RECIPES.items() if recipe.target]


@pytest.fixture(scope="module")
def live(world: World) -> dict[tuple[str, str], dict[str, Any]]:
    """The operations of the document that the server shows, by method and path without a last slash."""
    answer = world.client.get("/openapi.json", headers=world.reader.headers)
    return {
        (method, path.rstrip("/")): described
        for path, operations in answer.json()["paths"].items()
        for method, described in operations.items()
        if method in METHODS
    }


def test_every_live_operation_is_in_the_matrix(live: dict[tuple[str, str], dict[str, Any]]) -> None:
    """With a recipe, and with the permission that it is meant to need: neither can be forgotten."""
    known = RECIPES.keys() | CREDENTIAL_RECIPES.keys() | UNSCOPED
    assert live.keys() - known == set(), "operations without a recipe"
    needed = {
        operation: described["security"][0]["HTTPBearer"][0].removeprefix("memory:") if described["security"] else None
        for operation, described in live.items()
    }
    assert needed == {**PERMISSIONS, **dict.fromkeys(UNSCOPED)}


def test_without_a_credential_nothing_answers(world: World, live: dict[tuple[str, str], dict[str, Any]]) -> None:
    """Own, other and absent ids, good and bad bodies, too long ids: 401 with one and the same body."""
    bodies: set[str] = set()
    for method, path in live.keys() - UNSCOPED:
        for identifier in (world.target(world.owners[0], "session"), "absent", "x" * 600):
            url = re.sub(r"\{\w+\}", identifier, path)
            answer = world.client.request(method, url, content=b"{not json", headers={"traceparent": TRACEPARENT})
            assert_problem(answer, 401)
            assert TRACEPARENT.split("-")[1] in answer.headers["traceparent"]
            assert answer.headers["www-authenticate"] == "Bearer"
            bodies.add(answer.json()["detail"])
    assert bodies == {"Missing authorization header"}
    for headers in ({"Authorization": "Bearer nonsense-that-nobody-made"}, {"X-API-Key": "nonsense-that-nobody-made"}):
        answer = world.client.get("/v1/working-memory/", headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (401, "Invalid token")


@pytest.mark.parametrize("name", AIMED)
def test_anothers_id_answers_exactly_like_an_absent_one(world: World, name: str) -> None:
    """Foreign equals absent in status, headers and body: another user's, namespace's and tenant's."""
    recipe = ALL_RECIPES[name]
    assert recipe.target is not None
    for party in world.owners:
        expected = _aimed(world, recipe, party.caller, world.absent(recipe.target))
        assert expected[0] < 500
        for stranger in world.strangers(party):
            answered = _aimed(world, recipe, party.caller, world.target(stranger, recipe.target), party)
            assert answered == expected, f"{party.name} aims at {stranger.name}"


@pytest.mark.parametrize(
    "name", [f"{method} {path}" for method, path in sorted(RECIPES.keys() - CREDENTIAL_RECIPES.keys())]
)
def test_naming_anothers_scope_answers_like_naming_nobodys(world: World, name: str) -> None:
    """A bound credential that names a user or namespace beyond its own: whether those exist cannot be told."""
    recipe = ALL_RECIPES[name]
    for party in world.confined:
        for scope, nobody in _scopes_beyond(world, party):
            kind = recipe.target
            targets = [None] if kind is None else [world.target(other, kind) for other in world.strangers(party)]
            expected = _aimed(world, recipe, nobody, "absent" if kind is None else world.absent(kind))
            assert expected[0] < 500
            for target in targets:
                answered = _aimed(world, recipe, scope, target or "absent", party)
                assert _unnamed(answered, scope) == _unnamed(expected, nobody), f"{party.name} names {scope.named}"


@pytest.mark.parametrize("name", [name for name, recipe in ALL_RECIPES.items() if not recipe.writes])
def test_reads_show_ones_own_and_nobody_elses(world: World, name: str) -> None:
    """What a credential fills in is its own: each owner sees its own words or ids and nobody else's."""
    recipe = ALL_RECIPES[name]
    for party in world.owners:
        response = recipe.send(world.client, party.caller, world.target(party, recipe.target or "session"))
        assert response.status_code == 200, f"{party.name}: {response.text}"
        assert world.leaks(response, party) == [], party.name
        own = (party.canary, *(identifier for (owner, _), identifier in world.targets.items() if owner == party.name))
        is_blind = recipe.shows_nothing or recipe.names_its_user
        assert any(each in response.text for each in own) or is_blind, f"{party.name}: {response.text}"


def test_a_credential_does_only_what_it_may(world: World, live: dict[tuple[str, str], dict[str, Any]]) -> None:
    """The reader gets 403 for everything that writes or administers, the same for each own, other, absent or bad target."""
    answers: set[str] = set()
    for (method, path), permission in PERMISSIONS.items():
        recipe = ALL_RECIPES[f"{method} {path}"]
        kind = recipe.target or "session"
        for target in (*(world.target(owner, kind) for owner in world.owners), world.absent(kind)):
            if permission == "read":
                # Reading with POST is reading: it may find nothing, but it is never forbidden.
                response = recipe.send(world.client, world.reader.caller, target)
                assert response.status_code in (200, 404, 409, 422), f"{method} {path}: {response.text}"
                assert world.leaks(response, world.reader) == []
                continue
            for response in (
                recipe.send(world.client, world.reader.caller, target),
                world.client.request(
                    method, path.replace("{", "").replace("}", ""), headers=world.reader.headers, content=b"{not json"
                ),
            ):
                assert_problem(response, 403)
                assert f'scope="memory:{permission}"' in response.headers["www-authenticate"]
                answers.add(response.json()["detail"])
    assert len(answers) == 2


def test_after_all_attempts_everybody_has_what_it_had(world: World) -> None:
    """Every owner aims every writing operation at everybody else's ids: nothing of theirs changes."""
    before = {party.name: world.state(party) for party in world.owners}
    for party in world.owners:
        for recipe in ALL_RECIPES.values():
            if recipe.writes and recipe.target is not None:
                for stranger in world.strangers(party):
                    _aimed(world, recipe, party.caller, world.target(stranger, recipe.target), party)
    world.wait()
    for party in world.owners:
        assert world.state(party) == before[party.name], party.name


def test_a_record_cannot_be_moved_across_a_boundary(world: World) -> None:
    """A PATCH that names another user or namespace, a create with another owner, a structured memory in a session with
    another owner: as if that owner did not exist, and the record stays where it was."""
    for party in world.confined:
        headers = party.headers
        memory = world.target(party, "memory")
        session = world.target(party, "session")
        for other in world.strangers(party):
            if (party.user_id and other.user_id and party.user_id != other.user_id) is not True:
                continue
            beyond = {"user_id": other.user_id}
            record = {"id": f"moved-{party.number}", "text": "moved", **beyond}
            answers = [
                world.client.patch(f"/v1/long-term-memory/{memory}", json=beyond, headers=headers),
                world.client.post("/v1/long-term-memory/", json={"memories": [record]}, headers=headers),
                world.client.put(f"/v1/working-memory/{session}-new", json={"memories": [record]}, headers=headers),
                world.client.put(f"/v1/working-memory/{session}", json={"context": "x", **beyond}, headers=headers),
            ]
            assert [answer.status_code for answer in answers] == [404] * 4, [answer.text for answer in answers]
        cleared = world.client.patch(
            f"/v1/long-term-memory/{memory}", json={"clear": ["user_id", "namespace"]}, headers=headers
        )
        assert cleared.status_code == 200
        assert (cleared.json()["user_id"], cleared.json()["namespace"]) == (party.user_id, party.namespace)


def test_a_cursor_of_another_tenant_shows_nothing_of_it(world: World) -> None:
    """What a cursor holds is a place in one's own listing, whoever made it."""
    alice = world.party("T1/alice")
    for path in ("/v1/long-term-memory", "/v1/tasks"):
        page = world.client.get(path, params={"limit": 1}, headers=alice.headers).json()
        if page["next_cursor"] is None:
            continue
        for other in world.strangers(alice):
            answer = world.client.get(path, params={"limit": 1, "cursor": page["next_cursor"]}, headers=other.headers)
            assert answer.status_code in (200, 422)
            assert world.leaks(answer, other) == []


def _aimed(
    world: World, recipe: Recipe, caller: Caller, target: str, party: Party | None = None
) -> tuple[int, dict[str, str], str]:
    response = recipe.send(world.client, caller, target)
    if party is not None:
        assert world.leaks(response, party) == [], f"{party.name} aims at {target}: {response.text}"
    if recipe.undo:
        recipe.undo(world.client, caller, target)
    return fingerprint(response, target)


def _scopes_beyond(world: World, party: Party) -> Iterator[tuple[Caller, Caller]]:
    """Scopes of others that this party may name, each with one of the same shape that nobody has."""
    for other in world.strangers(party):
        if party.user_id is not None and other.user_id not in (None, party.user_id):
            yield party.naming(None, other.user_id), party.naming(None, "nobody")
        if party.namespace is not None and other.namespace not in (None, party.namespace):
            yield party.naming(other.namespace, None), party.naming("nowhere", None)


def _unnamed(answered: tuple[int, dict[str, str], str], named: Caller) -> tuple[int, dict[str, str], str]:
    """The answer without the scope that the request itself named, where it is echoed."""
    status, headers, body = answered
    for value in named.named.values():
        body = body.replace(value, "<named>")
    headers = {name: value for name, value in headers.items() if name != "content-length"}
    return status, headers, body


def test_the_same_id_held_by_everybody_is_ones_own(world: World) -> None:
    """All owners put a session and a memory under one id: each reads its own words, and deletes only its own."""
    for party in world.confined:
        session = {"context": party.canary}
        memory = {"memories": [{"id": "everyones", "text": party.canary}]}
        assert world.client.put("/v1/working-memory/everyones", json=session, headers=party.headers).status_code == 200
        assert world.client.post("/v1/long-term-memory/", json=memory, headers=party.headers).status_code == 200

    def readings(party: Party) -> list[httpx.Response]:
        paths = ("/v1/working-memory/everyones", "/v1/long-term-memory/everyones")
        return [world.client.get(path, headers=party.headers) for path in paths]

    for position, party in enumerate(world.confined):
        for answer in readings(party):
            assert party.canary in answer.text
            assert world.leaks(answer, party) == []
        world.client.delete("/v1/working-memory/everyones", headers=party.headers)
        world.client.delete("/v1/long-term-memory", params={"memory_ids": "everyones"}, headers=party.headers)
        assert [answer.status_code for answer in readings(party)] == [404, 404]
        for later in world.confined[position + 1 :]:
            assert [answer.status_code for answer in readings(later)] == [200, 200]


def test_a_task_id_of_others_is_free(world: World) -> None:
    """Callers may choose the same id for their tasks: each reads its own."""
    for party in world.confined:
        run = f"/v1/summary-views/{world.target(party, 'view')}/run"
        assert world.client.post(run, json={"task_id": "everyones"}, headers=party.headers).status_code == 200
    for party in world.confined:
        task = world.client.get("/v1/tasks/everyones", headers=party.headers).json()
        assert task["view_id"] == world.target(party, "view"), party.name
