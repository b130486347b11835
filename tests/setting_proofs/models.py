"""Proofs of the settings of models: what reaches an endpoint on loopback that stands in for the providers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.app import open_app
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.testing.model_server import ModelServer, RecordedRequest
from agent_memory_server.testing.running import running_app
from tests.setting_proofs.running import memories_after_append, settings_of


async def _asked_by_extraction(folder: Path, **values: Any) -> RecordedRequest:
    """The first request that reaches the endpoint when one message is extracted from. It refuses every one."""
    async with ModelServer() as server:
        base = server.base_url
        named = {
            name: value.format(base=base, root=base.removesuffix("/v1")) if isinstance(value, str) else value
            for name, value in values.items()
        }
        await memories_after_append(settings_of(folder, **named))
        return server.requests[0]


async def generation_model(folder: Path) -> None:
    """The name that extraction asks for."""
    request = await _asked_by_extraction(folder, openai_api_base="{base}", generation_model="my-model")
    assert request.body["model"] == "my-model"


async def fast_model(folder: Path) -> None:
    """The name that a summary view asks for."""
    async with (
        ModelServer() as server,
        running_app(
            data_dir=folder,
            embedding_model="wordllama",
            openai_api_base=server.base_url,
            generation_model="slow-one",
            fast_model="fast-one",
        ) as running,
    ):
        created = await running.client.post(
            "/v1/long-term-memory/", json={"memories": [{"id": "m", "text": "tea", "user_id": "u"}]}
        )
        assert created.status_code == 200
        view = (
            await running.client.post("/v1/summary-views", json={"source": "long_term", "group_by": ["user_id"]})
        ).json()
        await running.client.post(f"/v1/summary-views/{view['id']}/partitions/run", json={"group": {"user_id": "u"}})
        assert server.requests[0].body["model"] == "fast-one"


async def top_k_topics(folder: Path) -> None:
    """The number stands in what the model is told."""
    request = await _asked_by_extraction(folder, openai_api_base="{base}", generation_model="my-model", top_k_topics=17)
    assert "17" in str(request.body["messages"])


async def anthropic_api_key(folder: Path) -> None:
    """It opens Anthropic's models, and is sent to their endpoint."""
    request = await _asked_by_extraction(
        folder, anthropic_api_base="{root}", anthropic_api_key="sk-ant-test", generation_model="claude-test"
    )
    assert any("sk-ant-test" in value for value in request.headers.values())
    assert request.body["model"] == "claude-test"


async def anthropic_api_base(folder: Path) -> None:
    """The request goes to that address."""
    request = await _asked_by_extraction(
        folder, anthropic_api_base="{root}", anthropic_api_key="k", generation_model="claude-test"
    )
    assert request.path == "/v1/messages"


async def embedding_model(folder: Path) -> None:
    """The name picks the model; one that cannot be had stops the start."""
    async with open_app(settings_of(folder)) as app:
        assert "wordllama" in app.embedding_model
    with pytest.raises(ConfigurationError, match="no-such-folder"):
        async with open_app(settings_of(folder, embedding_model="local:/no-such-folder")):
            pass


async def openai_api_key(folder: Path) -> None:
    """With a key the default models are OpenAI's, and the key is sent."""
    request = await _asked_by_extraction(folder, openai_api_base="{base}", openai_api_key="sk-test")
    assert request.headers["authorization"] == "Bearer sk-test"
    async with open_app(settings_of(folder, embedding_model=None, openai_api_key="sk-test")) as app:
        assert "text-embedding-3-small" in app.embedding_model
        assert not app.local_mode


async def openai_api_base(folder: Path) -> None:
    """An endpoint of one's own needs no key and is what is asked."""
    request = await _asked_by_extraction(folder, openai_api_base="{base}", generation_model="llama3.2")
    assert request.path == "/v1/chat/completions"


async def _signed_by_bedrock(folder: Path, **values: Any) -> list[RecordedRequest]:
    """The requests that a Bedrock model is asked with, at an endpoint that AWS's own variable names."""
    keys = {"region_name": "eu-west-3", "aws_access_key_id": "AKIATEST", "aws_secret_access_key": "hush"}
    with pytest.MonkeyPatch.context() as environment:
        async with ModelServer() as server:
            environment.setenv("AWS_ENDPOINT_URL", server.base_url.removesuffix("/v1"))
            environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
            chosen = settings_of(folder, **{"generation_model": "bedrock/some-model", **keys, **values})
            await memories_after_append(chosen)
            return server.requests


async def region_name(folder: Path) -> None:
    """The region that a request is signed for."""
    assert "/eu-west-3/" in (await _signed_by_bedrock(folder))[0].headers["authorization"]


async def aws_access_key_id(folder: Path) -> None:
    """The key that a request is signed with."""
    assert "AKIATEST/" in (await _signed_by_bedrock(folder))[0].headers["authorization"]


async def aws_secret_access_key(folder: Path) -> None:
    """Without it the key is only half of one, and nothing is asked."""
    assert await _signed_by_bedrock(folder / "whole")
    assert not await _signed_by_bedrock(folder / "half", aws_secret_access_key=None)


async def aws_session_token(folder: Path) -> None:
    """It travels with the request."""
    request = (await _signed_by_bedrock(folder, aws_session_token="for-a-while"))[0]
    assert request.headers["x-amz-security-token"] == "for-a-while"


async def reranker_model(folder: Path) -> None:
    """A name that means no cross-encoder stops the start, with what to write instead."""
    with pytest.raises(ConfigurationError, match="RERANKER_MODEL=ms-marco"):
        async with open_app(settings_of(folder, reranker_model="ms-marco")):
            """Never reached."""


async def search_mode_default(folder: Path) -> None:
    """How a REST search ranks that names no mode; one that names its mode, or a distance, is not touched."""
    async with running_app(data_dir=folder, search_mode_default="keyword") as running:
        memory = {"id": "tea", "text": "green tea"}
        assert (await running.client.post("/v1/long-term-memory/", json={"memories": [memory]})).status_code == 200
        for body, expected in (
            ({}, "keyword"),
            ({"search_mode": "hybrid"}, "hybrid"),
            ({"distance_threshold": 1.0}, "semantic"),
        ):
            answer = await running.client.post("/v1/long-term-memory/search", json={"text": "green tea", **body})
            assert [each["score_type"] for each in answer.json()["memories"]] == [expected]
