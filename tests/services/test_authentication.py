"""Who is asking: access tokens from their making to their end, on a real store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import pytest
import structlog

from agent_memory_server.app import DATABASE_NAME, MemoryApp, open_app
from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.domain.identity import Permission, Principal
from agent_memory_server.errors import (
    Conflict,
    DependencyUnavailable,
    InvalidInput,
    NotAuthenticated,
    NotPermitted,
    TooManyRequests,
)
from agent_memory_server.ports.stores import Stores
from agent_memory_server.services.audit import FAILURES_PER_SECOND_MAX, Audit
from agent_memory_server.services.authentication import credential_in
from agent_memory_server.services.imported_tokens import WAITING_MAX, ImportedTokens
from agent_memory_server.stores.sqlite import open_sqlite
from tests.setting_proofs.running import settings_of

T0 = datetime(2026, 5, 1, tzinfo=UTC)


@dataclass
class Clock:
    time: datetime = T0

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@asynccontextmanager
async def opened(folder: Path, clock: Clock) -> AsyncGenerator[MemoryApp]:
    async with open_app(settings_of(folder, auth_mode="token"), now=clock) as app:
        yield app


async def refusal(app: MemoryApp, credential: str | None) -> str:
    """What a credential that must be refused is told."""
    with pytest.raises(NotAuthenticated) as refused:
        await app.authentication.authenticate(credential)
    return refused.value.detail


async def test_a_token_stands_for_what_it_was_made_for(tmp_path: Path, clock: Clock) -> None:
    """Tenant, binding and permissions are the token's; write includes read."""
    async with opened(tmp_path, clock) as app:
        token, kept = await app.access_tokens.add(
            description="d", actor="me", tenant="acme", namespace="n", user_id="u", permissions=[Permission.WRITE]
        )
        assert len(token) >= 43
        expected = Principal(
            subject=f"token:{kept.id}",
            tenant="acme",
            namespace="n",
            user_id="u",
            permissions=frozenset({Permission.READ, Permission.WRITE}),
        )
        assert await app.authentication.authenticate(token) == expected
        assert await app.authentication.authenticate([(b"x-api-key", token.encode())]) == expected
        assert token not in repr(await app.access_tokens.list())
        for wrong in (token[:-1], token.lower(), token + "x", kept.hash, kept.id, "*", "\0", "é" * 40):
            assert await refusal(app, wrong) == "Invalid token"
        assert await refusal(app, None) == "Missing authorization header"
        assert await refusal(app, "") == "Missing bearer token"


async def test_an_expired_token_says_so(tmp_path: Path, clock: Clock) -> None:
    """It works up to its last moment."""
    async with opened(tmp_path, clock) as app:
        token, _ = await app.access_tokens.add(description="d", actor="me", expires_in=timedelta(days=2))
        clock.time += timedelta(days=2) - timedelta(microseconds=1)
        assert await app.authentication.authenticate(token)
        clock.time += timedelta(microseconds=1)
        assert await refusal(app, token) == "Token has expired"


async def test_a_removed_token_is_refused_at_once_everywhere(tmp_path: Path, clock: Clock) -> None:
    """Also by another server on the same data, which has just accepted it."""
    async with opened(tmp_path, clock) as one, opened(tmp_path, clock) as other:
        token, kept = await one.access_tokens.add(description="d", actor="me")
        assert (await other.authentication.authenticate(token)).subject == f"token:{kept.id}"
        assert await one.access_tokens.remove(kept, actor="me")
        assert await refusal(other, token) == "Invalid token"
        assert await refusal(one, token) == "Invalid token"


async def test_the_last_use_is_known_to_the_minute(tmp_path: Path, clock: Clock) -> None:
    """Many requests are one write; a minute later another."""
    async with opened(tmp_path, clock) as app:
        token, _ = await app.access_tokens.add(description="d", actor="me")
        for seconds, expected in ((0, 0), (30, 0), (59, 0), (60, 60), (90, 60)):
            clock.time = T0 + timedelta(seconds=seconds)
            for _ in range(5):
                await app.authentication.authenticate(token)
            await app.access_tokens.close()  # finishes what is under way
            (kept,) = await app.access_tokens.list()
            assert kept.last_used_at == T0 + timedelta(seconds=expected)


