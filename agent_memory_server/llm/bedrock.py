"""AWS Bedrock's converse operation: any model it hosts (``bedrock/<model or inference profile>``).

Structured output is a tool that the model has to use. boto3 blocks, so each call has a thread for as long as it runs.
Without keys in the settings, AWS's usual chain (profile, role, container) is asked.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs]
from botocore import exceptions  # pyright: ignore[reportMissingTypeStubs]
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]

from agent_memory_server.errors import ModelUnavailable
from agent_memory_server.llm.access import AwsKeys
from agent_memory_server.llm.failures import from_connection, from_status
from agent_memory_server.ports.language_model import Finish, ModelCall, ModelReply

_READ_TIMEOUT_S = 300
"""Above any call's own bound, which the gate keeps; this one only frees the thread of a call that was given up."""
_CALLS_AT_ONCE_MAX = 32
_FINISHES = {
    "end_turn": Finish.COMPLETE,
    "tool_use": Finish.COMPLETE,
    "stop_sequence": Finish.COMPLETE,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "guardrail_intervened": Finish.REFUSAL,
    "content_filtered": Finish.REFUSAL,
}


class BedrockLanguageModel:
    def __init__(self, access: AwsKeys) -> None:
        """Raises ModelUnavailable (not retryable) when half a key is given, or no region can be found."""
        config: Any = Config(
            read_timeout=_READ_TIMEOUT_S, retries={"total_max_attempts": 1}, max_pool_connections=_CALLS_AT_ONCE_MAX
        )
        library: Any = boto3
        try:
            self._client: Any = library.client(
                "bedrock-runtime",
                region_name=access.region,
                aws_access_key_id=access.access_key_id,
                aws_secret_access_key=access.secret_access_key,
                aws_session_token=access.session_token,
                config=config,
            )
        except exceptions.BotoCoreError as error:
            raise ModelUnavailable(
                f"Bedrock cannot be used with these settings ({type(error).__name__}): check REGION_NAME, "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                retryable=False,
            ) from error

    async def call(self, call: ModelCall, /) -> ModelReply:
        try:
            answer: Any = await asyncio.to_thread(self._client.converse, **_request(call))
        except exceptions.ClientError as error:
            response: Any = error.response
            details: dict[str, Any] = response.get("ResponseMetadata", {})
            headers: dict[str, str] = details.get("HTTPHeaders", {})
            raise from_status(details.get("HTTPStatusCode", 500), str(error), headers.get("retry-after")) from error
        except exceptions.ReadTimeoutError as error:
            raise ModelUnavailable(f"the model did not answer within {_READ_TIMEOUT_S} seconds") from error
        except (exceptions.NoCredentialsError, exceptions.ParamValidationError) as error:
            raise ModelUnavailable(
                f"Bedrock cannot be used with these settings ({type(error).__name__})", retryable=False
            ) from error
        except (exceptions.BotoCoreError, exceptions.HTTPClientError) as error:
            raise from_connection(error) from error
        except ValueError as error:
            raise ModelUnavailable("the language model's provider answered something that is not JSON") from error
        return _reply(answer)

    async def close(self) -> None:
        self._client.close()


def _request(call: ModelCall) -> dict[str, Any]:
    request: dict[str, Any] = {
        "modelId": call.model.removeprefix("bedrock/"),
        "system": [{"text": call.instructions}],
        "messages": [{"role": "user", "content": [{"text": call.content}]}],
        "inferenceConfig": {"maxTokens": call.output_tokens_max},
    }
    if call.schema is not None:
        tool = {
            "name": call.schema_name,
            "description": "Gives the answer in the form that was asked for.",
            "inputSchema": {"json": dict(call.schema)},
        }
        request["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": {"any": {}}}
    return request


def _reply(answer: Any) -> ModelReply:
    output: dict[str, Any] = answer.get("output") or {}
    message: dict[str, Any] = output.get("message") or {}
    blocks: list[dict[str, Any]] = message.get("content") or []
    parts: list[str] = []
    for block in blocks:
        if "toolUse" in block:
            parts = [json.dumps(block["toolUse"].get("input"), ensure_ascii=False)]
            break
        parts.append(block.get("text", ""))
    usage: dict[str, int] = answer.get("usage") or {}
    return ModelReply(
        text="".join(parts),
        finish=_FINISHES.get(answer.get("stopReason") or "end_turn", Finish.OTHER),
        input_tokens=usage.get("inputTokens", 0),
        output_tokens=usage.get("outputTokens", 0),
    )
