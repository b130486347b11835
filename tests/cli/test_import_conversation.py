"""``agent-memory import-conversation``: into the store, through a server, and again."""

from __future__ import annotations

import json
from pathlib import Path

from examples.demo import SHIPPED
from tests.cli.commands import CommandLine
from tests.server_process import ServerProcess, free_port
from tests.waiting import wait_until


def _ids(line: CommandLine, query: str) -> list[str]:
    return [each["id"] for each in json.loads(line.done("search", query, "--json"))["memories"]]


def test_importing_twice_changes_nothing(terminal: CommandLine) -> None:
    """The first import is searchable when it ends; the second stores no message and no memory."""
    first = terminal.done("import-conversation", str(SHIPPED), "-u", "mara")
    assert first == "Imported 45 messages into 3 sessions.\n"
    found = _ids(terminal, "sourdough Klaus")
    again = json.loads(terminal.done("import-conversation", str(SHIPPED), "-u", "mara", "--json"))
    assert (again["appended"], again["duplicates"], again["blank"]) == (0, 45, 0)
    assert again["sessions"] == ["lisbon-session_1", "lisbon-session_2", "lisbon-session_3"]
    assert _ids(terminal, "sourdough Klaus") == found


def test_a_longer_version_of_a_file_adds_what_is_new(terminal: CommandLine) -> None:
    """More messages than one append takes go in several."""
    path = terminal.folder / "talk.json"
    messages = [{"role": "user", "content": f"note {number}", "created_at": number} for number in range(1_500)]
    path.write_text(json.dumps(messages), encoding="utf-8")
    assert "Imported 1500 messages into 1 sessions." in terminal.done("import-conversation", "talk.json")
    path.write_text(
        json.dumps([*messages, {"role": "user", "content": "new"}, {"role": "user", "content": " "}]), "utf-8"
    )
    grown = terminal.done("import-conversation", "talk.json")
    assert grown == "Imported 1 messages into 1 sessions. 1500 were there already. 1 without text were left out.\n"


def test_through_a_running_server(terminal: CommandLine, shared_server: ServerProcess, namespace: str) -> None:
    """With ``--url`` the store of the command line's own settings is not touched."""
    arguments = ("import-conversation", str(SHIPPED), "--url", shared_server.url, "-n", namespace, "--json")
    assert json.loads(terminal.done(*arguments))["appended"] == 45
    assert json.loads(terminal.done(*arguments))["duplicates"] == 45
    assert not (terminal.folder / "data").exists()
    with shared_server.client() as client:
        page = client.get("/v1/working-memory/lisbon-session_2/messages", params={"namespace": namespace}).json()
    assert (page["total"], page["messages"][0]["name"]) == (16, "Mara")


def test_beside_a_running_server_on_the_same_data(tmp_path: Path) -> None:
    """Two processes on one file: what the command wrote, the server finds, and the other way round."""
    with ServerProcess(tmp_path / "data") as server, server.client() as client:
        line = CommandLine(folder=tmp_path)
        line.done("import-conversation", str(SHIPPED), "-u", "mara")
        body = {"text": "sourdough Klaus", "search_mode": "hybrid", "user_id": {"eq": "mara"}}
        found = client.post("/v1/long-term-memory/search", json=body).json()["memories"]
        assert found[0]["id"] == "lisbon-D2:7"
        client.post("/v1/long-term-memory/", json={"memories": [{"id": "tea", "text": "Ana drinks green tea"}]})
        assert _ids(line, "green tea")[0] == "tea"


def test_what_cannot_be_imported_is_one_sentence(terminal: CommandLine, shared_server: ServerProcess) -> None:
    """Of the file, of the server's refusal, and of a server that is not there; exit code 1, nothing on stdout."""
    path = terminal.folder / "talk.json"
    path.write_text(json.dumps([{"role": "user", "content": "hi", "created_at": "2999-01-01"}]), encoding="utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    for arguments, sentence in (
        (("absent.json",), "absent.json cannot be read"),
        (("talk.json",), "created_at cannot be more than 300 seconds in the future"),
        (("talk.json", "--url", shared_server.url), "the server answered 422: body.messages.0.created_at"),
        (("talk.json", "--url", url), f"no answer from {url}"),
        (("talk.json", "--url", "ftp://x"), "ftp://x is not a server's address"),
        (("talk.json", "--conversation", "1"), "list of messages"),
    ):
        outcome = terminal.run("import-conversation", *arguments)
        assert (outcome.code, outcome.out) == (1, "")
        assert sentence in outcome.err
        assert "Traceback" not in outcome.err


def test_nothing_is_stored_that_the_api_would_refuse(terminal: CommandLine) -> None:
    """An import straight into the store makes the same checks."""
    path = terminal.folder / "talk.json"
    path.write_text(json.dumps([{"role": "x" * 600, "content": "hi"}]), encoding="utf-8")
    outcome = terminal.run("import-conversation", "talk.json")
    assert outcome.code == 1
    assert "messages.0.role" in outcome.err


def test_timestamps_are_required_where_the_server_requires_them(tmp_path: Path) -> None:
    """REQUIRE_MESSAGE_TIMESTAMPS holds for imports too."""
    line = CommandLine(folder=tmp_path, environment={"REQUIRE_MESSAGE_TIMESTAMPS": "true"})
    (tmp_path / "talk.json").write_text(json.dumps([{"role": "user", "content": "hi"}]), encoding="utf-8")
    outcome = line.run("import-conversation", "talk.json")
    assert outcome.code == 1
    assert "has no created_at" in outcome.err


def test_messages_become_memories_on_the_server(
    terminal: CommandLine, shared_server: ServerProcess, namespace: str
) -> None:
    """A moment after an import through a server they are found by words."""
    terminal.done("import-conversation", str(SHIPPED), "--url", shared_server.url, "-n", namespace)

    def hits() -> list[str]:
        body = {"text": "Miradouro", "search_mode": "keyword", "namespace": {"eq": namespace}}
        with shared_server.client() as client:
            return [each["id"] for each in client.post("/v1/long-term-memory/search", json=body).json()["memories"]]

    wait_until(lambda: "lisbon-D3:13" in hits(), "the imported messages did not become memories")
