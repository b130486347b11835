"""A language model for tests that answers from a script: no network, no tokens, no surprises.

    model = ScriptedLanguageModel()
    model.script(Purpose.EXTRACTION, {"memories": [...]}, SERVER_DOWN, {"memories": []})
    model.answer_with(lambda call: {"summary": "..."} if call.purpose is Purpose.SUMMARIZATION else None)

What answers a call: the next scripted answer of its purpose, else ``answer_with``'s function unless it says None, else the
smallest answer that the call's schema allows (no memories, no topics, not the same, a short text).
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agent_memory_server.errors import ModelUnavailable
from agent_memory_server.ports.language_model import Finish, ModelCall, ModelReply, Purpose

Scripted = str | Mapping[str, Any] | ModelReply | ModelUnavailable
"""An answer as raw text, as the object that it is the JSON of, as a whole reply, or a failure to be raised."""

SERVER_DOWN = ModelUnavailable("the scripted model is down")
WRONG_KEY = ModelUnavailable("the scripted provider refused the API key", retryable=False)
REFUSES = ModelReply(text="", finish=Finish.REFUSAL)
SAYS_NOTHING = ""
CUT = ModelReply(text='{"memories": [{"text": "User li', finish=Finish.LENGTH)

DEFAULT_TEXT = "Nothing was scripted."


class ScriptedLanguageModel:
    """Implements ``ports.language_model.LanguageModel``; ``calls`` holds every call that arrived, failed ones too."""

    def __init__(self) -> None:
        self.calls: list[ModelCall] = []
        self.closed = False
        self._scripts: defaultdict[Purpose, deque[Scripted]] = defaultdict(deque)
        self._answer: Callable[[ModelCall], Scripted | None] = lambda _: None
        self._failure: ModelUnavailable | None = None
        self._go = asyncio.Event()
        self._go.set()

    def script(self, purpose: Purpose, /, *answers: Scripted) -> None:
        """The next calls of this purpose are answered with these, one each."""
        self._scripts[purpose].extend(answers)

    def answer_with(self, answer: Callable[[ModelCall], Scripted | None]) -> None:
        """Calls without a scripted answer are answered by this function; None leaves one to the default."""
        self._answer = answer

    def fail(self, failure: ModelUnavailable = SERVER_DOWN) -> None:
        """From now on every call fails, scripted or not (scripted answers are kept for later)."""
        self._failure = failure
        self._go.set()

    def hold(self) -> None:
        """From now on every call waits (after it was recorded) for ``recover()`` or ``fail()``."""
        self._go.clear()

    def recover(self) -> None:
        self._failure = None
        self._go.set()

    def calls_for(self, purpose: Purpose) -> Sequence[ModelCall]:
        return [call for call in self.calls if call.purpose is purpose]

    async def call(self, call: ModelCall, /) -> ModelReply:
        self.calls.append(call)
        await self._go.wait()
        if self._failure is not None:
            raise _again(self._failure)
        answer = self._next(call)
        if isinstance(answer, ModelUnavailable):
            raise _again(answer)
        if isinstance(answer, ModelReply):
            return answer
        text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
        tokens = (len(call.instructions) + len(call.content)) // 4
        return ModelReply(text=text, finish=Finish.COMPLETE, input_tokens=tokens, output_tokens=len(text) // 4)

    async def close(self) -> None:
        self.closed = True

    def _next(self, call: ModelCall) -> Scripted:
        if call.purpose is not None and self._scripts[call.purpose]:
            return self._scripts[call.purpose].popleft()
        answer = self._answer(call)
        if answer is not None:
            return answer
        return DEFAULT_TEXT if call.schema is None else smallest_answer(call.schema)


def content_of(call: ModelCall) -> Mapping[str, Any]:
    """The JSON document that the call's content is. Raises ValueError when it is none."""
    document: Any = json.loads(call.content)
    if not isinstance(document, dict):
        raise ValueError("the content of the call is no JSON object")
    return document  # pyright: ignore[reportUnknownVariableType]


def smallest_answer(schema: Mapping[str, Any]) -> Any:
    """A value that the JSON schema allows: empty lists, false, null where it may be, else a short text or 0."""
    if "enum" in schema:
        return schema["enum"][0]
    named: Any = schema.get("type", "object")
    kinds: list[str] = [named] if isinstance(named, str) else list(named)
    kind = "null" if "null" in kinds else kinds[0]
    if kind == "object":
        properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
        return {name: smallest_answer(of) for name, of in properties.items()}
    smallest: Mapping[str, Any] = {"array": [], "boolean": False, "null": None, "string": DEFAULT_TEXT}
    return smallest.get(kind, 0)


def _again(failure: ModelUnavailable) -> ModelUnavailable:
    """A fresh exception: one instance raised again and again would drag the traces of all raises along."""
    return type(failure)(str(failure), retry_after_s=failure.retry_after_s, retryable=failure.retryable)
