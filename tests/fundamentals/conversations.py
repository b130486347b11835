"""Talking to a server in a test: time that is set, messages that are said, background work that is done when it is due."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from agent_memory_server.ports.language_model import LanguageModel
from agent_memory_server.testing.running import RunningApp, running_app

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
QUIET = timedelta(seconds=31)
"""Longer than the default debounce."""


@dataclass
class Clock:
    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def pass_by(self, time: timedelta) -> None:
        self.at += time


@dataclass
class Talk:
    """One user's session on a running app, without background work of its own."""

    running: RunningApp
    clock: Clock
    session_id: str = "trip"
    scope: Mapping[str, str] = field(default_factory=lambda: {"user_id": "ana", "namespace": "home"})
    count: int = 0

    async def say(self, *contents: str, role: str = "user", **fields: Any) -> None:
        """Append messages, whose ids are m1, m2 …"""
        messages: list[dict[str, Any]] = []
        for content in contents:
            self.count += 1
            said = {"id": f"m{self.count}", "role": role, "content": content}
            messages.append({**said, "created_at": self.clock.at.isoformat(), **fields})
        response = await self.running.client.post(
            f"/v1/working-memory/{self.session_id}/messages", json={"messages": messages, **self.scope}
        )
        assert response.status_code == 200, response.text

    async def put(self, **body: Any) -> dict[str, Any]:
        response = await self.running.client.put(
            f"/v1/working-memory/{self.session_id}",
            json={**body, **self.scope},
            params={"context_window_max": 500},
        )
        assert response.status_code == 200, response.text
        return response.json()

    async def session(self) -> dict[str, Any]:
        response = await self.running.client.get(f"/v1/working-memory/{self.session_id}", params=self.scope)
        assert response.status_code == 200, response.text
        return response.json()

    async def messages(self) -> list[dict[str, Any]]:
        """All of them, archived ones too."""
        response = await self.running.client.get(
            f"/v1/working-memory/{self.session_id}/messages",
            params={**self.scope, "include_archived": "true", "limit": 1000},
        )
        return response.json()["messages"]

    async def work(self) -> None:
        """Do what is due now."""
        await self.running.app.pending_work.run_due()

    async def become_quiet(self) -> None:
        """Let the debounce pass, then do what is due."""
        self.clock.pass_by(QUIET)
        await self.work()

    async def recover(self, *, rounds: int = 12) -> None:
        """Let the back-offs pass one after the other, up to a minute each, until nothing is pending."""
        for _ in range(rounds):
            if not (await self.pending())["pending"]:
                return
            self.clock.pass_by(timedelta(seconds=60))
            await self.work()

    async def pending(self) -> dict[str, Any]:
        return (await self.running.client.get("/v1/pending", params=self.scope)).json()

    async def memories(self, **params: Any) -> list[dict[str, Any]]:
        """The user's memories, but for the messages'; newest first."""
        response = await self.running.client.get("/v1/long-term-memory", params={**self.scope, "limit": 100, **params})
        return [each for each in response.json()["memories"] if each["extraction_strategy"] != "message"]

    async def found(self, text: str, *, mode: str = "keyword") -> list[str]:
        body = {"text": text, "search_mode": mode, "limit": 50}
        body |= {name: {"eq": value} for name, value in self.scope.items()}
        response = await self.running.client.post("/v1/long-term-memory/search", json=body)
        assert response.status_code == 200, response.text
        return [each["text"] for each in response.json()["memories"]]


async def at_once(_: float) -> None:
    """Wait for nothing."""


@contextlib.asynccontextmanager
async def talking(model: LanguageModel | None = None, **settings: Any) -> AsyncGenerator[Talk]:
    """A talk on an app that does background work only when it is told to."""
    clock = Clock()
    async with running_app(now=clock.now, background=False, language_model=model, sleep=at_once, **settings) as running:
        yield Talk(running=running, clock=clock)


async def until(predicate: Callable[[], bool], message: str, *, within_s: float = 10.0) -> None:
    """Let others run until the predicate holds. Raises AssertionError with the message."""
    try:
        async with asyncio.timeout(within_s):
            while not predicate():  # noqa: ASYNC110 - what is awaited has no event of its own
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(message) from None
