"""Forms of the console as a browser sends them."""

from __future__ import annotations

import re

import httpx


def form_token(page: httpx.Response) -> str:
    """The token that the page's forms carry."""
    found = re.search(r'name="form_token" value="(\w+)"', page.text)
    assert found is not None, page.text[:500]
    return found[1]


def changed(client: httpx.Client, path: str, form: dict[str, str], *, site: str = "same-origin") -> httpx.Response:
    """A form as a browser on one of our pages sends it."""
    token = form_token(client.get("/access"))
    return client.post(path, data={"form_token": token, **form}, headers={"Sec-Fetch-Site": site})
