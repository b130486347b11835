"""MCP over HTTP by hand: one message a request, as a client of the handshake era sends it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx

ACCEPTED = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
PROTOCOL = "2025-11-25"


def message(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def tool_call(tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return message("tools/call", name=tool, arguments=dict(arguments))


def headers(extra: Mapping[str, str] | None = None, *, protocol: str = PROTOCOL) -> dict[str, str]:
    return {**ACCEPTED, "mcp-protocol-version": protocol, **(extra or {})}


def answer_in(response: httpx.Response) -> dict[str, Any]:
    """The protocol's message in an answer, which comes as JSON or as an event."""
    if response.headers["content-type"].startswith("application/json"):
        return response.json()
    (data,) = (line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: "))
    return json.loads(data)


def result_in(response: httpx.Response) -> dict[str, Any]:
    """The structured result of a tool that has to succeed."""
    assert response.status_code == 200, response.text
    result = answer_in(response)["result"]
    assert not result["isError"], result
    return result["structuredContent"]
