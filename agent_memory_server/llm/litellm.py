"""Whatever LiteLLM reaches (``ollama/…``, ``gemini/…``, ``vertex_ai/…``): for providers that have no adapter of their own here.

LiteLLM takes keys and addresses from each provider's own environment variables (``GEMINI_API_KEY``, ``OLLAMA_API_BASE``).
"""

from __future__ import annotations

import json
import os
from typing import Any

# Else its import asks the internet for a table of prices.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import litellm  # pyright: ignore[reportMissingImports]
import openai

from agent_memory_server.errors import ModelUnavailable
from agent_memory_server.llm.failures import from_connection, from_status
from agent_memory_server.llm.openai import reply_of
from agent_memory_server.ports.language_model import ModelCall, ModelReply

_litellm: Any = litellm  # pyright: ignore[reportUnknownVariableType]


class LiteLLMLanguageModel:
    """Raises what every adapter raises; LiteLLM's exceptions are the OpenAI SDK's, or their children."""

    def __init__(self) -> None:
        # It prints advice to stdout, which belongs to the protocol when MCP speaks over stdio.
        _litellm.suppress_debug_info = True

    async def call(self, call: ModelCall, /) -> ModelReply:
        try:
            completion = await _litellm.acompletion(**_request(call))
        except openai.APITimeoutError as error:
            raise ModelUnavailable(f"the model did not answer within {call.timeout_s:g} seconds") from error
        except openai.APIStatusError as error:
            raise from_status(error.status_code, str(error), error.response.headers.get("retry-after")) from error
        except (openai.OpenAIError, OSError) as error:
            raise from_connection(error) from error
        except ValueError as error:
            raise ModelUnavailable("the language model's provider answered something that is not JSON") from error
        return reply_of(completion)

    async def close(self) -> None:
        """LiteLLM keeps its connections for the process."""


def _request(call: ModelCall) -> dict[str, Any]:
    instructions = call.instructions
    request: dict[str, Any] = {
        "model": call.model.removeprefix("litellm/"),
        "timeout": call.timeout_s,
        "max_tokens": call.output_tokens_max,
        "num_retries": 0,
        "drop_params": True,
    }
    if call.schema is not None:
        # Many of these models do not know response_format, which drop_params then leaves out: so the words say it too.
        schema = json.dumps(call.schema, ensure_ascii=False)
        instructions += f"\n\nAnswer with one JSON object of this schema and nothing else:\n{schema}"
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": call.schema_name, "schema": dict(call.schema), "strict": True},
        }
    request["messages"] = [{"role": "system", "content": instructions}, {"role": "user", "content": call.content}]
    return request
