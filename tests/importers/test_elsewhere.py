"""Files of other memory systems and chat applications are read as their makers document them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.cli.export import ELSEWHERE
from agent_memory_server.errors import InvalidInput
from agent_memory_server.importers.elsewhere import FORMATS, Elsewhere, read_elsewhere

MEM0 = {
    "results": [
        {
            "id": "0a14d8f0",
            "memory": "Is allergic to nuts",
            "hash": "x",
            "metadata": {"category": "health"},
            "categories": ["health", "food, drink"],
            "created_at": "2024-07-01T10:00:00.123456-07:00",
            "updated_at": None,
            "user_id": "alex",
            "agent_id": "travel",
        },
        {"id": "empty", "memory": "  "},
    ]
}
ZEP = {
    "episodes": [
        {
            "uuid": "e1",
            "content": "Alex: I moved to Lisbon",
            "source": "message",
            "group_id": "alex",
            "valid_at": "2024-05-01T00:00:00Z",
        }
    ],
    "edges": [
        {"uuid": "f1", "fact": "Alex lives in Berlin", "valid_at": "2020-01-01", "invalid_at": "2024-05-01T00:00:00Z"}
    ],
}
LANGGRAPH = [
    {
        "namespace": ["memories", "alex"],
        "key": "k1",
        "value": {"text": "Likes jazz"},
        "created_at": "2024-01-01T00:00:00+00:00",
    },
    {"namespace": ["profile"], "key": "k2", "value": {"age": 30}},
]
MCP_MEMORY = """{"type":"entity","name":"Alex","entityType":"person","observations":["Speaks Spanish","Alex plays chess"]}
{"type":"relation","from":"Alex","to":"Anthropic","relationType":"works_at"}
"""
CHATGPT = [
    {
        "title": "Trip",
        "conversation_id": "c1",
        "create_time": 1700000000.5,
        "current_node": "n3",
        "mapping": {
            "root": {"id": "root", "message": None, "parent": None, "children": ["n1"]},
            "n1": {
                "message": {
                    "id": "n1",
                    "author": {"role": "user"},
                    "create_time": 1700000001,
                    "content": {"content_type": "text", "parts": ["I like trains"]},
                },
                "parent": "root",
            },
            "n2": {
                "message": {
                    "id": "n2",
                    "author": {"role": "assistant"},
                    "content": {"content_type": "text", "parts": ["An abandoned branch"]},
                },
                "parent": "n1",
            },
            "n3": {
                "message": {
                    "id": "n3",
                    "author": {"role": "assistant"},
                    "create_time": 1700000002,
                    "content": {"content_type": "text", "parts": ["Good ", {"asset": 1}, "choice"]},
                },
                "parent": "n1",
            },
        },
    }
]
CLAUDE: list[dict[str, Any]] = [
    {
        "uuid": "u1",
        "name": "Trip",
        "chat_messages": [
            {
                "uuid": "a",
                "sender": "human",
                "text": "",
                "content": [{"type": "text", "text": "I like ships"}],
                "created_at": "2024-03-01T08:00:00Z",
            },
            {"uuid": "b", "sender": "assistant", "text": "Noted.", "created_at": "2024-03-01T08:00:05Z"},
            {"uuid": "c", "sender": "human", "text": " "},
        ],
    },
    {"uuid": "empty", "chat_messages": []},
]
NOTES = """---
title: Notes
date: 2024-02-03
---
# Alex

