"""Requests exactly as the JavaScript and Java clients send them, replayed in order against a real server.

Each file in ``recorded/`` is one conversation; ``{namespace}`` stands for the test's own namespace. ``expect`` holds the
status and, where it matters, keys, a subset of the answer (dotted paths reach into it), lengths, ids and a header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from tests.server_process import ServerProcess

RECORDED = Path(__file__).parent / "recorded"
HEADERS = {
    "javascript": {"User-Agent": "agent-memory-client-js/0.3.0", "X-Client-Version": "0.3.0", "X-API-Key": "anything"},
    "java": {"User-Agent": "agent-memory-client-java/0.2.0", "X-Client-Version": "0.2.0"},
}


def in_namespace(value: Any, namespace: str) -> Any:
    """The recorded value with the placeholder replaced everywhere."""
    return json.loads(json.dumps(value).replace("{namespace}", namespace))


def reach(answer: Any, path: str) -> Any:
    """The value at a dotted path; numbers index lists."""
    for part in path.split("."):
        answer = answer[int(part)] if part.isdigit() else answer[part]
    return answer


def check(response: httpx.Response, expected: dict[str, Any], why: str) -> None:
    assert response.status_code == expected["status"], f"{why}: {response.status_code} {response.text}"
    answer = response.json()
    for key in expected.get("keys", []):
        assert key in answer, why
    for path, value in expected.get("subset", {}).items():
        assert reach(answer, path) == value, f"{why}: {path} in {answer}"
    for path, length in expected.get("lengths", {}).items():
        assert len(reach(answer, path)) == length, f"{why}: {path} in {answer}"
    if "ids" in expected:
        hits = cast("list[dict[str, Any]]", answer[expected.get("list", "memories")])
        assert [hit["id"] for hit in hits] == expected["ids"], why
    if "header" in expected:
        assert expected["header"] in response.headers, why


@pytest.mark.parametrize("client_name", sorted(HEADERS))
def test_recorded_conversation(client_name: str, shared_server: ServerProcess, namespace: str) -> None:
    """Every request of the other two clients is answered as its client needs it."""
    steps = in_namespace(json.loads((RECORDED / f"{client_name}.json").read_text()), namespace)
    with shared_server.client() as http:
        for step in steps:
            options: dict[str, Any] = {"json": step["body"]} if "body" in step else {}
            response = http.request(
                step["method"], step["path"], params=step.get("query"), headers=HEADERS[client_name], **options
            )
            check(response, step["expect"], step["why"])
