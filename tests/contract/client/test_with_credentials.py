"""The published clients on a server that asks for credentials: Python through the header that it allows, JavaScript as it is."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from agent_memory_client import MemoryAPIClient, MemoryClientConfig
from agent_memory_client.exceptions import MemoryNotFoundError, MemoryServerError
from agent_memory_client.models import ClientMemoryRecord, MemoryMessage, WorkingMemory

from agent_memory_server.domain.identity import Permission
from tests.contract.client.test_recorded_requests import HEADERS, RECORDED, check, in_namespace
from tests.contract.scope_matrix.parties import Party, add_tokens
from tests.server_process import ServerProcess

EVERYTHING = Party("everything", "acme")
ALICE = Party("alice's agent", "acme", user_id="alice")
READER = Party("reader", "acme", permissions=(Permission.READ,))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("clients")
    add_tokens(folder, [EVERYTHING, ALICE, READER])
    with ServerProcess(folder / "data", environment={"AUTH_MODE": "token"}) as started:
        yield started


def opened(server: ServerProcess, token: str | None) -> MemoryAPIClient:
    """The client has no parameter for a token: its HTTP client takes the header."""
    client = MemoryAPIClient(MemoryClientConfig(base_url=server.url, default_namespace="n"))
    if token is not None:
        client._client.headers["Authorization"] = f"Bearer {token}"  # pyright: ignore[reportPrivateUsage]
    return client


@pytest.mark.filterwarnings("ignore:get_working_memory is deprecated")
async def test_the_python_client_works_with_a_token(server: ServerProcess) -> None:
    """A conversation, a memory, a search and a prompt; the token's user is filled in where the client names none."""
    async with opened(server, ALICE.token) as client:
        messages = [MemoryMessage(role="user", content="I play the cello in the evening.")]
        stored = await client.put_working_memory("s", WorkingMemory(session_id="s", namespace="n", messages=messages))
        assert stored.user_id == "alice"
        created, session = await client.get_or_create_working_memory("s", namespace="n")
        assert (created, [each.content for each in session.messages]) == (False, [messages[0].content])
        await client.create_long_term_memory([ClientMemoryRecord(id="m", text="User plays the cello.", namespace="n")])
        found = await client.search_long_term_memory("cello")
        assert {each.user_id for each in found.memories} == {"alice"}
        assert "m" in {each.id for each in found.memories}
        prompt = await client.memory_prompt("what do I play?", session_id="s", namespace="n")
        assert "cello" in json.dumps(prompt)
    async with opened(server, EVERYTHING.token) as client:
        assert (await client.get_long_term_memory("m")).user_id == "alice"
    async with opened(server, ALICE.token) as client:
        with pytest.raises(MemoryNotFoundError):
            await client.get_long_term_memory("bob's")
        assert (await client.search_long_term_memory("cello", user_id={"eq": "bob"})).memories == []  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [(None, 401, "Missing authorization header"), ("wrong" * 9, 401, "Invalid token"), (READER.token, 403, "write")],
    ids=["none", "wrong", "reader"],
)
async def test_the_python_client_shows_why_it_is_refused(
    server: ServerProcess, token: str | None, status: int, said: str
) -> None:
    """The client's own exception carries the status and the sentence."""
    async with opened(server, token) as client:
        assert (await client.health_check()).now > 0
        with pytest.raises(MemoryServerError, match=said) as refused:
            await client.put_working_memory("s", WorkingMemory(session_id="s", namespace="n"))
        assert refused.value.status_code == status


def test_the_javascript_clients_requests_work_with_its_api_key(server: ServerProcess) -> None:
    """Its whole recorded conversation, with a token in X-API-Key; with a wrong one every step is 401."""
    steps = in_namespace(json.loads((RECORDED / "javascript.json").read_text()), "javascript")
    with server.client() as http:
        for key, is_good in ((EVERYTHING.token, True), ("wrong" * 9, False)):
            for step in steps:
                response = http.request(
                    step["method"],
                    step["path"],
                    params=step.get("query"),
                    headers={**HEADERS["javascript"], "X-API-Key": key},
                    content=json.dumps(step["body"]) if "body" in step else None,
                )
                if is_good:
                    check(response, step["expect"], step["why"])
                elif step["path"] != "/v1/health":
                    assert response.status_code == 401
