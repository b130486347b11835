"""Access tokens over SQLite: one row each, found by the index of their digests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from agent_memory_server.domain.access_tokens import AccessToken
from agent_memory_server.domain.identity import Permission
from agent_memory_server.stores.sqlite.connections import Connected
from agent_memory_server.stores.sqlite.reading import Readers
from agent_memory_server.stores.sqlite.writing import Writer
from agent_memory_server.stores.values import instant, instant_or_none, micros, micros_or_none

_COLUMNS = "id, digest, imported_hash, tenant, namespace, user_id, permissions, description, created_at, expires_at, last_used_at"
_ADD = f"INSERT INTO access_tokens ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_FIND = f"SELECT {_COLUMNS} FROM access_tokens WHERE digest = ?"
_ONE = f"SELECT {_COLUMNS} FROM access_tokens WHERE id = ?"
_LIST = f"SELECT {_COLUMNS} FROM access_tokens ORDER BY created_at DESC, id DESC"
_IMPORTED = f"SELECT {_COLUMNS} FROM access_tokens WHERE imported_hash IS NOT NULL ORDER BY created_at DESC, id DESC"
_ADOPT = "UPDATE access_tokens SET digest = ?2, imported_hash = NULL WHERE id = ?1 AND imported_hash IS NOT NULL"
_NOTE = "UPDATE access_tokens SET last_used_at = ?2 WHERE id = ?1 AND (last_used_at IS NULL OR last_used_at < ?2)"
_KEY = "SELECT value FROM facts WHERE name = 'credential_key'"


class SqliteAccessTokens:
    """``ports.access_tokens.AccessTokenStore`` over one file."""

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer

    async def digest_key(self, proposed: bytes, /) -> bytes:
        held = await self._readers.run(lambda connected: connected.value(_KEY))
        if held is not None:
            return held

        def work(connected: Connected) -> bytes:
            connected.execute(
                "INSERT INTO facts (name, value) VALUES ('credential_key', ?) ON CONFLICT DO NOTHING", (proposed,)
            )
            return connected.value(_KEY)

        return await self._writer.run(work)

    async def add(self, token: AccessToken, /) -> bool:
        row = (
            token.id,
            token.digest,
            token.imported_hash,
            token.tenant,
            token.namespace,
            token.user_id,
            " ".join(sorted(token.permissions)),
            token.description,
            micros(token.created_at),
            micros_or_none(token.expires_at),
            micros_or_none(token.last_used_at),
        )
        return await self._writer.run(lambda connected: connected.changed(_ADD, row) == 1)

    async def find(self, digest: str, /) -> AccessToken | None:
        row = await self._readers.run(lambda connected: connected.one(_FIND, (digest,)))
        return None if row is None else _token(row)

    async def list(self) -> Sequence[AccessToken]:
        return [_token(row) for row in await self._readers.run(lambda connected: connected.rows(_LIST))]

    async def imported(self) -> Sequence[AccessToken]:
        return [_token(row) for row in await self._readers.run(lambda connected: connected.rows(_IMPORTED))]

    async def remove(self, token_id: str, /) -> bool:
        delete = "DELETE FROM access_tokens WHERE id = ?"
        return await self._writer.run(lambda connected: connected.changed(delete, (token_id,)) == 1)

    async def adopt(self, token_id: str, /, *, digest: str) -> AccessToken | None:
        def work(connected: Connected) -> tuple[Any, ...] | None:
            # Somebody may have added the same token here: then the imported row has nothing more to say.
            if connected.one(_FIND, (digest,)) is not None:
                connected.execute("DELETE FROM access_tokens WHERE id = ? AND imported_hash IS NOT NULL", (token_id,))
                return connected.one(_FIND, (digest,))
            connected.execute(_ADOPT, (token_id, digest))
            return connected.one(_ONE, (token_id,))

        row = await self._writer.run(work)
        return None if row is None else _token(row)

    async def note_use(self, token_id: str, /, *, digest: str, at: datetime) -> None:
        del digest
        await self._writer.run_patiently(lambda connected: connected.execute(_NOTE, (token_id, micros(at))))


def _token(row: tuple[Any, ...]) -> AccessToken:
    return AccessToken(
        id=row[0],
        digest=row[1],
        imported_hash=row[2],
        tenant=row[3],
        namespace=row[4],
        user_id=row[5],
        permissions=frozenset(Permission(each) for each in row[6].split()),
        description=row[7],
        created_at=instant(row[8]),
        expires_at=instant_or_none(row[9]),
        last_used_at=instant_or_none(row[10]),
    )
