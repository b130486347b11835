"""Each page's main task, done by a person with a real browser, on both engines; and no serious fault of accessibility."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.server_process import ServerProcess

pytestmark = pytest.mark.long

SERIOUS = ("serious", "critical")
PAGES = (
    "/",
    "/search?text=how+does+mara+travel&expected=fact-1",
    "/memories",
    "/memory?id=fact-0",
    "/sessions",
    "/session?id=hostile&user_id=mallory",
    "/users",
    "/user?user_id=mara",
    "/map",
    "/operations",
    "/background",
    "/background/compaction",
    "/access",
    "/connect",
    "/memory?id=gone",
)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Generator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, console: ServerProcess) -> Generator[Page]:
    """A page in a fresh profile; whatever its console says as an error fails the test, and so does an error in a script."""
    context = browser.new_context(base_url=console.url, viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    said: list[str] = []
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert [line for line in said if "status of 4" not in line] == []


def _serious_faults(page: Page) -> list[str]:
    # The package has no types.
    violations: list[Any] = cast("Any", Axe()).run(page).response["violations"]
    return [
        f"{each['id']} ({each['impact']}) {each['nodes'][0]['html'][:160]}"
        for each in violations
        if each["impact"] in SERIOUS
    ]


def test_a_newcomer_loads_the_example_and_finds_a_memory(browser: Browser, tmp_path: Path) -> None:
    """From an empty store with nothing but what the pages offer: load, look at a conversation until its facts appear, ask, see
    why it was found and where it came from, and what to paste into an agent."""
    with ServerProcess(tmp_path / "data", environment={"EXTRACTION_DEBOUNCE_SECONDS": "1"}) as server:
        context = browser.new_context(base_url=server.url, viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto("/")
        expect(page.get_by_text("Nothing is remembered yet")).to_be_visible()
        page.get_by_role("button", name="Load the example conversation").click()
        expect(page.get_by_role("heading", name="The example is loaded")).to_be_visible()
        assert _serious_faults(page) == []
        page.get_by_role("link", name=re.compile("session_1")).click()
        expect(page.get_by_text("Pixel is fourteen")).to_be_visible()
        expect(page.locator("#remembered .line").first).to_be_visible(timeout=20_000)
        page.go_back()
        page.get_by_role("link", name="Ask what she is allergic to").click()
        hit = page.locator(".hit").first
        expect(hit).to_contain_text("penicillin")
        hit.get_by_text("Why it was found").click()
        expect(hit.get_by_text("by words")).to_be_visible()
        page.locator(".hit-text a").first.click()
        expect(page.get_by_role("heading", name="Where it came from")).to_be_visible()
        page.get_by_role("link", name="Connect").click()
        expect(page.get_by_text(f"claude mcp add --transport http memory {server.url}/mcp")).to_be_visible()
        expect(page.get_by_text(str(tmp_path / "data"))).to_be_visible()
        context.close()


def test_why_not_this_one(page: Page) -> None:
    """The playground names the stage at which an expected memory was lost."""
    page.goto("/search?text=trains&mode=keyword&user_id=mara&recency=1&expected=fact-1")
    expect(page.get_by_role("heading", name="Why not this one?")).to_be_visible()
    expect(page.locator(".expectation .status")).to_have_text("no candidate")
    page.goto("/search?text=trains&user_id=mara&memory_type=episodic&expected=fact-0")
    expect(page.locator(".expectation .status")).to_have_text("filtered out")


def test_a_memory_is_edited_pinned_and_deleted(page: Page, console: ServerProcess) -> None:
    """Through its page; what the page then says is what the API says."""
    with console.client() as client:
        body = {"memories": [{"id": "draft", "text": "Mara rents a flat.", "user_id": "editor"}]}
        assert client.post("/v1/long-term-memory/", json=body).status_code == 200
        page.goto("/memory?id=draft&user_id=editor")
        page.get_by_text("Edit", exact=True).click()
        page.get_by_label("Text").fill("Mara bought a flat.")
        page.get_by_label("Topics, separated by commas").fill("home, money")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("status").get_by_text("Saved.")).to_be_visible()
        expect(page.locator(".memory-text")).to_have_text("Mara bought a flat.")
        stored = client.get("/v1/long-term-memory/draft").json()
        assert (stored["text"], stored["topics"]) == ("Mara bought a flat.", ["home", "money"])
        page.get_by_role("button", name="Pin").click()
        expect(page.get_by_role("button", name="Unpin")).to_be_visible()
        page.get_by_text("Delete", exact=True).first.click()
        page.get_by_label("Yes, delete this memory for good").check()
        page.get_by_role("button", name="Delete").click()
        expect(page).to_have_url(re.compile("/memories"))
        assert client.get("/v1/long-term-memory/draft").status_code == 404


def test_an_edit_is_taken_back(page: Page, console: ServerProcess) -> None:
    """From the memory's history to the operation, to the plan of its undo, to the memory as it was."""
    with console.client() as client:
        body = {"memories": [{"id": "taken-back", "text": "Ada lives in Rome.", "user_id": "ada"}]}
        assert client.post("/v1/long-term-memory/", json=body).status_code == 200
        client.patch("/v1/long-term-memory/taken-back", json={"text": "Ada lives in Oslo."})
        page.goto("/memory?id=taken-back&user_id=ada")
        page.locator("#history").get_by_role("link", name="Edit").click()
        expect(page.get_by_role("heading", name="What it changed")).to_be_visible()
        page.get_by_role("link", name="See what an undo would do").click()
        expect(page.get_by_text("gets back what it said")).to_be_visible()
        assert _serious_faults(page) == []
        page.get_by_role("button", name="Undo it").click()
        expect(page.get_by_role("status")).to_contain_text("took it back")
        assert client.get("/v1/long-term-memory/taken-back").json()["text"] == "Ada lives in Rome."


