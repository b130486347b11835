"""What every engine promises of access tokens."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.domain.identity import Permission
from agent_memory_server.ports.stores import Stores
from tests.contract.stores.making import T0

BOUND = AccessToken(
    id="T1",
    description="for “Zoë’s” agent, 100 %",
    created_at=T0,
    tenant="auth0|x {y}",
    namespace="a:b",
    user_id="alice*",
    permissions=frozenset({Permission.READ, Permission.WRITE}),
    expires_at=T0 + timedelta(days=3),
    digest="d1",
)
PLAIN = AccessToken(id="T2", description="all", created_at=T0 + timedelta(seconds=1), tenant="default", digest="d2")
IMPORTED = AccessToken(
    id="T3", description="old", created_at=T0 + timedelta(seconds=2), tenant="default", imported_hash="$2b$12$abc"
)


class AccessTokensContract:
    async def test_a_token_is_found_by_its_digest_alone(self, stores: Stores) -> None:
        """Every field comes back equal; an unknown digest, an id and an imported hash find nothing."""
        tokens = stores.access_tokens
        for each in (BOUND, PLAIN, IMPORTED):
            assert await tokens.add(each)
        assert await tokens.find("d1") == BOUND
        assert await tokens.find("d2") == PLAIN
        for other in ("d", "D1", "T1", "", "*", IMPORTED.imported_hash or ""):
            assert await tokens.find(other) is None, other
        assert await tokens.list() == [IMPORTED, PLAIN, BOUND]
        assert await tokens.imported() == [IMPORTED]

    async def test_nothing_is_there_twice(self, stores: Stores) -> None:
        """An id, a digest or an imported hash that is known is refused, and the first token stays."""
        tokens = stores.access_tokens
        assert await tokens.add(BOUND)
        assert await tokens.add(IMPORTED)
        assert not await tokens.add(replace(PLAIN, id=BOUND.id))
        assert not await tokens.add(replace(PLAIN, digest=BOUND.digest))
        assert not await tokens.add(replace(IMPORTED, id="T9"))
        assert await tokens.list() == [IMPORTED, BOUND]

    async def test_a_removed_token_is_gone(self, stores: Stores) -> None:
        """It is found neither by digest nor in lists, and cannot be removed again; noting a use does not bring it back."""
        tokens = stores.access_tokens
        for each in (BOUND, PLAIN, IMPORTED):
            await tokens.add(each)
        assert await tokens.remove("T1")
        assert await tokens.remove("T3")
        assert not await tokens.remove("T1")
        await tokens.note_use("T1", digest="d1", at=T0)
        assert await tokens.find("d1") is None
        assert await tokens.list() == [PLAIN]
        assert await tokens.adopt("T3", digest="d3") is None

    async def test_an_imported_token_is_adopted_once(self, stores: Stores) -> None:
        """From then on it is found by its digest, and its imported hash is gone; of two that adopt it both get it."""
        tokens = stores.access_tokens
        await tokens.add(IMPORTED)
        adopted = await asyncio.gather(*(tokens.adopt("T3", digest="d3") for _ in range(2)))
        expected = replace(IMPORTED, digest="d3", imported_hash=None)
        assert adopted == [expected, expected]
        assert await tokens.find("d3") == expected
        assert await tokens.imported() == []
        assert await tokens.list() == [expected]

    async def test_adopting_what_was_added_by_hand_keeps_that(self, stores: Stores) -> None:
        """The same token was added with limits of its own: those count, and the imported one goes."""
        tokens = stores.access_tokens
        await tokens.add(IMPORTED)
        await tokens.add(BOUND)
        assert await tokens.adopt("T3", digest="d1") == BOUND
        assert await tokens.list() == [BOUND]

    async def test_the_last_use_never_goes_back(self, stores: Stores) -> None:
        """Processes note uses in any order."""
        tokens = stores.access_tokens
        await tokens.add(BOUND)
        for seconds in (5, 9, 7):
            await tokens.note_use("T1", digest="d1", at=T0 + timedelta(seconds=seconds))
        assert await tokens.find("d1") == replace(BOUND, last_used_at=T0 + timedelta(seconds=9))

    async def test_all_processes_share_one_key(self, stores: Stores) -> None:
        """Whoever asks first decides; nobody gets another one."""
        keys = await asyncio.gather(*(stores.access_tokens.digest_key(bytes([number]) * 32) for number in range(5)))
        assert len(set(keys)) == 1
        assert await stores.access_tokens.digest_key(b"x" * 32) == keys[0]
