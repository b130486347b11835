"""``agent-memory token``: made, listed, shown, removed; the token itself is printed once."""

from __future__ import annotations

import json

from tests.cli.commands import CommandLine
from tests.server_process import ServerProcess

KEYS = {"token", "description", "created_at", "expires_at", "hash"}
"""Of the reference server's JSON: scripts read them."""


def test_a_token_is_printed_once(terminal: CommandLine) -> None:
    """Scripts get the keys they know; lists and the data hold the hash alone, which people see masked. No token: it says so."""
    assert terminal.done("token", "list") == "No tokens found.\n"
    made = json.loads(terminal.done("token", "add", "-d", "ci", "-e", "30", "--format", "json"))
    assert made.keys() >= KEYS
    assert (made["description"], made["permissions"]) == ("ci", ["read", "write", "admin"])
    (listed,) = json.loads(terminal.done("token", "list", "--format", "json"))
    assert listed == {**{name: value for name, value in made.items() if name != "token"}, "status": "Active"}
    people = terminal.done("token", "list")
    assert f"{made['hash'][:8]}...{made['hash'][-8:]}" in people
    everything = people + terminal.done("token", "show", made["hash"][:6]) + terminal.done("token", "show", made["id"])
    assert made["token"] not in everything
    files = b"".join(path.read_bytes() for path in (terminal.folder / "data").iterdir())
    assert made["token"].encode() not in files


def test_a_token_says_whose_it_is(terminal: CommandLine) -> None:
    """Tenant, namespace, user and permissions; one's own token from standard input."""
    options = ["--tenant", "acme", "-n", "team", "--user", "auth0|x", "--permissions", "write", "--token", "-"]
    said = terminal.done("token", "add", "-d", "bound", *options, answer="my-own-token-" + "x" * 30 + "\n")
    for line in (
        f"Token: my-own-token-{'x' * 30}",
        "Tenant:      acme",
        "Namespace:   team",
        "User:        auth0|x",
        "Permissions: read, write",
        "Expires:     never",
    ):
        assert line in said.splitlines()


def test_what_cannot_be_a_token_is_a_sentence(terminal: CommandLine) -> None:
    """Exit code 1 for values, 2 for usage; never a stack."""
    terminal.done("token", "add", "-d", "one", "--token", "t" * 40)
    for arguments, code, said in (
        (("add", "-d", "x", "--token", "short"), 1, "at least 32"),
        (("add", "-d", "x", "--token", "t" * 40), 1, "there already"),
        (("add", "-d", "x", "--permissions", "read,god"), 2, "god is no permission"),
        (("add", "-d", "x", "--user", " "), 1, "user needs"),
        (("remove", "nope", "-f"), 1, "No token found for nope"),
    ):
        outcome = terminal.run("token", *arguments)
        assert outcome.code == code, outcome
        assert said in outcome.err
        assert "Traceback" not in outcome.err
    missing = terminal.run("token", "show", "nope", "--format", "json")
    assert (missing.code, json.loads(missing.out)) == (1, {"error": "No token found for nope"})


def test_a_removed_token_ends_at_once_on_a_running_server(terminal: CommandLine) -> None:
    """Made and removed beside the server, which needs no restart; the removal asks first."""
    with ServerProcess(terminal.folder / "data", environment={"AUTH_MODE": "token"}) as server, server.client() as http:
        made = json.loads(terminal.done("token", "add", "-d", "short-lived", "--format", "json"))
        headers = {"Authorization": f"Bearer {made['token']}"}
        assert http.get("/v1/working-memory/", headers=headers).status_code == 200
        assert terminal.run("token", "remove", made["hash"], answer="n\n").code == 1
        assert http.get("/v1/working-memory/", headers=headers).status_code == 200
        assert "Removed the token 'short-lived'." in terminal.done("token", "remove", made["hash"][:10], answer="y\n")
        assert http.get("/v1/working-memory/", headers=headers).status_code == 401
        assert made["token"] not in server.log
