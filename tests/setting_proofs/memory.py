"""Proofs of the settings of working memory and long-term memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent_memory_server.app import open_app
from agent_memory_server.config import Settings
from agent_memory_server.domain.identity import ANONYMOUS, Scope
from agent_memory_server.domain.sessions import Message, Session, SessionDraft, Summarization
from agent_memory_server.errors import InvalidInput
from agent_memory_server.services.working_memory import SessionView, Window
from tests.server_process import ServerProcess
from tests.setting_proofs.running import WORDS, memories_after_append, message, settings_of


async def long_term_memory(folder: Path) -> None:
    """Off: nothing is promoted."""
    assert await memories_after_append(settings_of(folder / "on"))
    assert not await memories_after_append(settings_of(folder / "off", long_term_memory=False))


async def index_all_messages_in_long_term_memory(folder: Path) -> None:
    """Off: a message does not become a memory itself, which it does in local mode by default."""
    on = await memories_after_append(settings_of(folder / "on"))
    off = await memories_after_append(settings_of(folder / "off", index_all_messages_in_long_term_memory=False))
    assert [each.id for each in on if each.text == WORDS] == ["m1"]
    assert not [each for each in off if each.text == WORDS]


async def enable_discrete_memory_extraction(folder: Path) -> None:
    """Off: the message alone becomes a memory."""
    on = await memories_after_append(settings_of(folder / "on"))
    off = await memories_after_append(settings_of(folder / "off", enable_discrete_memory_extraction=False))
    assert len(on) > 1
    assert [each.id for each in off] == ["m1"]


async def extraction_debounce_seconds(folder: Path) -> None:
    """A session that was not quiet for long enough is not extracted from yet."""
    at_once = await memories_after_append(settings_of(folder / "now", extraction_debounce_seconds=0))
    later = await memories_after_append(settings_of(folder / "later", extraction_debounce_seconds=3600))
    assert len(at_once) > 1
    assert [each.id for each in later] == ["m1"]


def require_message_timestamps(folder: Path) -> None:
    """A message without created_at is refused."""
    with (
        ServerProcess(folder / "data", environment={"REQUIRE_MESSAGE_TIMESTAMPS": "true"}) as server,
        server.client() as client,
    ):
        body = {"messages": [{"role": "user", "content": "hi"}]}
        assert client.put("/v1/working-memory/s", json=body).status_code == 422


async def max_future_timestamp_seconds(folder: Path) -> None:
    """A time that the default accepts lies too far ahead."""

    async def append(settings: Settings) -> None:
        async with open_app(settings) as app:
            soon = app.now() + timedelta(seconds=120)
            await app.working_memory.append(ANONYMOUS, session_id="s", messages=[message(soon)])

    await append(settings_of(folder / "default"))
    with pytest.raises(InvalidInput, match="60 seconds in the future"):
        await append(settings_of(folder, max_future_timestamp_seconds=60))


async def _put_long_session(settings: Settings) -> SessionView:
    """A session of a few hundred tokens, put with a window of 300."""
    async with open_app(settings) as app:
        messages = tuple(
            Message(id=f"m{number}", role="user", content=f"{WORDS} It happened {number} times.", created_at=app.now())
            for number in range(40)
        )
        draft = SessionDraft(scope=Scope("default", session_id="s"), messages=messages)
        return await app.working_memory.put(ANONYMOUS, draft, window=Window(context_window_max=300))


async def summarization_threshold(folder: Path) -> None:
    """The same session is nearer to being summarised when the threshold is lower."""

    async def nearness(settings: Settings) -> float:
        async with open_app(settings) as app:
            draft = SessionDraft(scope=Scope("default", session_id="s"), messages=(message(app.now()),))
            view = await app.working_memory.put(ANONYMOUS, draft, window=Window(context_window_max=1000))
            assert view.percentage_until_summarization is not None
            return view.percentage_until_summarization

    low = await nearness(settings_of(folder / "low", summarization_threshold=0.1))
    assert low > await nearness(settings_of(folder / "default"))


async def enable_working_memory_summarization(folder: Path) -> None:
    """Off: a session beyond its window is not summarised."""

    def summarization(view: SessionView) -> Summarization:
        session: Session = view.session
        return session.summarization

    assert summarization(await _put_long_session(settings_of(folder / "on"))) is Summarization.PENDING
    off = settings_of(folder / "off", enable_working_memory_summarization=False)
    assert summarization(await _put_long_session(off)) is Summarization.NONE


async def summary_view_refresh_every_minutes(folder: Path) -> None:
    """Ten minutes after one round the next is due when it is to be every five, and not by default."""

    async def due_after_ten_minutes(settings: Settings) -> int:
        clock = [datetime(2026, 1, 1, 12, tzinfo=UTC)]
        async with open_app(settings, now=lambda: clock[0]) as app:
            await app.schedules.run_due()
            clock[0] += timedelta(minutes=10)
            return await app.schedules.run_due()

    often = await due_after_ten_minutes(settings_of(folder / "often", summary_view_refresh_every_minutes=5))
    assert often == await due_after_ten_minutes(settings_of(folder / "default")) + 1
