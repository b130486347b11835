"""The one gate to language models: time-out, retries with back-off, checks, and a typed result or a retryable error.

Nothing else calls a model or parses what one wrote. A refusal, an empty, cut, oversize or malformed answer is a failure,
never data. A model sets neither ids nor owner, namespace, pins or timestamps: parsers take only the fields that they name.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from agent_memory_server.domain.model_answers import json_object
from agent_memory_server.errors import BadRequest, ModelAnswerUnusable, ModelUnavailable
from agent_memory_server.ports.language_model import Finish, LanguageModel, ModelCall, ModelReply, Purpose
from agent_memory_server.services.quotas import ModelTokenQuota

Answer = TypeVar("Answer")

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """Bounds of one question to a model. Seconds and characters."""

    timeout_s: float = 60.0
    """Of one attempt from its first to its last byte, whatever the vendor's SDK thinks of a server that dribbles."""
    attempts_max: int = 3
    backoff_first_s: float = 0.5
    backoff_max_s: float = 8.0
    answer_length_max: int = 400_000
    content_length_max: int = 2_000_000


IN_REQUEST = GatePolicy(timeout_s=8.0, attempts_max=1)
"""For questions that somebody waits for and that may fail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model answers what, and which names a client may ask for (summary views carry a ``model_name``)."""

    generation: str
    fast: str
    allowed: frozenset[str] = field(default_factory=frozenset[str])

    def for_purpose(self, purpose: Purpose) -> str:
        return self.generation if purpose in (Purpose.EXTRACTION, Purpose.SUMMARIZATION) else self.fast

    def checked(self, model: str) -> str:
        """The name, when it is one of the configured ones. Raises BadRequest: a client never picks an arbitrary model."""
        if model in self.allowed or model in (self.generation, self.fast):
            return model
        raise BadRequest(f"the model {model} is not configured on this server (see GENERATION_MODEL and FAST_MODEL)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One attempt, for accounting: tokens as the provider reported them, and whether its answer could be used."""

    purpose: Purpose
    model: str
    input_tokens: int
    output_tokens: int
    seconds: float
    usable: bool


class LanguageGate:
    def __init__(
        self,
        *,
        model: LanguageModel,
        choice: ModelChoice,
        policy: GatePolicy,
        sleep: Callable[[float], Awaitable[None]],
        account: Callable[[Usage], None],
        quota: ModelTokenQuota | None = None,
    ) -> None:
        self._quota = quota or ModelTokenQuota(None)
        self._model = model
        self._choice = choice
        self._policy = policy
        self._sleep = sleep
        self._account = account
        self._is_failing = False
        """The last question ended without any answer: until one gets through again, each is tried once. Whoever asks in the
        background comes again by itself, and must not hold up everybody else's work with waiting meanwhile."""

    @property
    def choice(self) -> ModelChoice:
        return self._choice

    def with_policy(self, policy: GatePolicy) -> LanguageGate:
        """The same models and accounting with other bounds."""
        return LanguageGate(
            model=self._model,
            choice=self._choice,
            policy=policy,
            sleep=self._sleep,
            account=self._account,
            quota=self._quota,
        )

    async def ask(
        self,
        purpose: Purpose,
        *,
        instructions: str,
        content: str,
        schema: Mapping[str, Any],
        parse: Callable[[Mapping[str, Any]], Answer],
        schema_name: str = "answer",
        model: str | None = None,
        output_tokens_max: int = 4_096,
    ) -> Answer:
        """Ask for an object of ``schema`` and return what ``parse`` makes of it (which raises ValueError when it is wrong).

        Raises ModelUnavailable after the last attempt; ModelAnswerUnusable when answers came but none could be used;
        TooManyRequests when whoever it is asked for has used up its tokens.
        """
        self._quota.check()
        if len(content) > self._policy.content_length_max:
            raise ModelUnavailable(
                f"the question is longer than {self._policy.content_length_max} characters", retryable=False
            )
        call = ModelCall(
            model=self._choice.checked(model) if model else self._choice.for_purpose(purpose),
            instructions=instructions,
            content=content,
            schema=schema,
            schema_name=schema_name,
            output_tokens_max=output_tokens_max,
            timeout_s=self._policy.timeout_s,
            purpose=purpose,
        )
        attempts_max = 1 if self._is_failing else self._policy.attempts_max
        for attempt in range(1, attempts_max + 1):
            try:
                answer = await self._attempt(purpose, call, parse)
                self._is_failing = False
                return answer
            except ModelUnavailable as error:
                self._is_failing = not isinstance(error, ModelAnswerUnusable) and attempt == attempts_max
                _log.warning(
                    "model call failed", purpose=purpose, model=call.model, attempt=attempt, reason=error.detail
                )
                if not error.retryable or attempt == attempts_max:
                    raise
                backoff_s = self._policy.backoff_first_s * 2 ** (attempt - 1)
                asked_s = float(error.retry_after_s) if error.retry_after_s > 1 else 0.0
                if asked_s > self._policy.backoff_max_s:
                    raise  # the caller's own retry comes later than this one may wait
                await self._sleep(min(self._policy.backoff_max_s, max(backoff_s, asked_s)))
        raise AssertionError("unreachable")

    async def _attempt(self, purpose: Purpose, call: ModelCall, parse: Callable[[Mapping[str, Any]], Answer]) -> Answer:
        started = time.perf_counter()
        reply: ModelReply | None = None
        usable = False
        try:
            async with asyncio.timeout(self._policy.timeout_s):
                reply = await self._model.call(call)
            answer = self._parsed(reply, parse)
            usable = True
            return answer
        except TimeoutError as error:
            raise ModelUnavailable(f"the model did not answer within {self._policy.timeout_s:g} seconds") from error
        finally:
            if reply is not None:
                self._quota.charge(reply.input_tokens + reply.output_tokens)
            self._account(
                Usage(
                    purpose=purpose,
                    model=call.model,
                    input_tokens=reply.input_tokens if reply else 0,
                    output_tokens=reply.output_tokens if reply else 0,
                    seconds=time.perf_counter() - started,
                    usable=usable,
                )
            )

    def _parsed(self, reply: ModelReply, parse: Callable[[Mapping[str, Any]], Answer]) -> Answer:
        if reply.finish is Finish.REFUSAL:
            raise ModelAnswerUnusable("the model refused to answer")
        if reply.finish is not Finish.COMPLETE:
            raise ModelAnswerUnusable(f"the model's answer was cut ({reply.finish.value})")
        if not reply.text.strip():
            raise ModelAnswerUnusable("the model answered nothing")
        if len(reply.text) > self._policy.answer_length_max:
            raise ModelAnswerUnusable("the model's answer is longer than any answer may be")
        try:
            return parse(json_object(reply.text))
        except ValueError as error:
            raise ModelAnswerUnusable(f"the model's answer could not be used: {error}") from error


@dataclass(slots=True)
class UsageTotal:
    """Sums over attempts since the process began."""

    calls: int = 0
    unusable: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


class UsageAccount:
    """Accounts for every attempt: a log line each, and totals by (purpose, model) for whoever exposes metrics."""

    def __init__(self) -> None:
        self._totals: defaultdict[tuple[Purpose, str], UsageTotal] = defaultdict(UsageTotal)

    @property
    def totals(self) -> Mapping[tuple[Purpose, str], UsageTotal]:
        return self._totals

    def add(self, usage: Usage) -> None:
        total = self._totals[usage.purpose, usage.model]
        total.calls += 1
        total.unusable += not usage.usable
        total.input_tokens += usage.input_tokens
        total.output_tokens += usage.output_tokens
        total.seconds += usage.seconds
        _log.info(
            "model call",
            purpose=usage.purpose,
            model=usage.model,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            seconds=round(usage.seconds, 3),
            usable=usage.usable,
        )