async def test_what_cannot_be_a_token_is_refused_when_it_is_made(tmp_path: Path, clock: Clock) -> None:
    """Short, long, unprintable or JWT-like ones; one that is there already; no permission; blank scopes."""
    async with opened(tmp_path, clock) as app:
        good = "g" * 32
        await app.access_tokens.add(description="d", actor="me", token=good)
        with pytest.raises(Conflict):
            await app.access_tokens.add(description="e", actor="me", token=good)
        for token in ("g" * 31, "g" * 513, "g" * 40 + "\n", "g" * 40 + "é", "g g" * 20, "a.b.c" * 1 + "d" * 40):
            with pytest.raises(InvalidInput, match="the token cannot be used"):
                await app.access_tokens.add(description="d", actor="me", token=token)
        with pytest.raises(InvalidInput, match="permission"):
            await app.access_tokens.add(description="d", actor="me", permissions=())
        for name in ("tenant", "namespace", "user_id"):
            for value in ("", " ", "x" * 513, "a\0b"):
                with pytest.raises(InvalidInput):
                    await app.access_tokens.add(description="d", actor="me", **{name: value})  # pyright: ignore[reportArgumentType]
        with pytest.raises(InvalidInput, match="description"):
            await app.access_tokens.add(description=" ", actor="me")


def test_credentials_are_found_in_headers() -> None:
    """Bearer before X-API-Key, any case of the scheme; another scheme is none; two of a kind are refused."""
    found = {
        (): None,
        ((b"authorization", b"Basic abc"),): None,
        ((b"authorization", b"Bearer  abc "),): "abc",
        ((b"authorization", b"bearer abc"), (b"x-api-key", b"def")): "abc",
        ((b"authorization", b"Bearer"),): "",
        ((b"x-api-key", b" def "),): "def",
        ((b"x-api-key", b" "),): None,
        ((b"authorization", b"Digest x"), (b"x-api-key", b"def")): "def",
    }
    for headers, expected in found.items():
        assert credential_in(headers) == expected, headers
    for name in (b"authorization", b"x-api-key"):
        with pytest.raises(NotAuthenticated):
            credential_in([(name, b"Bearer a"), (name, b"Bearer b")])


# -- tokens of the reference server


def imported(token: str, number: int = 1) -> AccessToken:
    """As a migration brings it over: known by its bcrypt hash alone."""
    hashed = bcrypt.hashpw(token.encode(), bcrypt.gensalt(rounds=4)).decode()
    return AccessToken(id=f"I{number}", description="old", created_at=T0, tenant="default", imported_hash=hashed)


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    stores = await open_sqlite(tmp_path / DATABASE_NAME, now=lambda: T0)
    yield stores
    await stores.engine.close()


async def test_an_imported_token_works_and_is_upgraded(tmp_path: Path, clock: Clock) -> None:
    """Its holder notices nothing: the first use finds it by its old hash, and from then on it is looked up."""
    old, expired = "o" * 43, "e" * 43
    async with opened(tmp_path, clock) as app:
        stores = await open_sqlite(tmp_path / "data" / DATABASE_NAME, now=clock)
        await stores.access_tokens.add(imported(old, 1))
        await stores.access_tokens.add(replace(imported(expired, 2), expires_at=T0))
        assert await refusal(app, "w" * 43) == "Invalid token"
        for _ in range(2):
            assert (await app.authentication.authenticate(old)).subject == "token:I1"
        assert await refusal(app, expired) == "Token has expired"
        assert [each.imported_hash for each in await app.access_tokens.list()] == [None, None]
        await stores.engine.close()


class HeldHashes:
    """Takes as long as the test wants; counts what was tried, and how many at a time."""

    def __init__(self, right: str = "") -> None:
        self.right = right
        self.go_on = threading.Event()
        self.tried = 0
        self.at_once = 0
        self.at_once_max = 0

    def prepare_thread(self) -> None:
        pass

    def matches(self, token: str, imported_hash: str, /) -> bool:
        self.tried += 1
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        self.go_on.wait(timeout=20)
        self.at_once -= 1
        return token == self.right