Likes **strong** [coffee](https://example.org) and
[[Lisbon|the city]].

## Health
- [x] allergic to nuts
* runs `daily`

```
code is left out
```
| a | table |
"""


def _read(tmp_path: Path, form: str, content: Any) -> Elsewhere:
    path = tmp_path / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_elsewhere(path, form)


def test_every_format_can_be_named() -> None:
    """The command line offers what the reader reads."""
    assert set(ELSEWHERE) == set(FORMATS)


def test_mem0(tmp_path: Path) -> None:
    """Memories with their users, agents as namespaces, categories as topics; blank ones are left out."""
    (fact,) = _read(tmp_path, "mem0", MEM0).facts
    assert (fact.text, fact.user_id, fact.namespace) == ("Is allergic to nuts", "alex", "travel")
    assert fact.topics == ("health", "food drink")
    assert fact.created_at == datetime(2024, 7, 1, 17, 0, 0, 123456, tzinfo=UTC)
    assert fact.metadata == {"category": "health"}
    assert _read(tmp_path, "mem0", MEM0["results"]).facts == [fact]


def test_zep(tmp_path: Path) -> None:
    """Episodes are dated events; facts keep from when to when they were so."""
    episode, fact = _read(tmp_path, "zep", ZEP).facts
    assert (episode.is_episode, episode.user_id, episode.event_date) == (True, "alex", datetime(2024, 5, 1, tzinfo=UTC))
    assert (fact.text, fact.valid_from, fact.valid_to) == (
        "Alex lives in Berlin",
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime(2024, 5, 1, tzinfo=UTC),
    )


def test_langgraph(tmp_path: Path) -> None:
    """Items keep their namespace and key; a value without a text is its JSON."""
    first, second = _read(tmp_path, "langgraph", LANGGRAPH).facts
    assert (first.text, first.namespace, first.metadata) == ("Likes jazz", "memories/alex", {"key": "k1"})
    assert second.text == '{"age": 30}'


def test_mcp_memory(tmp_path: Path) -> None:
    """Observations name their entity, relations read as sentences; the form with two lists says the same."""
    facts = _read(tmp_path, "mcp-memory", MCP_MEMORY).facts
    assert [fact.text for fact in facts] == ["Alex: Speaks Spanish", "Alex plays chess", "Alex works at Anthropic."]
    assert (facts[0].name, facts[0].topics, facts[2].entities) == ("Alex", ("person",), ("Alex", "Anthropic"))
    lines = [json.loads(line) for line in MCP_MEMORY.splitlines()]
    graph = {"entities": [lines[0]], "relations": [lines[1]]}
    assert _read(tmp_path, "mcp-memory", graph).facts == facts


def test_chatgpt(tmp_path: Path) -> None:
    """The branch that was shown last, in order, with its times; what is no text is left out."""
    (session,) = _read(tmp_path, "chatgpt", CHATGPT).sessions
    assert session.session_id == "chatgpt-c1"
    assert [(each.role, each.content) for each in session.messages] == [
        ("user", "I like trains"),
        ("assistant", "Good \nchoice"),
    ]
    assert session.messages[0].created_at == datetime.fromtimestamp(1700000001, UTC)


def test_claude(tmp_path: Path) -> None:
    """Turns with their texts, wherever the version of the export keeps them."""
    (session,) = _read(tmp_path, "claude", CLAUDE).sessions
    assert [(each.id, each.role, each.content) for each in session.messages] == [
        ("a", "user", "I like ships"),
        ("b", "assistant", "Noted."),
    ]


def test_markdown(tmp_path: Path) -> None:
    """Paragraphs and items under their headings, without markup; a folder is read whole."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "notes.md").write_text(NOTES)
    facts = read_elsewhere(tmp_path, "markdown").facts
    assert [(fact.text, fact.topics) for fact in facts] == [
        ("Likes strong coffee and the city.", ("Alex",)),
        ("allergic to nuts", ("Alex", "Health")),
        ("runs daily", ("Alex", "Health")),
    ]
    assert {fact.created_at for fact in facts} == {datetime(2024, 2, 3, tzinfo=UTC)}
    assert len({fact.id for fact in facts}) == 3


@pytest.mark.parametrize(
    ("form", "content", "says"),
    [
        ("mem0", "no json", "no JSON"),
        ("chatgpt", "{}", "nothing"),
        ("claude", "[]", "nothing"),
        ("zep", "[1, 2]", "nothing"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path: Path, form: str, content: str, says: str) -> None:
    """A person is told what is wrong with the file."""
    with pytest.raises(InvalidInput, match=says):
        _read(tmp_path, form, content)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Neither a file nor a folder of notes."""
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_elsewhere(tmp_path / "none.json", "mem0")
    with pytest.raises(InvalidInput, match="no Markdown"):
        read_elsewhere(tmp_path, "markdown")
