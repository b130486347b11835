"""What changed is told on pages, and taken back from them: the plan first, and nothing that came later is overwritten."""

from __future__ import annotations

import re
from collections.abc import Generator

import httpx
import pytest

from tests.server_process import ServerProcess
from tests.web.forms import changed


@pytest.fixture
def client(console: ServerProcess) -> Generator[httpx.Client]:
    with console.client() as opened:
        yield opened


def _created(client: httpx.Client, memory_id: str, text: str, user_id: str) -> None:
    body = {"memories": [{"id": memory_id, "text": text, "user_id": user_id}], "deduplicate": False}
    assert client.post("/v1/long-term-memory/", json=body).status_code == 200


def _newest(client: httpx.Client, user_id: str) -> str:
    listed = client.get("/v1/operations", params={"user_id": user_id, "order": "desc", "limit": 1}).json()
    return listed["operations"][0]["id"]


def test_an_edit_is_listed_explained_and_taken_back(client: httpx.Client) -> None:
    """From the list to the operation, to the plan of its undo, to the memory as it was; the undo is an operation too."""
    _created(client, "undone", "Ida plays the cello.", "ida")
    client.patch("/v1/long-term-memory/undone", json={"text": "Ida plays the harp."})
    edit = _newest(client, "ida")
    rows = client.get("/operations", params={"user_id": "ida"}).text
    assert rows.count("/operation?id=") == 2
    assert f"/operation?id={edit}" in rows
    assert "Edit" in client.get("/operations", params={"user_id": "ida", "kind": "edit"}).text
    assert "/operation?id=" not in client.get("/operations", params={"user_id": "ida", "kind": "merge"}).text
    assert "/memory?id=undone" in client.get("/operation", params={"id": edit}).text
    plan = client.get("/operation/undo", params={"id": edit}).text
    assert "Ida plays the <del>harp</del><ins>cello</ins>." in plan
    assert client.get("/v1/long-term-memory/undone").json()["text"] == "Ida plays the harp."
    done = changed(client, f"/operation/undone?id={edit}", {})
    assert done.status_code == 303
    assert client.get("/v1/long-term-memory/undone").json()["text"] == "Ida plays the cello."
    assert f"/operation?id={edit}" in client.get(done.headers["location"]).text
    again = client.get("/operation/undo", params={"id": edit})
    assert (again.status_code, "undone already" in again.text) == (409, True)


def test_what_came_later_stands_against_an_undo(client: httpx.Client) -> None:
    """The plan names the later operation and offers no button; asking all the same changes nothing."""
    _created(client, "later", "Ole drinks tea.", "ole")
    client.patch("/v1/long-term-memory/later", json={"text": "Ole drinks coffee."})
    first = _newest(client, "ole")
    client.patch("/v1/long-term-memory/later", json={"text": "Ole drinks water."})
    second = _newest(client, "ole")
    plan = client.get("/operation/undo", params={"id": first}).text
    assert f"/operation?id={second}" in plan
    assert "/operation/undone" not in plan
    refused = changed(client, f"/operation/undone?id={first}", {})
    assert (refused.status_code, "came later" in refused.text) == (409, True)
    assert client.get("/v1/long-term-memory/later").json()["text"] == "Ole drinks water."


def test_what_was_deleted_for_good_is_told_without_its_text(client: httpx.Client) -> None:
    """The page of the memory answers 404 and still says who removed it; nobody is offered an undo."""
    _created(client, "deleted", "A secret of Una.", "una")
    client.delete("/v1/long-term-memory", params={"memory_ids": "deleted"})
    page = client.get("/memory", params={"id": "deleted", "user_id": "una"})
    assert (page.status_code, "not here any more" in page.text, "secret" in page.text) == (404, True, False)
    deletion = _newest(client, "una")
    assert f"/operation?id={deletion}" in page.text
    told = client.get("/operation", params={"id": deletion}).text
    assert "for good" in told
    assert "/operation/undo" not in told
    assert client.get("/operation/undo", params={"id": deletion}).status_code == 409


def test_an_open_list_is_told_what_came(client: httpx.Client) -> None:
    """News begin where the page ended, come once, and keep to the filters; without any there is nothing to swap."""
    _created(client, "before", "Eva sails.", "eva")
    found = re.search(r'hx-get="([^"]*/operations/news[^"]*)"', client.get("/operations?user_id=eva").text)
    assert found is not None
    where = found[1].replace("&amp;", "&")
    assert client.get(where).status_code == 204
    _created(client, "after", "Eva sails round the world.", "eva")
    _created(client, "another", "Kai sails too.", "kai")
    news = client.get(where)
    assert news.text.count("/operation?id=") == 1
    following = re.search(r'hx-get="([^"]*/operations/news[^"]*)"', news.text)
    assert following is not None
    assert client.get(following[1].replace("&amp;", "&")).status_code == 204
