"""Checks 13 and 14, with scopes in place of credentials: every operation × own, other and absent id, over near-equal scopes.

Another's record answers exactly like an absent one, nobody's words show up in anybody else's answer, and after everything
that strangers tried each scope reads as before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from ulid import ULID

from tests.contract.scope_matrix.callers import Caller, near_equal_callers
from tests.contract.scope_matrix.recipes import CREDENTIAL_RECIPES, MORE_READS, QUERY, RECIPES, UNSCOPED, Recipe
from tests.server_process import ServerProcess, wait_for_no_pending_work

pytestmark = pytest.mark.long

METHODS = {"get", "put", "post", "patch", "delete"}
VOLATILE_HEADERS = {"date", "traceparent", "x-request-id"}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_TRACE = re.compile(r"[0-9a-f]{32}")
_SCORE = re.compile(r"\d\.\d{6,}(e-?\d+)?|(?<=\"r\":)1\.0")
"""Recency moves on while the tests run; it is a plain 1.0 for what was touched this very moment."""
_NEW_TASK = re.compile(r'"id":"[0-9A-Z]{26}"(?=,"type":)')
_WHY_NOT_FOUND = re.compile(r'(?<="stage":"not_found","reason":")[^"]*')
"""Other recipes make and delete memories with the same ids in the caller's own scope, and that is told."""
_REVISION = re.compile(r'"[0-9A-Z]{26}(\.\d+)?"')
ALL_RECIPES = {**{f"{method} {path}": recipe for (method, path), recipe in RECIPES.items()}, **MORE_READS}


@dataclass(frozen=True)
class Owner:
    """A caller with a session and a memory of its own; all ids of one kind have one length, so that answers compare."""

    caller: Caller
    number: int
    prefix: str

    @property
    def canary(self) -> str:
        return f"{QUERY} {self.prefix}word{self.number:02d}"

    def target(self, kind: str | None) -> str:
        return f"{self.prefix}-{kind}-{self.number:02d}"

    def write(self, client: httpx.Client) -> None:
        said = {"id": f"{self.target('message')}", "role": "user", "content": self.canary}
        session = {"messages": [said], "data": {"secret": self.canary}, "context": self.canary, **self.caller.named}
        written = client.put(f"/v1/working-memory/{self.target('session')}", json=session)
        assert written.status_code == 200, f"{self.caller}: {written.text}"
        memory = {"id": self.target("memory"), "text": self.canary, "topics": [self.canary], **self.caller.named}
        written = client.post("/v1/long-term-memory/", json={"memories": [memory]})
        assert written.status_code == 200, f"{self.caller}: {written.text}"

    def state(self, client: httpx.Client) -> list[Any]:
        """All that this owner reads of its own."""
        named = self.caller.named
        session = client.get(f"/v1/working-memory/{self.target('session')}", params=named)
        memory = client.get(f"/v1/long-term-memory/{self.target('memory')}", params=named)
        message = client.get(f"/v1/long-term-memory/{self.target('message')}", params=named)
        assert [session.status_code, memory.status_code, message.status_code] == [200] * 3, self.caller
        read: list[Any] = [session.json(), memory.json(), message.json()]
        for each in read:
            for touched_by_searches in ("last_accessed", "access_count"):
                each.pop(touched_by_searches, None)
        return [*read, session.headers["etag"], memory.headers["etag"]]


@dataclass(frozen=True)
class World:
    owners: list[Owner]
    client: httpx.Client

    def confined(self) -> Iterator[Owner]:
        """The owners whose requests name a whole scope: what they may see is exactly their own."""
        return (owner for owner in self.owners if owner.caller.is_fully_named)

    def leaks(self, response: httpx.Response, caller: Caller) -> list[str]:
        """Words in the answer that the caller must not see."""
        return [
            owner.canary
            for owner in self.owners
            if not caller.admits(owner.caller) and owner.canary.removeprefix(QUERY) in response.text
        ]


@pytest.fixture(scope="module")
def world(shared_server: ServerProcess) -> Iterator[World]:
    """Every near-equal scope with a session, a message and a memory, promoted and indexed."""
    prefix = f"x{str(ULID())[-8:].lower()}"
    owners = [Owner(caller, number, prefix) for number, caller in enumerate(near_equal_callers(prefix))]
    with shared_server.client() as client:
        for owner in owners:
            owner.write(client)
        wait_for_no_pending_work(client)
        yield World(owners, client)


