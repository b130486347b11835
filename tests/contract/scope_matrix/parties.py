"""Who asks in the matrix of credentials: parties of two tenants, each with a token and records of its own.

``credential_world`` opens it over any running server; MCP's tools can be aimed from it in the same way as REST's operations
(``Party.token``, ``Party.targets``, ``World.leaks``).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from ulid import ULID

from agent_memory_server.app import open_app
from agent_memory_server.domain.identity import Permission
from tests.contract.scope_matrix.callers import Caller
from tests.contract.scope_matrix.recipes import QUERY
from tests.server_process import ServerProcess, wait_for_no_pending_work
from tests.setting_proofs.running import settings_of

ALL = tuple(Permission)


@dataclass(frozen=True)
class Party:
    """One credential. ``number`` makes its ids, which all have one length."""

    name: str
    tenant: str
    namespace: str | None = None
    user_id: str | None = None
    permissions: tuple[Permission, ...] = ALL
    number: int = field(default_factory=itertools.count(10).__next__)
    token: str = field(default_factory=lambda: f"token-{ULID()}-{ULID()}")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def caller(self) -> Caller:
        """Requests that name no scope: the credential fills it in."""
        return Caller(namespace=None, user_id=None, tenant=self.tenant, headers=self.headers)

    def naming(self, namespace: str | None, user_id: str | None) -> Caller:
        """Requests of this credential that name a scope, which may be somebody else's."""
        return Caller(namespace=namespace, user_id=user_id, tenant=self.tenant, headers=self.headers)

    @property
    def canary(self) -> str:
        """What only this party's records hold."""
        return f"{QUERY} word{self.number}of{self.token[-6:].lower()}"

    def admits(self, other: Party) -> bool:
        """Whether this credential reaches what the other one wrote."""
        return (
            self.tenant == other.tenant
            and self.namespace in (None, other.namespace)
            and self.user_id in (None, other.user_id)
        )


T1_ALICE = "T1/alice"
READER = "T1 reader"


def parties() -> list[Party]:
    """Owners, bound in every way, and a service of T1 that may only read."""
    return [
        Party(T1_ALICE, "T1", user_id="alice"),
        Party("T1/bob", "T1", user_id="bob"),
        Party("T2/alice", "T2", user_id="alice"),
        Party("T1/team", "T1", namespace="team"),
        Party("T1/team/carol", "T1", namespace="other", user_id="carol"),
        Party("T2", "T2"),
        Party(READER, "T1", permissions=(Permission.READ,)),
    ]