def test_an_open_list_of_operations_shows_what_comes(page: Page, console: ServerProcess) -> None:
    """Without loading the page again: what somebody else does meanwhile stands on top."""
    page.goto("/operations?user_id=meanwhile")
    expect(page.get_by_text("No operation matches these filters.")).to_be_visible()
    with console.client() as client:
        for number in range(2):
            body = {"memories": [{"id": f"live-{number}", "text": f"Tea number {number}.", "user_id": "meanwhile"}]}
            assert client.post("/v1/long-term-memory/", json=body).status_code == 200
            if number == 0:
                page.goto("/operations?user_id=meanwhile")
                expect(page.locator(".operations td.text")).to_have_count(1)
    expect(page.locator(".operations td.text")).to_have_count(2)


def test_a_message_is_appended(page: Page) -> None:
    """And shown as it was written, as text."""
    page.goto("/session?id=hostile&user_id=mallory")
    page.get_by_label("Append a message").fill("And <b>one</b> more")
    page.get_by_role("button", name="Append").click()
    expect(page.locator(".bubble").last).to_contain_text("And <b>one</b> more")
    assert page.title().startswith("Session")


def test_a_compaction_is_read_before_it_is_done(page: Page, console: ServerProcess) -> None:
    """The plan names the copies; after it one of them stands for both."""
    copies = [{"id": f"copy-{number}", "text": "Tea, twice.", "user_id": "twin"} for number in range(2)]
    with console.client() as client:
        body = {"memories": copies, "deduplicate": False}
        assert client.post("/v1/long-term-memory/", json=body).status_code == 200
    page.goto("/background")
    page.get_by_label("User").fill("twin")
    page.get_by_role("button", name="Show the plan").click()
    expect(page.get_by_role("heading", name=re.compile("Exact copies"))).to_be_visible()
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_role("heading", name="Compacted")).to_be_visible()
    page.goto("/background/compaction?user_id=twin")
    expect(page.get_by_text("no two memories say the same")).to_be_visible()


def test_a_token_is_made_shown_once_and_revoked(page: Page) -> None:
    """Loading the page again does not show it any more."""
    page.goto("/access")
    if page.get_by_label("What it is for").is_hidden():
        page.get_by_text("Make a token").click()
    page.get_by_label("What it is for").fill("a test")
    page.get_by_role("button", name="Make it").click()
    token = page.locator(".welcome pre").inner_text()
    assert len(token) >= 32
    page.goto("/access")
    expect(page.get_by_text("a test")).to_be_visible()
    assert token not in page.content()
    row = page.get_by_role("row").filter(has_text="a test")
    row.get_by_text("Revoke", exact=True).click()
    row.get_by_role("button", name="Revoke it").click()
    expect(page.get_by_text("a test")).to_have_count(0)


def test_the_map_draws_and_opens_what_is_clicked(page: Page) -> None:
    """What is under the pointer is said; the keyboard moves and zooms."""
    page.goto("/map?user_id=mara")
    expect(page.locator("#map")).to_have_attribute("data-drawn", "true")
    assert int(page.locator("#map").get_attribute("data-count") or 0) >= 2
    page.select_option("#map-colour", "type")
    expect(page.locator("#map-legend")).to_contain_text("semantic")
    box = page.locator("#map canvas").bounding_box()
    assert box is not None
    points = page.context.request.get("/map/points?user_id=mara").json()
    side = min(box["width"], box["height"]) * 0.46
    wide = min(1.6, box["width"] / box["height"]) if box["width"] > box["height"] else 1
    x = box["x"] + box["width"] / 2 + points["x"][0] * side * wide
    y = box["y"] + box["height"] / 2 - points["y"][0] * side
    page.mouse.move(x, y)
    expect(page.locator("#map-said p")).not_to_be_empty()
    page.mouse.down()
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"/memory\?id="))
    page.goto("/map?user_id=mara")
    page.locator("#map canvas").focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#map")).to_have_attribute("data-drawn", "true")


@pytest.mark.parametrize("console", ["sqlite"], indirect=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault_of_accessibility(browser: Browser, console: ServerProcess, scheme: str) -> None:
    """By axe-core, in both colour schemes and on a phone; nothing scrolls sideways there."""
    size = {"width": 1280, "height": 900} if scheme == "light" else {"width": 390, "height": 800}
    context = browser.new_context(
        base_url=console.url,
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    faults: list[str] = []
    for path in PAGES:
        page.goto(path)
        faults += [f"{path}: {fault}" for fault in _serious_faults(page)]
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > size["width"]:
            faults.append(f"{path}: is {width} wide on a screen of {size['width']}")
    context.close()
    assert faults == []