def fingerprint(response: httpx.Response, target: str) -> tuple[int, dict[str, str], str]:
    """What a stranger can tell apart: status, headers and body, without ids, times and trace ids."""
    headers = {name: value for name, value in response.headers.items() if name not in VOLATILE_HEADERS}
    if "etag" in headers:
        headers["etag"] = _REVISION.sub("<revision>", headers["etag"])
    body = _WHY_NOT_FOUND.sub("<not here>", response.text.replace(target, "<id>"))
    body = _NEW_TASK.sub('"id":"<task>"', _TIME.sub("<time>", body))
    if _SCORE.search(body) or "<not here>" in body:
        headers.pop("content-length", None)
    body = _TRACE.sub("<trace>", _SCORE.sub("<score>", body))
    return response.status_code, headers, body


def strangers_of(world: World, asking: Owner, recipe: Recipe) -> list[Owner]:
    """Whom to aim at: everybody for reads; for writes the next ones in the list and the plainest, to keep it quick."""
    foreign = [owner for owner in world.owners if not asking.caller.admits(owner.caller)]
    if not recipe.writes:
        return foreign
    after = [owner for owner in foreign if owner.number > asking.number] + foreign
    return [*after[:2], *(owner for owner in foreign[:1] if owner not in after[:2])]


def test_every_live_operation_has_a_recipe(shared_server: ServerProcess) -> None:
    """A route that the OpenAPI document shows and the matrix does not know fails here: it cannot be forgotten."""
    document = httpx.get(f"{shared_server.url}/openapi.json").json()
    live = {
        (method, path.rstrip("/"))
        for path, operations in document["paths"].items()
        for method in operations
        if method in METHODS
    }
    assert live - RECIPES.keys() - UNSCOPED - CREDENTIAL_RECIPES.keys() == set(), "operations without a recipe"
    assert RECIPES.keys() - live == set(), "recipes without an operation"


@pytest.mark.parametrize("name", [name for name, recipe in ALL_RECIPES.items() if recipe.target])
def test_anothers_id_answers_exactly_like_an_absent_one(world: World, name: str) -> None:
    """Foreign equals absent in status, headers and body, for every pair of near-equal scopes."""
    recipe = ALL_RECIPES[name]
    for asking in world.confined():
        absent = f"{world.owners[0].prefix}-{recipe.target}-zz"
        expected = fingerprint(recipe.send(world.client, asking.caller, absent), absent)
        if recipe.undo:
            recipe.undo(world.client, asking.caller, absent)
        assert expected[0] < 500
        for stranger in strangers_of(world, asking, recipe):
            target = stranger.target(recipe.target)
            response = recipe.send(world.client, asking.caller, target)
            assert fingerprint(response, target) == expected, f"{asking.caller} aims at {stranger.caller}"
            assert world.leaks(response, asking.caller) == [], f"{asking.caller} aims at {stranger.caller}"
            if recipe.undo:
                assert recipe.undo(world.client, asking.caller, target).status_code == 200


@pytest.mark.parametrize("name", [name for name, recipe in ALL_RECIPES.items() if not recipe.writes])
def test_reads_show_ones_own_and_nobody_elses(world: World, name: str) -> None:
    """Every read of a scope shows its own words (so that the matrix tests something) and none of another scope."""
    recipe = ALL_RECIPES[name]
    showing = 0
    for owner in world.confined():
        response = recipe.send(world.client, owner.caller, owner.target(recipe.target))
        assert response.status_code == 200, f"{owner.caller}: {response.text}"
        assert world.leaks(response, owner.caller) == [], owner.caller
        shown = (owner.canary, owner.target("session"), owner.target("memory"))
        showing += any(word in response.text for word in shown)
    expected = 0 if recipe.shows_nothing else sum(1 for _ in world.confined())
    assert showing == expected, f"{name} shows {showing} of {expected} callers their own"


def test_counts_do_not_include_others(world: World) -> None:
    """Totals of listings and searches count only the caller's own."""
    for owner in world.confined():
        named, filters = owner.caller.named, owner.caller.filters
        assert world.client.get("/v1/working-memory/", params=named).json()["total"] == 1, owner.caller
        assert world.client.get("/v1/long-term-memory", params=named).json()["total"] == 2, owner.caller
        listing = world.client.post("/v1/long-term-memory/search", json=filters).json()
        assert (listing["total"], len(listing["memories"])) == (2, 2), owner.caller


def test_strangers_writes_change_nothing(world: World) -> None:
    """After every caller aimed every writing operation at others' ids, each owner reads exactly what it wrote."""
    before = {owner.number: owner.state(world.client) for owner in world.owners}
    writing = [recipe for recipe in ALL_RECIPES.values() if recipe.writes]
    for asking in world.confined():
        for recipe in writing:
            for stranger in strangers_of(world, asking, recipe):
                target = stranger.target(recipe.target)
                recipe.send(world.client, asking.caller, target)
                if recipe.undo:
                    recipe.undo(world.client, asking.caller, target)
    wait_for_no_pending_work(world.client)
    for owner in world.owners:
        assert owner.state(world.client) == before[owner.number], owner.caller