class World:
    """A server with authentication on, and what each owner has on it."""

    def __init__(self, server: ServerProcess, client: httpx.Client, all_parties: list[Party]) -> None:
        self.server = server
        self.client = client
        self.parties = all_parties
        self.targets: dict[tuple[str, str], str] = {}
        """(party, kind) → id of a record of that party and kind."""

    @cached_property
    def owners(self) -> list[Party]:
        return [party for party in self.parties if Permission.WRITE in party.permissions]

    @property
    def reader(self) -> Party:
        return self.party(READER)

    def party(self, name: str) -> Party:
        return next(party for party in self.parties if party.name == name)

    @cached_property
    def confined(self) -> list[Party]:
        """Owners that do not reach everybody else's of their tenant."""
        return [party for party in self.owners if party.namespace or party.user_id]

    def strangers(self, party: Party) -> list[Party]:
        return [other for other in self.owners if not party.admits(other)]

    def leaks(self, response: httpx.Response, party: Party) -> list[str]:
        """Whose words the answer holds that this party must not see."""
        return [other.name for other in self.strangers(party) if other.canary.removeprefix(QUERY) in response.text]

    def absent(self, kind: str) -> str:
        """An id that nobody has, as long as those that are there."""
        length = len(next(identifier for (_, each), identifier in self.targets.items() if each == kind))
        return f"absent-{'z' * 64}"[:length]

    def target(self, party: Party, kind: str) -> str:
        assert (party.name, kind) in self.targets, (
            f"no party has a record of the kind {kind}: teach World.fill to make one"
        )
        return self.targets[party.name, kind]

    def fill(self) -> None:
        """Write each owner's records through its own credential, naming no scope."""
        for party in self.owners:
            self._fill(party)
        self.wait()

    def wait(self) -> None:
        """Until everybody's pending work is done."""
        for party in self.owners:
            wait_for_no_pending_work(self._as(party))

    def _as(self, party: Party) -> Any:
        return _Authenticated(self.client, party.headers)

    def _fill(self, party: Party) -> None:
        client = self._as(party)
        session, memory, task = (f"{kind}-of-{party.number}" for kind in ("session", "memory", "task"))
        said = {"id": f"message-of-{party.number}", "role": "user", "content": party.canary}
        body = {"messages": [said], "data": {"secret": party.canary}, "context": party.canary}
        done(client.put(f"/v1/working-memory/{session}", json=body))
        record = {"id": memory, "text": party.canary, "topics": [party.canary], "session_id": session}
        # Nobody makes a memory with the kept one's id in a scope of its own: there is no history of it but its owner's.
        kept = {"id": f"kept-of-{party.number}", "text": f"{party.canary} kept"}
        done(client.post("/v1/long-term-memory/", json={"memories": [record, kept], "deduplicate": False}))
        self.targets[party.name, "kept"] = kept["id"]
        view = {"name": party.canary, "source": "long_term", "group_by": ["session_id"], "prompt": party.canary}
        made = done(client.post("/v1/summary-views", json=view))
        done(client.post(f"/v1/summary-views/{made['id']}/run", json={"task_id": task}))
        # Of a kind that nothing here does: nobody is ever called.
        hook = {"url": "https://1.1.1.1/", "kinds": ["import"], "description": party.canary}
        webhook = done(client.post("/v1/webhooks", json=hook))["id"]
        operation = done(client.get(f"/v1/long-term-memory/{memory}/history"))["revisions"][0]["operation_id"]
        for kind, identifier in (
            ("session", session),
            ("memory", memory),
            ("task", task),
            ("view", made["id"]),
            ("operation", operation),
            ("webhook", webhook),
        ):
            self.targets[party.name, kind] = identifier

    def state(self, party: Party) -> list[Any]:
        """All that the owner reads of its own, without what moves on by itself."""
        client = self._as(party)
        read = [
            done(client.get(f"/v1/working-memory/{self.target(party, 'session')}")),
            done(client.get(f"/v1/long-term-memory/{self.target(party, 'memory')}")),
            done(client.get(f"/v1/summary-views/{self.target(party, 'view')}")),
            done(client.get(f"/v1/summary-views/{self.target(party, 'view')}/partitions")),
            done(client.get(f"/v1/tasks/{self.target(party, 'task')}")),
        ]
        for each in read[:2]:
            for moving in ("last_accessed", "access_count"):
                each.pop(moving, None)
        return read


class _Authenticated:
    """A client that sends a credential with everything."""

    def __init__(self, client: httpx.Client, headers: Mapping[str, str]) -> None:
        self._client = client
        self._headers = dict(headers)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._client.get(path, headers=self._headers, **options)

    def put(self, path: str, **options: Any) -> httpx.Response:
        return self._client.put(path, headers=self._headers, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self._client.post(path, headers=self._headers, **options)


def done(response: httpx.Response) -> Any:
    """The body of a request that has to succeed."""
    assert response.status_code == 200, response.text
    return response.json()


async def put_tokens(folder: Path, all_parties: list[Party], **settings: Any) -> None:
    """Put the parties' tokens into the store that a server will open."""
    async with open_app(settings_of(folder, **settings)) as app:
        for party in all_parties:
            await app.access_tokens.add(
                description=party.name,
                actor="test",
                token=party.token,
                tenant=party.tenant,
                namespace=party.namespace,
                user_id=party.user_id,
                permissions=party.permissions,
            )


def add_tokens(folder: Path, all_parties: list[Party], **settings: Any) -> None:
    """The same for what does not run on an event loop."""
    asyncio.run(put_tokens(folder, all_parties, **settings))


def credential_world(folder: Path, *, storage_url: str | None = None) -> Iterator[World]:
    """A filled world over a server of its own."""
    all_parties = parties()
    add_tokens(folder, all_parties, storage_url=storage_url)
    environment = {"AUTH_MODE": "token", "MCP_TOOLS": "admin", **({"STORAGE_URL": storage_url} if storage_url else {})}
    with ServerProcess(folder / "data", environment=environment) as server, server.client() as client:
        world = World(server, client, all_parties)
        world.fill()
        yield world
