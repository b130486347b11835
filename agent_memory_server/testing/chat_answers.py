"""What the fake model server's chat endpoints say, in the shapes of OpenAI, Anthropic and Bedrock.

A ``ChatAnswer`` says what the model wrote and why it stopped; ``ChatScript`` picks the one for a request and puts it into the
shape of the endpoint that was asked. The constants are the ways in which models answer badly.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from agent_memory_server.testing.language_model import DEFAULT_TEXT, smallest_answer

Body = dict[str, Any]
Stop = Literal["complete", "length", "refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What was asked, whatever the shape. ``schema`` is None where the shape or the adapter did not name one."""

    model: str
    instructions: str
    content: str
    schema: Mapping[str, Any] | None
    answer_format: str
    """``json_schema``, ``json_object``, ``tool`` or ``text``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatAnswer:
    """``text`` None is a null content. ``status`` other than 200 is an error with ``text`` as its message."""

    text: str | None
    stop: Stop = "complete"
    status: int = 200


Answering = Callable[[ChatRequest], "ChatAnswer | Mapping[str, Any] | str | None"]

_GOOD = '{"memories": [], "summary": "fine", "topics": [], "entities": []}'
EMPTY = ChatAnswer(text="")
BLANK = ChatAnswer(text=" \n ")
NULL_CONTENT = ChatAnswer(text=None)
REFUSAL = ChatAnswer(text="I cannot help with that.", stop="refusal")
LENGTH_STOP = ChatAnswer(text='{"memories": [{"type": "semantic", "text": "User li', stop="length")
CUT_JSON = ChatAnswer(text='{"memories": [{"type": "semantic", "text": "User li')
NOT_JSON_TEXT = ChatAnswer(text="I would rather chat about the weather.")
WRONG_SCHEMA = ChatAnswer(text='{"facts": "User likes tea"}')
A_LIST = ChatAnswer(text="[1, 2, 3]")
TEN_THOUSAND_ITEMS = ChatAnswer(
    text=json.dumps({"memories": [{"type": "semantic", "text": f"fact {number}"} for number in range(10_000)]})
)
ONE_MEGABYTE = ChatAnswer(text=json.dumps({"memories": [], "summary": "x" * 1_000_000}))
IN_PROSE = ChatAnswer(text=f"Sure! Here is what I found:\n{_GOOD}\nLet me know if you need more.")
IN_A_FENCE = ChatAnswer(text=f"Here you are:\n```json\n{_GOOD}\n```\n")
AFTER_THOUGHTS = ChatAnswer(text=f'<think>maybe {{"memories": "no"}}?</think>\n{_GOOD}')

UNUSABLE: Mapping[str, ChatAnswer] = {
    "empty": EMPTY,
    "blank": BLANK,
    "null content": NULL_CONTENT,
    "refusal": REFUSAL,
    "length stop": LENGTH_STOP,
    "cut JSON": CUT_JSON,
    "no JSON": NOT_JSON_TEXT,
    "wrong schema": WRONG_SCHEMA,
    "a list": A_LIST,
    "10,000 items": TEN_THOUSAND_ITEMS,
    "1 MB": ONE_MEGABYTE,
}
"""Answers of which nothing may be used, by what is wrong with them."""

WRAPPED: Mapping[str, ChatAnswer] = {"prose": IN_PROSE, "a fence": IN_A_FENCE, "after thoughts": AFTER_THOUGHTS}
"""Right answers as local models wrap them."""


class ChatScript:
    """The next answers, then a function's, then the smallest answer that the request's schema allows."""

    def __init__(self) -> None:
        self._next: deque[ChatAnswer] = deque()
        self._answer: Answering = lambda _: None
        self.refused_formats: frozenset[str] = frozenset()

    def say(self, *answers: ChatAnswer | Mapping[str, Any] | str) -> None:
        self._next.extend(_as_answer(answer) for answer in answers)

    def say_with(self, answer: Answering) -> None:
        self._answer = answer

    def openai(self, body: Body) -> tuple[int, Body]:
        """``POST /v1/chat/completions``."""
        asked = _openai_request(body)
        if asked.answer_format in self.refused_formats:
            message = f"'response_format' of type '{asked.answer_format}' is not supported with this model."
            return 400, {"error": {"message": message, "type": "invalid_request_error", "param": "response_format"}}
        answer = self._choose(asked)
        if answer.status != 200:
            return answer.status, {"error": {"message": answer.text, "type": "scripted"}}
        refused = answer.stop == "refusal"
        reply: Body = {
            "role": "assistant",
            "content": None if refused else answer.text,
            "refusal": answer.text if refused else None,
        }
        return 200, {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 0,
            "model": asked.model,
            "choices": [
                {"index": 0, "message": reply, "finish_reason": "length" if answer.stop == "length" else "stop"}
            ],
            "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
        }

    def anthropic(self, body: Body) -> tuple[int, Body]:
        """``POST /v1/messages``."""
        tools: list[Body] = body.get("tools") or []
        asked = ChatRequest(
            model=str(body.get("model")),
            instructions=str(body.get("system", "")),
            content=str(body["messages"][-1]["content"]),
            schema=tools[0]["input_schema"] if tools else None,
            answer_format="tool" if tools else "text",
        )
        answer = self._choose(asked)
        if answer.status != 200:
            return answer.status, {"type": "error", "error": {"type": "scripted", "message": answer.text}}
        stops = {"complete": "end_turn", "length": "max_tokens", "refusal": "refusal"}
        content: list[Body] = [] if answer.text is None else [{"type": "text", "text": answer.text}]
        stop = stops[answer.stop]
        used = _object(answer.text) if tools and answer.stop == "complete" else None
        if used is not None:
            content = [{"type": "tool_use", "id": "toolu_1", "name": tools[0]["name"], "input": used}]
            stop = "tool_use"
        return 200, {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 7},
        }

    def bedrock(self, model: str, body: Body) -> tuple[int, Body]:
        """``POST /model/{id}/converse``."""
        tools: list[Body] = _part(body, "toolConfig").get("tools") or []
        asked = ChatRequest(
            model=model,
            instructions="".join(part["text"] for part in body.get("system", [])),
            content="".join(part.get("text", "") for part in body["messages"][-1]["content"]),
            schema=tools[0]["toolSpec"]["inputSchema"]["json"] if tools else None,
            answer_format="tool" if tools else "text",
        )
        answer = self._choose(asked)
        if answer.status != 200:
            return answer.status, {"message": answer.text}
        stops = {"complete": "end_turn", "length": "max_tokens", "refusal": "guardrail_intervened"}
        content: list[Body] = [] if answer.text is None else [{"text": answer.text}]
        stop = stops[answer.stop]
        used = _object(answer.text) if tools and answer.stop == "complete" else None
        if used is not None:
            content = [{"toolUse": {"toolUseId": "t1", "name": tools[0]["toolSpec"]["name"], "input": used}}]
            stop = "tool_use"
        return 200, {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": stop,
            "usage": {"inputTokens": 11, "outputTokens": 7, "totalTokens": 18},
            "metrics": {"latencyMs": 1},
        }

    def _choose(self, asked: ChatRequest) -> ChatAnswer:
        if self._next:
            return self._next.popleft()
        answer = self._answer(asked)
        if answer is not None:
            return _as_answer(answer)
        return ChatAnswer(text=DEFAULT_TEXT if asked.schema is None else json.dumps(smallest_answer(asked.schema)))


def _openai_request(body: Body) -> ChatRequest:
    named = _part(body, "response_format")
    texts = {message["role"]: str(message["content"]) for message in body["messages"]}
    return ChatRequest(
        model=str(body.get("model")),
        instructions=texts.get("system", ""),
        content=texts.get("user", ""),
        schema=_part(named, "json_schema").get("schema"),
        answer_format=str(named.get("type", "text")),
    )


def _part(body: Body, name: str) -> Body:
    return cast(Body, body.get(name) or {})


def _as_answer(answer: ChatAnswer | Mapping[str, Any] | str) -> ChatAnswer:
    if isinstance(answer, ChatAnswer):
        return answer
    return ChatAnswer(text=answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False))


def _object(text: str | None) -> Body | None:
    try:
        value: Any = json.loads(text or "")
    except ValueError:
        return None
    return cast(Body, value) if isinstance(value, dict) else None
