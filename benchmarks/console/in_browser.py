"""The memory map in a real Chromium: until its points are painted, until a point says its text, and how long a frame takes."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import Any

FRAMES = 30
_TIMEOUT_MS = 60_000

# Moving the map repaints every point: the time of the frames while it is dragged along.
_DRAGGED = """async (frames) => {
  const canvas = document.querySelector("#map canvas"), box = canvas.getBoundingClientRect();
  const at = (kind, x) => canvas.dispatchEvent(new PointerEvent(kind, {
    bubbles: true, pointerId: 1, clientX: box.x + x, clientY: box.y + 100 }));
  canvas.setPointerCapture = () => {};
  at("pointerdown", 200);
  const begun = performance.now();
  for (let i = 1; i <= frames; i++) {
    at("pointermove", 200 + 6 * i);
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  const spent = performance.now() - begun;
  at("pointerup", 200 + 6 * frames);
  return spent / frames;
}"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """``content_ms``: the page with its frame; ``painted_ms``: all points, since the address was entered; ``said_ms``: from
    the pointer's move to the text (of which 90 ms are waited for the pointer to rest); ``frame_ms``: while it is dragged."""

    points: int
    content_ms: float
    painted_ms: float
    said_ms: float
    frame_ms: float


def map_in_browser(url: str) -> Shown | None:
    """None where Chromium or Playwright is missing. The points' sample was taken before, as for any visitor but the first."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if chromium is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"{url}/connect")
            page.goto(f"{url}/map", wait_until="domcontentloaded")
            page.wait_for_selector("#map[data-painted-ms]", timeout=_TIMEOUT_MS)
            return _measured(page)
        finally:
            browser.close()


def _measured(page: Any) -> Shown:
    frame = page.locator("#map")
    content_ms = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    box = page.locator("#map canvas").bounding_box()
    begun = time.perf_counter()
    for step in range(0, 200, 8):
        begun = time.perf_counter()
        page.mouse.move(box["x"] + box["width"] / 2 + step, box["y"] + box["height"] / 2)
        if page.evaluate("document.querySelector('#map').dataset.looked"):
            break
    page.wait_for_selector("#map-said p:not(:empty)", timeout=_TIMEOUT_MS)
    said_ms = (time.perf_counter() - begun) * 1000
    return Shown(
        points=int(frame.get_attribute("data-count")),
        content_ms=content_ms,
        painted_ms=float(frame.get_attribute("data-painted-ms")),
        said_ms=said_ms,
        frame_ms=page.evaluate(_DRAGGED, FRAMES),
    )
