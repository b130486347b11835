"""What every error answer has to look like: RFC 9457 with ``detail``, and nothing of the inside."""

from __future__ import annotations

import re
from typing import Any

import httpx

MEDIA_TYPE = "application/problem+json"
MEMBERS = {"type", "title", "status", "detail", "instance"}
INTERNALS = re.compile(
    r"Traceback|\bFile \"|site-packages|\.py\b|sqlite|apsw|SELECT |INSERT |UPDATE |DELETE FROM|no such (table|column)"
    r"|/tmp/|/home/|/root/|/usr/|memory\.db|0x[0-9a-f]{8,}",
    re.IGNORECASE,
)
"""Traces of code, SQL and paths that no client may see. What the client itself sent may be echoed: see ``sent``."""


def assert_problem(response: httpx.Response, *statuses: int, sent: str = "") -> dict[str, Any]:
    """The problem document of an error answer with one of the statuses (any 4xx or 5xx when none is given).

    ``sent`` is text of the request that the answer may quote; it is left out when looking for internals.
    """
    assert response.status_code >= 400, f"expected an error, got {response.status_code} {response.text[:300]}"
    if statuses:
        assert response.status_code in statuses, f"{response.status_code} {response.text[:500]}"
    assert response.headers["content-type"].split(";")[0] == MEDIA_TYPE, response.headers["content-type"]
    problem: dict[str, Any] = response.json()
    assert set(problem) >= MEMBERS, problem
    assert problem["status"] == response.status_code
    assert problem["detail"], problem
    seen = response.text.replace(sent, "") if sent else response.text
    found = INTERNALS.search(seen)
    assert found is None, f"the answer shows an internal: {found}: {response.text[:500]}"
    if response.status_code in (503, 504, 507):
        assert int(response.headers["retry-after"]) >= 1
    return problem
