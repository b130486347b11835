"""Files of other memory systems and chat applications are read as their makers document them."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.cli.export import ELSEWHERE
from agent_memory_server.domain.limits import LIMITS
from agent_memory_server.errors import InvalidInput
from agent_memory_server.importers.contents import Elsewhere
from agent_memory_server.importers.elsewhere import NAMES, read_content, read_elsewhere

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
    assert set(ELSEWHERE) == set(NAMES)


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


def _message(role: str, text: object, **fields: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"content_type": "text", "parts": text if isinstance(text, list) else [text]}
    return {"author": {"role": role}, "content": content, "create_time": None, "recipient": "all", **fields}


def test_chatgpt_keeps_what_was_said_and_shown(tmp_path: Path) -> None:
    """System messages, hidden context, thoughts, calls and results of tools are left out and counted; what was spoken stays."""
    thoughts = {"content_type": "thoughts", "parts": ["hm"]}
    turns = [
        _message("system", ""),
        _message("user", "hidden context", metadata={"is_visually_hidden_from_conversation": True}),
        _message(
            "user", [{"content_type": "audio_transcription", "text": "I like \ud800 ships"}], create_time=1700000009.25
        ),
        _message("assistant", "weighs nothing", weight=0.0),
        _message("assistant", "search(ships)", recipient="browser"),
        _message("tool", "a page of the web"),
        _message("assistant", "", content=thoughts),
        _message("assistant", ["Which?", {"content_type": "image_asset_pointer"}], weight=1.0),
    ]
    mapping: dict[str, dict[str, Any]] = {"0": {"message": None, "parent": None, "children": ["n0"]}}
    for number, turn in enumerate(turns):
        mapping[f"n{number}"] = {
            "message": turn,
            "parent": f"n{number - 1}" if number else "0",
            "children": [f"n{number + 1}"],
        }
    mapping[f"n{len(turns) - 1}"]["children"] = []
    mapping["old"] = {"message": _message("assistant", "another", create_time=1), "parent": "n0", "children": []}
    mapping[f"n{len(turns) - 1}"]["message"]["create_time"] = 1700000010
    for place in (f"n{len(turns) - 1}", None, "gone"):
        found = _read(
            tmp_path, "chatgpt", [{"id": "c", "create_time": 1700000000, "current_node": place, "mapping": mapping}]
        )
        (session,) = found.sessions
        assert [(each.role, each.content) for each in session.messages] == [
            ("user", "I like \ufffd ships"),
            ("assistant", "Which?"),
        ]
        assert [each.created_at for each in session.messages] == [
            datetime.fromtimestamp(at, UTC) for at in (1700000009.25, 1700000010)
        ]
        assert found.left_out == 6


def test_a_message_without_a_time_has_that_of_the_one_before(tmp_path: Path) -> None:
    """Or of its conversation: an import that is run again must not give it another."""
    turns = [
        {"uuid": str(at), "sender": "human", "text": "x", "created_at": at}
        for at in (None, "2024-03-01T08:00:05Z", None)
    ]
    (session,) = _read(
        tmp_path, "claude", [{"uuid": "u", "created_at": "2024-03-01T08:00:00Z", "chat_messages": turns}]
    ).sessions
    assert [each.created_at and each.created_at.second for each in session.messages] == [0, 5, 5]


def test_claude_keeps_what_was_attached(tmp_path: Path) -> None:
    """A text that was pasted is an attachment; blocks of tools and thoughts are left out, and so is who is nobody."""
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "tool_use", "name": "x"},
        {"type": "text", "text": "Done."},
    ]
    attached = {"file_name": "paste.txt", "extracted_content": "My CV"}
    turns: list[dict[str, Any]] = [
        {"uuid": "a", "sender": "human", "text": "", "content": [], "attachments": [attached, {"file_name": "x.png"}]},
        {"uuid": "b", "sender": "assistant", "text": "", "content": blocks, "attachments": None},
        {"uuid": "c", "sender": "system", "text": "be nice"},
    ]
    found = _read(tmp_path, "claude", [{"uuid": "u", "chat_messages": turns}])
    assert [each.content for each in found.sessions[0].messages] == ["paste.txt:\nMy CV", "Done."]
    assert found.left_out == 1


def test_what_other_versions_write(tmp_path: Path) -> None:
    """LangMem's wrapped contents, prefixes of a table, graphs of mem0, facts of Zep as texts, entities without observations."""
    langmem = {"kind": "Memory", "content": {"content": "Likes tea"}}
    items = [{"prefix": "memories.alex", "key": "k", "value": langmem}, {"namespace": ["a"], "key": "e", "value": None}]
    found = _read(tmp_path, "langgraph", items)
    assert [(fact.text, fact.namespace) for fact in found.facts] == [("Likes tea", "memories.alex")]
    assert found.left_out == 1
    relation = {"source": "alex", "relationship": "works_at", "target": "acme"}
    memory = {"id": "1", "memory": "Likes tea", "run_id": "r", "created_at": 1719853200000, "updated_at": "2024-07-02"}
    fact, related = _read(tmp_path, "mem0", {"results": [memory], "relations": [relation]}).facts
    assert (fact.session_id, fact.created_at, related.text) == (
        "r",
        datetime(2024, 7, 1, 17, tzinfo=UTC),
        "alex works at acme.",
    )
    edge = {
        "uuid": "e",
        "fact": "Lives in Rome",
        "valid_at": "2024-01-01",
        "invalid_at": None,
        "expired_at": "2025-01-01",
    }
    fact, said = _read(tmp_path, "zep", {"edges": [edge], "facts": ["Likes tea"]}).facts
    assert (fact.valid_to, said.text) == (datetime(2025, 1, 1, tzinfo=UTC), "Likes tea")
    alone: dict[str, Any] = {"type": "entity", "name": "Ann", "entityType": "person", "observations": []}
    assert [fact.text for fact in _read(tmp_path, "mcp-memory", [alone]).facts] == ["Ann: person"]


