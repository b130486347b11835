"""The main job end to end: what ``make demo`` runs, against a real server process."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent_memory_server.domain.strategies import StrategyName
from examples import demo, strategies
from examples.own_server import server_process


def test_the_shipped_conversation_is_searchable_and_its_questions_are_answered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every question's source is among the first hits, and the prompt carries as many memories as were asked for."""
    with server_process(tmp_path, settings=demo.SETTINGS) as server:
        asked = demo.run(demo.SHIPPED, server.url)
    assert len(asked) == demo.QUESTIONS_ASKED
    assert {each.question.text: each.found_at for each in asked if each.found_at is None} == {}
    assert [len(each.memory_lines) for each in asked] == [demo.HITS_ASKED] * demo.QUESTIONS_ASKED
    demo.show(asked)
    printed = capsys.readouterr().out
    assert "Appended 45 messages of 3 sessions" in printed
    assert "5 of 5 answers' sources are among the first 10 hits." in printed
    assert "facts formed in the background" in printed
    assert "Henrik" in printed


def test_loading_the_conversation_twice_stores_it_once(tmp_path: Path) -> None:
    """The demo appends, and appending is safe to repeat."""
    with server_process(tmp_path, settings=demo.SETTINGS) as server:
        api = demo.MemoryApi(server.url, user_id="mara")
        sessions = demo.read_sessions(demo.SHIPPED)
        assert demo.load(api, sessions) == 45
        assert demo.load(api, sessions) == 0


async def test_every_strategy_forms_its_own_memories(tmp_path: Path) -> None:
    """The same messages through each strategy: what the model answers is stored for the owner, with its sources."""
    formed = await strategies.run(tmp_path)
    assert {strategy: len(memories) for strategy, memories in formed.items()} == {
        StrategyName.DISCRETE: 3,
        StrategyName.PREFERENCES: 1,
        StrategyName.SUMMARY: 1,
        StrategyName.CUSTOM: 1,
    }
    for strategy, memories in formed.items():
        for memory in memories:
            assert memory["user_id"] == strategy.value
            assert memory["extraction_strategy"] == strategy.value
            assert memory["extracted_from"]