@pytest.fixture
def held() -> Iterator[HeldHashes]:
    hashes = HeldHashes()
    yield hashes
    hashes.go_on.set()


async def test_a_flood_of_unknown_tokens_tries_one_at_a_time(stores: Stores, held: HeldHashes) -> None:
    """What waits is bounded, the rest is told to come back, and what was tried in vain is not tried again."""
    await stores.access_tokens.add(imported("x"))
    tokens = ImportedTokens(store=stores.access_tokens, hashes=held)
    waiting = [asyncio.create_task(tokens.find(f"wrong-{n}", f"digest-{n}")) for n in range(WAITING_MAX)]
    again = [asyncio.create_task(tokens.find("wrong-0", "digest-0")) for _ in range(5)]
    async with asyncio.timeout(10):
        while not held.tried:  # noqa: ASYNC110 - what is awaited happens on a thread
            await asyncio.sleep(0.005)
    for n in range(5):
        with pytest.raises(TooManyRequests):
            await tokens.find(f"late-{n}", f"late-{n}")
    held.go_on.set()
    assert await asyncio.gather(*waiting, *again) == [None] * (WAITING_MAX + 5)
    assert (held.tried, held.at_once_max) == (WAITING_MAX, 1)
    assert await tokens.find("wrong-0", "digest-0") is None
    assert held.tried == WAITING_MAX
    await tokens.close()


async def test_a_trial_that_takes_long_is_not_a_refusal(stores: Stores, held: HeldHashes) -> None:
    """The request is answered with 503 and the trial goes on: repeated, the request finds the token."""
    held.right = "right"
    await stores.access_tokens.add(imported("right"))
    tokens = ImportedTokens(store=stores.access_tokens, hashes=held, wait_s=0.01)
    with pytest.raises(DependencyUnavailable):
        await tokens.find("right", "digest")
    held.go_on.set()
    async with asyncio.timeout(10):
        while (found := await stores.access_tokens.find("digest")) is None:  # noqa: ASYNC110 - it happens on a thread
            await asyncio.sleep(0.005)
    assert found.id == "I1"
    await tokens.close()


async def test_without_imported_tokens_nothing_is_tried(stores: Stores, held: HeldHashes) -> None:
    """A wrong token costs one look."""
    tokens = ImportedTokens(store=stores.access_tokens, hashes=held)
    assert await tokens.find("wrong", "digest") is None
    assert held.tried == 0


# -- the audit log


async def test_security_events_are_logged_without_secrets(tmp_path: Path, clock: Clock) -> None:
    """Made, refused, denied, removed: who and why; neither a token nor what was sent in its place."""
    with structlog.testing.capture_logs() as logged:
        async with opened(tmp_path, clock) as app:
            token, kept = await app.access_tokens.add(description="d", actor="me", permissions=[Permission.READ])
            await refusal(app, "secret-that-is-wrong")
            caller = await app.authentication.authenticate(token)
            with pytest.raises(NotPermitted):
                app.authentication.require(caller, Permission.ADMIN, action="forget")
            await app.access_tokens.remove(kept, actor="me")
    events = [each for each in logged if each["event"] != "working through pending work"]
    assert [each["event"] for each in events] == [
        "token added",
        "authentication failed",
        "permission denied",
        "token removed",
    ]
    assert events[2]["subject"] == caller.subject
    assert (events[2]["permission"], events[2]["action"]) == ("admin", "forget")
    for secret in (token, kept.hash, "secret-that-is-wrong"):
        assert secret not in str(events)


def test_a_flood_of_failures_does_not_flood_the_log() -> None:
    """Ten lines a second, then how many there were besides."""
    seconds = [0.0]
    audit = Audit(clock_s=lambda: seconds[0])
    with structlog.testing.capture_logs() as logged:
        for _ in range(1_000):
            audit.authentication_failed("Invalid token")
        seconds[0] = 1.0
        audit.authentication_failed("Invalid token")
    assert len(logged) == FAILURES_PER_SECOND_MAX + 2
    assert {"event": "authentication failures not logged", "count": 990, "log_level": "warning"} in logged
