"""Access tokens over Redis: one document each under its digest (an imported one under its id), and a set of them all."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.domain.identity import Permission
from agent_memory_server.stores.redis import naming
from agent_memory_server.stores.redis.connections import Link
from agent_memory_server.stores.redis.encoding import from_json
from agent_memory_server.stores.redis.transactions import Transaction, transact
from agent_memory_server.stores.values import instant, instant_or_none, micros, micros_or_none

_ALL = naming.PREFIX + "tokens"
_DIGEST = "d:"
_IMPORTED = "i:"


def _place(token: AccessToken) -> str:
    return _DIGEST + token.digest if token.digest is not None else _IMPORTED + token.id


def _key(place: str) -> str:
    return f"{naming.PREFIX}token:{place}"


class RedisAccessTokens:
    """``ports.access_tokens.AccessTokenStore`` over one Redis."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def digest_key(self, proposed: bytes, /) -> bytes:
        held = await self._link.read("HGET", naming.FACTS, "credential_key")
        if held is None:
            await self._link.write("HSETNX", naming.FACTS, "credential_key", proposed)
            held = await self._link.read("HGET", naming.FACTS, "credential_key")
        return held

    async def add(self, token: AccessToken, /) -> bool:
        async def work(transaction: Transaction) -> bool:
            held = await _held(transaction)
            hashes = {each.imported_hash for each in held} - {None}
            if token.imported_hash in hashes or any(each.id == token.id for each in held):
                return False
            if await transaction.document(_key(_place(token))) is not None:
                return False
            _put(transaction, token)
            return True

        return await transact(self._link, work, alone=_ALL)

    async def find(self, digest: str, /) -> AccessToken | None:
        held = await self._link.read("GET", _key(_DIGEST + digest))
        return None if held is None else _token(from_json(held))

    async def list(self) -> Sequence[AccessToken]:
        return await self._found("")

    async def imported(self) -> Sequence[AccessToken]:
        return await self._found(_IMPORTED)

    async def remove(self, token_id: str, /) -> bool:
        async def work(transaction: Transaction) -> bool:
            transaction.releases = True
            for token in await _held(transaction):
                if token.id == token_id:
                    _drop(transaction, token)
                    return True
            return False

        return await transact(self._link, work, alone=_ALL)

    async def adopt(self, token_id: str, /, *, digest: str) -> AccessToken | None:
        async def work(transaction: Transaction) -> AccessToken | None:
            imported, known = await transaction.documents((_key(_IMPORTED + token_id), _key(_DIGEST + digest)))
            if imported is not None:
                _drop(transaction, _token(imported))
            # Somebody may have added the same token here: then the imported one has nothing more to say.
            if known is not None or imported is None:
                return None if known is None else _token(known)
            adopted = _token({**imported, "digest": digest, "imported_hash": None})
            _put(transaction, adopted)
            return adopted

        return await transact(self._link, work, alone=_ALL)

    async def note_use(self, token_id: str, /, *, digest: str, at: datetime) -> None:
        async def work(transaction: Transaction) -> None:
            key = _key(_DIGEST + digest)
            held = await transaction.document(key)
            if held is not None and held["id"] == token_id and (held["last_used_at"] or 0) < micros(at):
                transaction.put(key, {**held, "last_used_at": micros(at)})

        await transact(self._link, work)

    async def _found(self, beginning: str) -> Sequence[AccessToken]:
        places = [member.decode() for member in await self._link.read("SMEMBERS", _ALL)]
        keys = [_key(place) for place in places if place.startswith(beginning)]
        documents: list[bytes | None] = await self._link.read("MGET", *keys) if keys else []
        return _newest_first([_token(from_json(each)) for each in documents if each is not None])


async def _held(transaction: Transaction) -> Sequence[AccessToken]:
    """Every token, as part of the decision: another one that comes or goes meanwhile makes it anew."""
    places = await transaction.members(_ALL)
    keys = [_key(place) for place in places]
    tokens = [_token(each) for each in await transaction.documents(keys) if each is not None]
    for key in keys:
        # Their uses may be noted meanwhile: that changes nothing here.
        transaction.unchecked(key)
    return tokens


def _put(transaction: Transaction, token: AccessToken) -> None:
    transaction.add(_ALL, _place(token))
    transaction.put(_key(_place(token)), _document(token))


def _drop(transaction: Transaction, token: AccessToken) -> None:
    transaction.discard(_ALL, _place(token))
    transaction.drop(_key(_place(token)))


def _newest_first(tokens: list[AccessToken]) -> list[AccessToken]:
    return sorted(tokens, key=lambda token: (token.created_at, token.id), reverse=True)


def _document(token: AccessToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "digest": token.digest,
        "imported_hash": token.imported_hash,
        "tenant": token.tenant,
        "namespace": token.namespace,
        "user_id": token.user_id,
        "permissions": sorted(token.permissions),
        "description": token.description,
        "created_at": micros(token.created_at),
        "expires_at": micros_or_none(token.expires_at),
        "last_used_at": micros_or_none(token.last_used_at),
    }


def _token(document: dict[str, Any]) -> AccessToken:
    return AccessToken(
        id=document["id"],
        digest=document["digest"],
        imported_hash=document["imported_hash"],
        tenant=document["tenant"],
        namespace=document["namespace"],
        user_id=document["user_id"],
        permissions=frozenset(Permission(each) for each in document["permissions"]),
        description=document["description"],
        created_at=instant(document["created_at"]),
        expires_at=instant_or_none(document["expires_at"]),
        last_used_at=instant_or_none(document["last_used_at"]),
    )