def test_a_long_paragraph_and_a_daily_note(tmp_path: Path) -> None:
    """Nothing of it is lost; a note that is named after a day is of that day."""
    path = tmp_path / "2024_02_03.md"
    path.write_bytes(("---\r\ntags: x\r\n---\r\n" + "word " * 2_000).encode())
    facts = read_elsewhere(path, "markdown").facts
    assert sum(len(fact.text.split()) for fact in facts) == 2_000
    assert {fact.created_at for fact in facts} == {datetime(2024, 2, 3, tzinfo=UTC)}


def test_the_archive_of_a_data_export_is_read(tmp_path: Path) -> None:
    """As it was downloaded, whatever else is in it."""
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("chat.html", "<html>")
        archive.writestr("deep/conversations.json", json.dumps(CHATGPT))
    assert read_elsewhere(path, "chatgpt").sessions == _read(tmp_path, "chatgpt", CHATGPT).sessions
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("chat.html", "<html>")
    with pytest.raises(InvalidInput, match=r"without a conversations\.json"):
        read_elsewhere(path, "chatgpt")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b" " * (LIMITS.import_unpacked_bytes_max + 1))
    with pytest.raises(InvalidInput, match="more than 67108864 bytes"):
        read_content(path.read_bytes(), "chatgpt", name="archive")
    path.write_bytes(b"PK\3\4 cut")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_elsewhere(path, "chatgpt")


@pytest.mark.parametrize(
    ("form", "content", "says"),
    [
        ("mem0", "no json", r"line 1: this is no JSON, as mem0 files are \(objects with a text in memory\)"),
        ("mem0", "", "is empty"),
        ("mem0", "[" * 100_000, "no JSON"),
        ("chatgpt", "{}", "nothing that chatgpt files hold .*, nor what others hold .*claude: conversations.json"),
        ("claude", "[]", "nothing"),
        ("zep", "[1, 2]", "nothing"),
        ("claude", CHATGPT, "it looks like chatgpt: name that"),
        ("langgraph", MCP_MEMORY, "it looks like mcp-memory"),
        ("mem0", {"kind": "export", "format": "agent-memory-export", "version": 1, "exported_at": ""}, "leave --from"),
        ("mem0", [{"role": "user", "content": "x"}], "import-conversation"),
        ("claude", [CLAUDE[1]], "holds no text to import"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path: Path, form: str, content: Any, says: str) -> None:
    """A person is told what was expected, and what the file looks like."""
    with pytest.raises(InvalidInput, match=says):
        _read(tmp_path, form, content)


def test_a_compressed_file_is_to_be_unpacked(tmp_path: Path) -> None:
    """And one that is no text cannot be read."""
    path = tmp_path / "file.json.gz"
    path.write_bytes(b"\x1f\x8b rest")
    with pytest.raises(InvalidInput, match="unpack it first"):
        read_elsewhere(path, "mem0")
    path.write_bytes(b"\x80\x81")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_elsewhere(path, "mem0")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Neither a file nor a folder of notes."""
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_elsewhere(tmp_path / "none.json", "mem0")
    with pytest.raises(InvalidInput, match="no Markdown"):
        read_elsewhere(tmp_path, "markdown")
