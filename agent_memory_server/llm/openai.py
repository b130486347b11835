"""Any OpenAI-compatible chat endpoint: OpenAI, Azure, Ollama, vLLM, LM Studio, OpenRouter, Gemini's.

Structured output is asked for by JSON schema; an endpoint that does not know it is asked for a JSON object, then for plain
text with the schema in the instructions, and what it knows is remembered for the process.
"""

from __future__ import annotations

import json
import re
from typing import Any

import openai

from agent_memory_server.errors import ModelUnavailable
from agent_memory_server.llm.failures import from_connection, from_status
from agent_memory_server.ports.language_model import Finish, ModelCall, ModelReply

_FORMATS = ("json_schema", "json_object", "text")
_REASONING = re.compile(r"(?:gpt-5|o\d)(?!.*chat)")
"""Models whose unseen thoughts count as output."""
REASONING_TOKENS = 16_384
_FINISHES = {"stop": Finish.COMPLETE, "length": Finish.LENGTH, "content_filter": Finish.REFUSAL}


class OpenAILanguageModel:
    def __init__(self, *, api_key: str | None, base_url: str | None) -> None:
        # Local endpoints take any key, but the SDK insists on one. Retries are the gate's.
        self._client: Any = openai.AsyncOpenAI(api_key=api_key or "unused", base_url=base_url, max_retries=0)
        self._is_official = base_url is None or "api.openai.com" in base_url
        self._format = 0

    async def call(self, call: ModelCall, /) -> ModelReply:
        while True:
            asked = self._format
            try:
                completion = await self._client.chat.completions.create(**self._request(call, _FORMATS[asked]))
            except openai.BadRequestError as error:
                if call.schema is None or asked == len(_FORMATS) - 1 or not _is_about_format(error):
                    raise from_status(400, str(error), None) from error
                self._format = max(self._format, asked + 1)
                continue
            except openai.APIStatusError as error:
                raise from_status(error.status_code, str(error), error.response.headers.get("retry-after")) from error
            except openai.APITimeoutError as error:
                raise ModelUnavailable(f"the model did not answer within {call.timeout_s:g} seconds") from error
            except openai.APIError as error:
                raise from_connection(error) from error
            except ValueError as error:
                raise ModelUnavailable("the language model's provider answered something that is not JSON") from error
            if not hasattr(completion, "choices"):  # a page of a proxy, which the SDK hands on as it is
                raise ModelUnavailable("the language model's provider answered something that is no completion")
            return reply_of(completion)

    def _request(self, call: ModelCall, answer_format: str) -> dict[str, Any]:
        instructions = call.instructions
        model = call.model.removeprefix("openai/")
        request: dict[str, Any] = {"model": model, "timeout": call.timeout_s}
        # gpt-5 and the o-series refuse max_tokens, most compatible servers know nothing else.
        thoughts = REASONING_TOKENS if self._is_official and _REASONING.match(model) else 0
        request["max_completion_tokens" if self._is_official else "max_tokens"] = call.output_tokens_max + thoughts
        if call.schema is not None:
            if answer_format == "json_schema":
                request["response_format"] = {
                    "type": "json_schema",
                    "json_schema": {"name": call.schema_name, "schema": dict(call.schema), "strict": True},
                }
            else:
                schema = json.dumps(call.schema, ensure_ascii=False)
                instructions += f"\n\nAnswer with one JSON object of this schema and nothing else:\n{schema}"
                if answer_format == "json_object":
                    request["response_format"] = {"type": "json_object"}
        request["messages"] = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": call.content},
        ]
        return request

    async def close(self) -> None:
        await self._client.close()


def _is_about_format(error: openai.BadRequestError) -> bool:
    text = str(error).lower()
    return any(word in text for word in ("response_format", "json_schema", "json_object", "schema", "structured"))


def reply_of(completion: Any) -> ModelReply:
    """The first choice. Compatible servers leave out what they like, so everything is optional here."""
    choices: list[Any] = completion.choices or []
    usage: Any = getattr(completion, "usage", None)
    if not choices:
        return ModelReply(text="", finish=Finish.OTHER)
    message: Any = choices[0].message
    refused = bool(getattr(message, "refusal", None))
    reason: str = choices[0].finish_reason or "stop"
    finish = Finish.REFUSAL if refused else _FINISHES.get(reason, Finish.OTHER)
    return ModelReply(
        text=getattr(message, "content", None) or "",
        finish=finish,
        input_tokens=getattr(usage, "prompt_tokens", 0) or 0,
        output_tokens=getattr(usage, "completion_tokens", 0) or 0,
    )