def test_a_write_without_scope_makes_an_ownerless_record(world: World) -> None:
    """PUT, append, PATCH and create that name no user or namespace never fall back onto somebody's record."""
    nobody = Caller(namespace=None, user_id=None)
    before = {owner.number: owner.state(world.client) for owner in world.owners}
    for owner in world.confined():
        session = owner.target("session")
        patched = RECIPES["patch", "/v1/working-memory/{session_id}"].send(world.client, nobody, session)
        assert patched.status_code == 404, f"a PATCH without scope reached {owner.caller}"
        for operation in (
            ("put", "/v1/working-memory/{session_id}"),
            ("post", "/v1/working-memory/{session_id}/messages"),
        ):
            recipe = RECIPES[operation]
            assert recipe.send(world.client, nobody, session).status_code == 200
            assert recipe.undo is not None
            assert recipe.undo(world.client, nobody, session).status_code == 200
    wait_for_no_pending_work(world.client)
    for owner in world.owners:
        assert owner.state(world.client) == before[owner.number], owner.caller


def test_an_id_that_several_hold_is_ambiguous_without_scope(shared_server: ServerProcess, namespace: str) -> None:
    """Naming neither user nor namespace: one visible record answers, two are 409 that names neither owner."""
    identifier = f"{namespace}-both"
    with shared_server.client() as client:
        for count, user in enumerate(("alice-of-409", "bob-of-409"), start=1):
            scope = {"namespace": namespace, "user_id": user}
            memory = {"id": identifier, "text": "whose?", **scope}
            assert client.post("/v1/long-term-memory/", json={"memories": [memory]}).status_code == 200
            assert client.put(f"/v1/working-memory/{identifier}", json={"context": "c", **scope}).status_code == 200
            for path in (f"/v1/long-term-memory/{identifier}", f"/v1/working-memory/{identifier}"):
                response = client.get(path)
                assert response.status_code == (200 if count == 1 else 409), response.text
                if count == 2:
                    assert "alice-of-409" not in response.text
                    assert "user_id or namespace" in response.json()["detail"]
        for path in (f"/v1/long-term-memory/{identifier}", f"/v1/working-memory/{identifier}"):
            assert client.get(path, params={"user_id": "alice-of-409"}).status_code == 200
        assert client.delete("/v1/long-term-memory", params={"memory_ids": identifier}).status_code == 409
        assert client.delete(f"/v1/working-memory/{identifier}").status_code == 409
        assert client.get(f"/v1/long-term-memory/{identifier}", params={"user_id": "bob-of-409"}).status_code == 200


def test_one_id_held_by_everybody_means_ones_own(world: World) -> None:
    """All owners use the same session id and memory id: each reads its own, and a delete takes only its own."""
    everyones = f"{world.owners[0].prefix}-everyones"

    def readings(owner: Owner) -> list[tuple[int, bool]]:
        named = owner.caller.named
        answers = [
            world.client.get(f"/v1/working-memory/{everyones}", params=named),
            world.client.get(f"/v1/long-term-memory/{everyones}", params=named),
        ]
        assert all(world.leaks(answer, owner.caller) == [] for answer in answers), owner.caller
        return [(answer.status_code, owner.canary in answer.text) for answer in answers]

    confined = list(world.confined())
    for owner in world.owners:
        session = {"context": owner.canary, **owner.caller.named}
        assert world.client.put(f"/v1/working-memory/{everyones}", json=session).status_code == 200
        memory = {"id": everyones, "text": owner.canary, **owner.caller.named}
        assert world.client.post("/v1/long-term-memory/", json={"memories": [memory]}).status_code == 200
    for position, owner in enumerate(confined):
        assert readings(owner) == [(200, True), (200, True)], owner.caller
        named = owner.caller.named
        assert world.client.delete(f"/v1/working-memory/{everyones}", params=named).status_code == 200
        deleted = world.client.delete("/v1/long-term-memory", params={"memory_ids": everyones, **named})
        assert deleted.json()["status"] == "ok, deleted 1 memories"
        assert readings(owner) == [(404, False), (404, False)], owner.caller
        if position + 1 < len(confined):
            assert readings(confined[position + 1]) == [(200, True), (200, True)]
    # What named no whole scope is still there: only its owners' writes reach it.
    for owner in world.owners:
        if not owner.caller.is_fully_named:
            read = world.client.get(f"/v1/working-memory/{everyones}", params=owner.caller.named)
            assert (read.status_code, read.json()["context"]) == (200, owner.canary), owner.caller
            assert world.client.delete(f"/v1/working-memory/{everyones}", params=owner.caller.named).status_code == 200
