"""Signing in to the console: the credential means on pages what it means on REST."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Generator, Sequence

import httpx
import pytest

from tests.cli.commands import commands_beside
from tests.server_process import ServerProcess

OURS = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerProcess]:
    """A server that asks for tokens, with a memory each of ana and of bob."""
    folder = tmp_path_factory.mktemp("login") / "data"
    with ServerProcess(folder, environment={"AUTH_MODE": "token"}) as started:
        headers = {"Authorization": f"Bearer {_token(started)[0]}"}
        memories = [{"id": f"of-{user}", "text": f"{user} likes tea", "user_id": user} for user in ("ana", "bob")]
        with started.client() as client:
            made = client.post("/v1/long-term-memory/", json={"memories": memories}, headers=headers)
            assert made.status_code == 200
        yield started


def _token(server: ServerProcess, *options: str) -> tuple[str, str]:
    """A new token and its hash."""
    arguments = ("token", "add", "--description", "console", "--format", "json", *options)
    found = json.loads(commands_beside(server).done(*arguments))
    return found["token"], found["hash"]


@contextlib.contextmanager
def _visitor(server: ServerProcess, token: str) -> Generator[httpx.Client]:
    """A browser that signed in."""
    with server.client() as client:
        page = client.get("/login")
        form = re.search(r'name="form_token" value="(\w+)"', page.text)
        assert form is not None
        answer = client.post("/login", data={"token": token, "form_token": form[1]}, headers=OURS)
        assert answer.status_code == 303, answer.text
        yield client


def _changed(client: httpx.Client, path: str, form: dict[str, str]) -> httpx.Response:
    token = next(cookie.value for cookie in client.cookies.jar if cookie.name == "agent_memory_form")
    return client.post(path, data={"form_token": token or "", **form}, headers=OURS)


def test_nobody_sees_a_page_without_signing_in(server: ServerProcess) -> None:
    """Every page leads to the login, and from there to where one wanted to go; parts of pages say so in their own way."""
    with server.client() as client:
        for path in ("/", "/memories", "/memory?id=of-ana", "/access", "/map/points", "/session?id=s"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["location"].startswith("/login")) == (303, True), path
            assert "likes tea" not in answer.text
        part = client.get("/memories", headers={"HX-Request": "true"})
        assert (part.status_code, part.headers["hx-redirect"]) == (401, "/login")
        elsewhere = client.get("/login?next=//evil.example/")
        assert "evil.example" not in elsewhere.text


def test_a_wrong_token_is_refused_in_words(server: ServerProcess) -> None:
    """With 401, and without a login."""
    with server.client() as client:
        page = client.get("/login")
        form = re.search(r'name="form_token" value="(\w+)"', page.text)
        assert form is not None
        for wrong in ("nobody-ever-made-this-token-at-all", "", "a.b.c", "x" * 20_000):
            answer = client.post("/login", data={"token": wrong, "form_token": form[1]}, headers=OURS)
            assert answer.status_code == 401
            assert "not known here" in answer.text
            assert "agent_memory_login" not in answer.headers.get("set-cookie", "")
        foreign = client.post(
            "/login", data={"token": "x", "form_token": form[1]}, headers={"Sec-Fetch-Site": "cross-site"}
        )
        assert foreign.status_code == 403


def test_the_cookie_is_for_this_site_and_no_script(server: ServerProcess) -> None:
    """HttpOnly and SameSite=Strict; Secure where the page came encrypted."""
    token, _ = _token(server)
    with server.client() as client:
        page = client.get("/login", headers={"X-Forwarded-Proto": "https"})
        form = re.search(r'name="form_token" value="(\w+)"', page.text)
        assert form is not None
        cookies = {"agent_memory_form": form[1]}
        answer = client.post(
            "/login",
            data={"token": token, "form_token": form[1]},
            headers={**OURS, "X-Forwarded-Proto": "https", "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())},
        )
        cookie = answer.headers["set-cookie"].lower()
        assert {"httponly", "samesite=strict", "secure"} <= {part.strip() for part in cookie.split(";")}


def test_a_bound_credential_sees_its_own_and_nothing_else(server: ServerProcess) -> None:
    """Another's memory answers as one that is not there."""
    token, _ = _token(server, "--user", "ana")
    with _visitor(server, token) as client:
        assert "ana likes tea" in client.get("/memories").text
        assert "bob" not in client.get("/memories").text
        assert "bob" not in client.get("/users").text
        foreign, absent = (client.get("/memory", params={"id": each}) for each in ("of-bob", "of-nobody"))
        assert (foreign.status_code, absent.status_code) == (404, 404)
        assert _same(foreign.text) == _same(absent.text)
        assert client.get("/memories?user_id=bob").status_code == client.get("/memories?user_id=nobody").status_code
        assert "bob" not in client.get("/search?text=tea").text


def _same(page: str) -> Sequence[str]:
    """A page without the ids that were asked for."""
    return re.sub(r"of-\w+|<code>\w+</code>", "", page).split()


def test_permissions_hold_on_pages(server: ServerProcess) -> None:
    """A reader changes nothing and administers nothing, by button or by request."""
    token, _ = _token(server, "--permissions", "read")
    with _visitor(server, token) as client:
        page = client.get("/memory?id=of-ana")
        assert page.status_code == 200
        assert "Save" not in page.text
        assert _changed(client, "/memory/delete?id=of-ana", {"confirmed": "1"}).status_code == 403
        assert _changed(client, "/memory/edit?id=of-ana", {"text": "changed"}).status_code == 403
        for path in ("/access", "/background/compaction"):
            refused = client.get(path)
            assert (refused.status_code, "permission admin" in refused.text) == (403, True)
        assert client.get("/memory?id=of-ana").status_code == 200


def test_a_revoked_token_ends_the_login(server: ServerProcess) -> None:
    """At once, with a word about it; signing out does so too."""
    token, digest = _token(server)
    with _visitor(server, token) as client:
        assert client.get("/").status_code == 200
        commands_beside(server).done("token", "remove", digest, "--force")
        answer = client.get("/memories")
        assert (answer.status_code, "ended=1" in answer.headers["location"]) == (303, True)
        assert "Your login has ended" in client.get(answer.headers["location"]).text
    token, _ = _token(server)
    with _visitor(server, token) as client:
        assert _changed(client, "/logout", {}).status_code == 303
        assert client.get("/").status_code == 303
