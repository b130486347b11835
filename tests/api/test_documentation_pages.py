"""The documentation pages work offline: what they load comes from this server."""

from __future__ import annotations

import re

import httpx
import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
async def test_a_page_loads_nothing_from_another_host(client: httpx.AsyncClient, page: str) -> None:
    """Every script, style and picture of the page is there, on this server."""
    answer = await client.get(page)
    assert answer.status_code == 200
    loaded = [url for url in re.findall(r'(?:src|href)="([^"]+)"', answer.text) if url != "#"]
    assert any(url.endswith(".js") for url in loaded), "the page loads no script at all"
    for url in loaded:
        assert url.startswith("/"), f"{page} loads {url}"
        assert (await client.get(url)).status_code == 200, f"{url} is not there"
