"""Anthropic's messages endpoint. Structured output is a tool that the model has to use, its input being the answer."""

from __future__ import annotations

import json
from typing import Any

import anthropic

from agent_memory_server.errors import ModelUnavailable
from agent_memory_server.llm.failures import from_connection, from_status
from agent_memory_server.ports.language_model import Finish, ModelCall, ModelReply

_FINISHES = {
    "end_turn": Finish.COMPLETE,
    "tool_use": Finish.COMPLETE,
    "stop_sequence": Finish.COMPLETE,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "refusal": Finish.REFUSAL,
}


class AnthropicLanguageModel:
    def __init__(self, *, api_key: str | None, base_url: str | None) -> None:
        # Retries are the gate's. The SDK adds /v1 itself, and many write the base with it.
        base = None if base_url is None else base_url.rstrip("/").removesuffix("/v1")
        self._client: Any = anthropic.AsyncAnthropic(api_key=api_key or "unused", base_url=base, max_retries=0)

    async def call(self, call: ModelCall, /) -> ModelReply:
        try:
            message = await self._client.messages.create(**_request(call))
        except anthropic.APIStatusError as error:
            raise from_status(error.status_code, str(error), error.response.headers.get("retry-after")) from error
        except anthropic.APITimeoutError as error:
            raise ModelUnavailable(f"the model did not answer within {call.timeout_s:g} seconds") from error
        except anthropic.APIError as error:
            raise from_connection(error) from error
        except ValueError as error:
            raise ModelUnavailable("the language model's provider answered something that is not JSON") from error
        if not hasattr(message, "stop_reason"):  # a page of a proxy, which the SDK hands on as it is
            raise ModelUnavailable("the language model's provider answered something that is no message")
        return _reply(message)

    async def close(self) -> None:
        await self._client.close()


def _request(call: ModelCall) -> dict[str, Any]:
    request: dict[str, Any] = {
        "model": call.model.removeprefix("anthropic/"),
        "system": call.instructions,
        "messages": [{"role": "user", "content": call.content}],
        "max_tokens": call.output_tokens_max,
        "timeout": call.timeout_s,
    }
    if call.schema is not None:
        request["tools"] = [
            {
                "name": call.schema_name,
                "description": "Gives the answer in the form that was asked for.",
                "input_schema": dict(call.schema),
            }
        ]
        request["tool_choice"] = {"type": "tool", "name": call.schema_name}
    return request


def _reply(message: Any) -> ModelReply:
    parts: list[str] = []
    blocks: list[Any] = getattr(message, "content", None) or []
    for block in blocks:
        if block.type == "tool_use":
            parts = [json.dumps(block.input, ensure_ascii=False)]
            break
        if block.type == "text":
            parts.append(block.text)
    usage = getattr(message, "usage", None)
    return ModelReply(
        text="".join(parts),
        finish=_FINISHES.get(message.stop_reason or "end_turn", Finish.OTHER),
        input_tokens=getattr(usage, "input_tokens", 0) or 0,
        output_tokens=getattr(usage, "output_tokens", 0) or 0,
    )
