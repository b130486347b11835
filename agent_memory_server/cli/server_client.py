"""Talking to a running server from the command line, with the standard library alone.

What the server refuses, and a server that cannot be reached, become one sentence.
"""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agent_memory_server.errors import DependencyUnavailable, InvalidInput, MemoryServerError

if TYPE_CHECKING:
    from agent_memory_server.importers.conversations import FileMessage, Owner

TIMEOUT_S = 60.0


class ServerClient:
    def __init__(self, url: str) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise InvalidInput(f"{url} is not a server's address; it looks like http://127.0.0.1:8000")
        self._url = url.rstrip("/")

    async def append(self, session_id: str, messages: Sequence[FileMessage], owner: Owner) -> tuple[int, int]:
        body: dict[str, Any] = {"messages": [_wire(each) for each in messages]}
        body |= {"namespace": owner.namespace, "user_id": owner.user_id}
        path = f"/v1/working-memory/{urllib.parse.quote(session_id, safe='')}/messages"
        answer = await asyncio.to_thread(self._post, path, body)
        return int(answer["appended"]), int(answer["duplicates"])

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked in __init__
            self._url + path, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise MemoryServerError(f"the server answered {error.code}: {_detail(error.read())}") from error
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", None) or error
            raise DependencyUnavailable(f"no answer from {self._url}: {reason}") from error
        except ValueError as error:
            raise MemoryServerError(f"{self._url} does not answer like a memory server") from error


def _wire(message: FileMessage) -> dict[str, Any]:
    wire = {"id": message.id, "role": message.role, "content": message.content, "name": message.name}
    if message.created_at is not None:
        wire["created_at"] = message.created_at.isoformat()
    return wire


def _detail(body: bytes) -> str:
    """The sentence of a problem document, or of the first of its validation errors."""
    try:
        detail: Any = json.loads(body)["detail"]
        if isinstance(detail, str):
            return detail
        return f"{'.'.join(str(part) for part in detail[0]['loc'])}: {detail[0]['msg']}"
    except (ValueError, LookupError, TypeError):
        return body[:200].decode("utf-8", "replace")
