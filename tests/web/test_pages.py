"""What every page of the console keeps to, without a browser."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Generator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from agent_memory_server.importers.conversations import read_sessions
from agent_memory_server.web.pages.overview import INSTALLED_EXAMPLE
from tests.server_process import ServerProcess
from tests.web.conftest import HOSTILE_ID
from tests.web.forms import changed, form_token

PAGES = (
    "/",
    "/search",
    "/search?text=cat",
    "/search?text=cat&mode=keyword&expected=fact-0",
    "/memories",
    "/memories?user_id=mara&memory_type=semantic&topic=travel&since=2020-01-01&until=2030-01-01&order=used&superseded=1",
    "/memory?id=fact-0",
    "/memory?" + urlencode({"id": HOSTILE_ID, "user_id": "mallory"}),
    "/sessions",
    "/session?id=hostile&user_id=mallory",
    "/users",
    "/users?starts=ma",
    "/user?user_id=mara",
    "/user?user_id=mallory",
    "/map",
    "/map/points",
    "/operations",
    "/operations?user_id=mara&kind=create",
    "/operations?actor=nobody",
    "/background",
    "/background/compaction",
    "/access",
    "/connect",
)


@pytest.fixture
def client(console: ServerProcess) -> Generator[httpx.Client]:
    with console.client() as opened:
        yield opened


class _Looked(HTMLParser):
    """Elements that no page of ours may have: they would be somebody's text that became markup, or break the policy."""

    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.elements = 0
        self._is_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements += 1
        held = {name: value or "" for name, value in attrs}
        self._is_script = tag == "script" and held.get("type") != "application/json"
        if tag in ("iframe", "object", "embed", "base", "style", "b", "i", "u"):
            self.faults.append(f"<{tag}>")
        for name, value in held.items():
            if name.startswith("on") or name == "style":
                self.faults.append(f"{tag} {name}={value}")
            if name in ("src", "href", "action", "hx-get") and not re.match(r"/(?!/)|#", value):
                self.faults.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        if self._is_script and data.strip():
            self.faults.append(f"inline script: {data[:50]}")
        self._is_script = False


@pytest.mark.parametrize("path", PAGES)
def test_every_page_answers_safely(client: httpx.Client, path: str) -> None:
    """With a strict policy, nothing from another host, no inline script or style, and every text escaped."""
    page = client.get(path)
    assert page.status_code == 200, page.text[:2000]
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    if not page.headers["content-type"].startswith("text/html"):
        return
    looked = _Looked()
    looked.feed(page.text)
    assert looked.faults == []
    assert looked.elements > 20


def test_hostile_text_is_shown_as_it_is(client: httpx.Client) -> None:
    """Nothing is dropped: what was stored can be read, as text."""
    page = client.get("/memory", params={"id": HOSTILE_ID, "user_id": "mallory"}).text
    assert "&lt;script&gt;document.title=" in page
    assert "{{ 7*7 }}" in page


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/memory?id=gone", 404, "not found"),
        ("/session?id=gone", 404, "not found"),
        ("/user?user_id=nobody-at-all", 404, "Nothing is known"),
        ("/memories?memory_type=nonsense", 422, "memory_type must be"),
        ("/memories?since=yesterday", 422, "must be a day"),
        ("/memories?since=2026-02-01&until=2026-01-01", 422, "must not be before"),
        ("/memories?cursor=nonsense", 422, "cursor"),
        ("/memories?user_id=%00", 422, "NUL"),
        ("/search?text=x&mode=nonsense", 422, "mode must be"),
        ("/search?text=x&limit=0", 422, "whole number"),
        ("/search?text=x&alpha=nan", 422, "from 0 to 1"),
        ("/background?status=nonsense", 422, "status must be"),
        ("/operation?id=gone", 404, "not found"),
        ("/operation/undo?id=gone", 404, "not found"),
        ("/operations?kind=nonsense", 422, "kind must be"),
        ("/sessions?offset=-1", 422, "whole number"),
    ],
)
def test_what_cannot_be_shown_is_a_page_that_says_why(client: httpx.Client, path: str, status: int, says: str) -> None:
    """With the right status and a way on; a part of a page gets a part."""
    page = client.get(path)
    assert page.status_code == status
    assert page.headers["content-type"].startswith("text/html")
    assert says.lower() in page.text.lower()
    assert 'href="/"' in page.text
    part = client.get(path, headers={"HX-Request": "true"})
    assert part.status_code == status
    assert "<html" not in part.text


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_other_sites_change_nothing(client: httpx.Client, site: str) -> None:
    """Not even with the right token: the browser's word about where a form came from counts."""
    form = {"description": "stolen", "read": "1"}
    refused = changed(client, "/access/add", form, site=site)
    assert refused.status_code == 403
    assert "stolen" not in client.get("/access").text


def test_a_form_without_its_token_changes_nothing(client: httpx.Client) -> None:
    """Nor does one whose token is another visitor's, nor one that says nothing of where it comes from."""
    client.get("/access")
    same = {"Sec-Fetch-Site": "same-origin"}
    assert client.post("/access/add", data={"description": "x"}, headers=same).status_code == 403
    other = client.post("/access/add", data={"description": "x", "form_token": "0" * 48}, headers=same)
    assert other.status_code == 403
    token = form_token(client.get("/access"))
    assert client.post("/access/add", data={"description": "x", "form_token": token}).status_code == 403


def test_without_authentication_only_local_names_are_answered(client: httpx.Client) -> None:
    """Another site's name that was pointed at this machine (DNS rebinding) reads nothing."""
    refused = client.get("/memories", headers={"Host": "evil.example:8000"})
    assert refused.status_code == 403
    assert "trains" not in refused.text
    assert client.get("/memories", headers={"Host": "localhost:8000"}).status_code == 200


def test_an_edit_of_what_changed_meanwhile_is_refused(client: httpx.Client, console: ServerProcess) -> None:
    """The page says so, and nothing is overwritten."""
    created = {"memories": [{"id": "edited", "text": "first", "user_id": "ed", "memory_type": "semantic"}]}
    assert client.post("/v1/long-term-memory/", json=created).status_code == 200
    page = client.get("/memory", params={"id": "edited"}).text
    etag = re.search(r'name="etag" value="([^"]+)"', page)
    assert etag is not None
    client.patch("/v1/long-term-memory/edited", json={"text": "second"})
    form = {"text": "third", "memory_type": "semantic", "etag": etag[1].replace("&#34;", '"')}
    refused = changed(client, "/memory/edit?id=edited&user_id=ed", form)
    assert refused.status_code == 412
    assert client.get("/v1/long-term-memory/edited").json()["text"] == "second"


def test_assets_are_ours_and_kept(client: httpx.Client) -> None:
    """Scripts and styles come from this server with an age; nothing outside their folder is served."""
    answer = client.get("/console-assets/console.css")
    assert answer.status_code == 200
    assert "max-age" in answer.headers["cache-control"]
    assert client.get("/console-assets/../templates/login.html").status_code == 404
    assert client.get("/console-assets/%2e%2e/templates/login.html").status_code == 404


def test_an_installed_package_brings_the_example() -> None:
    """What a wheel puts beside the pages is a file that is there, under the name that the overview looks for."""
    root = Path(__file__).parents[2]
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    (source,) = (name for name, place in build["wheel"]["force-include"].items() if place == INSTALLED_EXAMPLE)
    assert read_sessions(root / source)
    assert source in build["sdist"]["include"]
