"""With LOG_LEVEL=DEBUG too, no text, credential or key gets into the log, whatever a server is asked to do."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx

from agent_memory_server.testing import model_server
from agent_memory_server.testing.model_server import ModelServer
from tests.contract.scope_matrix.parties import Party, put_tokens
from tests.server_process import ServerProcess
from tests.token_issuer import TokenIssuer, running_issuer

CANARY = "canary7391"
"""Part of every text and secret below, and of nothing else."""
KEY = f"sk-{CANARY}-key"


async def test_debug_prints_no_text_and_no_secrets(tmp_path: Path) -> None:
    """Conversations, memories, searches, prompts, views and bad input, through models that answer, fail and refuse; good and
    bad tokens of both kinds."""
    party = Party("everything", "acme", token=f"{CANARY}-{'t' * 40}")
    await put_tokens(tmp_path, [party])
    with running_issuer() as issuer:
        async with ModelServer() as models:
            environment = {
                **issuer.environment,
                "LOG_LEVEL": "DEBUG",
                "OPENAI_API_KEY": KEY,
                "OPENAI_API_BASE": models.base_url,
                "EMBEDDING_MODEL": "some-model",
            }
            server = ServerProcess(tmp_path / "data", environment=environment)
            try:
                await asyncio.to_thread(server.start)
                await _use(server, models, party, issuer)
            finally:
                server.kill()
    lines = server.log.splitlines()
    assert any('"level": "debug"' in line for line in lines), "the server did not log at DEBUG"
    assert [line for line in lines if CANARY in line] == []


async def _use(server: ServerProcess, models: ModelServer, party: Party, issuer: TokenIssuer) -> None:
    async with server.async_client() as client:

        async def ask(
            method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
        ) -> httpx.Response:
            content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
            return await client.request(method, path, content=content, headers=headers or party.headers)

        text = f"My password is {CANARY}."
        said = [{"id": f"m{number}", "role": "user", "content": text} for number in range(3)]
        for fault in (None, model_server.SERVER_ERROR, model_server.NOT_JSON):
            if fault is not None:
                models.fail_next(fault, times=4)
            await ask("PUT", "/v1/working-memory/s", {"messages": said, "data": {"k": text}, "context": text})
            await ask("POST", "/v1/long-term-memory/", {"memories": [{"id": "m", "text": text}]})
            await ask("POST", "/v1/long-term-memory/search?optimize_query=true", {"text": text})
            await ask(
                "POST", "/v1/memory/prompt", {"query": text, "session": {"session_id": "s"}, "long_term_search": {}}
            )
            await ask("POST", "/v1/long-term-memory/extract", {"messages": said})
        view = (await ask("POST", "/v1/summary-views", {"source": "long_term", "group_by": [], "prompt": text})).json()
        await ask("POST", f"/v1/summary-views/{view['id']}/partitions/run", {"group": {}})
        for bad in (text.encode(), {"memories": [{"id": CANARY}]}, {"memories": CANARY}):
            assert (await ask("POST", "/v1/long-term-memory/", bad)).status_code == 422
        await ask("GET", f"/v1/long-term-memory/{CANARY}")
        await ask("POST", "/v1/long-term-memory/compact")
        await ask("DELETE", "/v1/long-term-memory?memory_ids=m")
        await ask("DELETE", "/v1/working-memory/s")
        for credential, status in (
            (f"{CANARY}-wrong", 401),
            (issuer.token(sub=CANARY, org=CANARY), 200),
            (issuer.token(aud=CANARY), 401),
            (issuer.token(kid=CANARY), 401),
        ):
            answer = await ask("GET", "/v1/working-memory/", headers={"Authorization": f"Bearer {credential}"})
            assert answer.status_code == status
        assert (await ask("GET", "/v1/ready")).status_code == 200
