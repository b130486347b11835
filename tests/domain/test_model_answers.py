"""Reading JSON out of what models write: the whole, a fence, or the last object; never a part of one."""

from __future__ import annotations

import time

import pytest

from agent_memory_server.domain.model_answers import json_object


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        ' \n{"a": 1}\n ',
        'Sure:\n```json\n{"a": 1}\n```\nBye {name}.',
        '```\n{"a": 1}\n```',
        '<think>{"a": 0} or {"b": 2}?</think>{"a": 1}',
        'First {"draft": true} and then {"a": 1} as asked.',
        '{"a": 1} {not json}',
        'The set {1, 2} gives {"a": 1}',
    ],
)
def test_the_object_is_found(text: str) -> None:
    """Pure, fenced, after thoughts, in prose; the last complete one counts."""
    assert json_object(text) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        '{"memories": [{"text": "x"}, {"te',
        'Here: {"memories": [{"text": "x"}',
        '{"memories": [{"text": "x"}] "more": 1}',
    ],
)
def test_a_part_of_a_broken_object_is_not_the_answer(text: str) -> None:
    """What a cut or malformed object holds inside is not what was asked for."""
    with pytest.raises(ValueError, match="no complete JSON object"):
        json_object(text)


@pytest.mark.parametrize(
    "text", ["", "no", "[1, 2]", '"text"', "null", '{"a": NaN}', '{"a": 1', "{" * 50_000, "[" * 50_000]
)
def test_what_holds_no_object_is_refused_quickly(text: str) -> None:
    """Also when it is made to be slow or deep."""
    started = time.process_time()
    with pytest.raises(ValueError, match="no complete JSON object"):
        json_object(text)
    assert time.process_time() - started < 2
