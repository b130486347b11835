"""One recipe for each operation of the live OpenAPI document: how a caller aims it at an id.

A new route without a recipe fails the matrix. MCP tools can be a second list of the same recipes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from tests.contract.scope_matrix.callers import Caller

Send = Callable[[httpx.Client, Caller, str], httpx.Response]
"""(connection, caller, id of the target) → answer. The id is a session's or a memory's, as the recipe says."""

QUERY = "canary"
"""The word that all stored texts of the matrix share: whoever searches for it may see only its own."""


@dataclass(frozen=True)
class Recipe:
    """``target``: what the id names, or None for operations over a whole scope. ``writes``: it may change something.

    ``undo`` removes what the operation may have made in the caller's own scope. ``permission``: what a credential has to
    allow; None: read, or write for what writes. ``shows_nothing``: its answer holds no word and no id of the caller's own.
    """

    send: Send
    target: str | None = None
    writes: bool = False
    undo: Send | None = None
    permission: str | None = None
    shows_nothing: bool = False
    names_its_user: bool = False
    """The user stands in the path, so a caller whose credential fills it in sees nothing through it."""

    @property
    def needs(self) -> str:
        return self.permission or ("write" if self.writes else "read")


def _request(
    method: str,
    path: str,
    *,
    query: Callable[[Caller, str], Mapping[str, Any]] | None = None,
    body: Callable[[Caller, str], Mapping[str, Any]] | None = None,
) -> Send:
    def send(client: httpx.Client, caller: Caller, target: str) -> httpx.Response:
        options: dict[str, Any] = {"json": body(caller, target)} if body else {}
        if query:
            options["params"] = query(caller, target)
        return client.request(method, path.format(id=quote(target, safe="")), headers=dict(caller.headers), **options)

    return send


def _quoted(part: str) -> str:
    """For a template of a path: percent-encoded, and without placeholders."""
    return quote(part, safe="")


_NOTHING_EXPORTED = b'{"kind":"export","format":"agent-memory-export","version":1}\n' + b'{"kind":"end","counts":{}}\n'


def _namespace(caller: Caller, _: str) -> Mapping[str, Any]:
    return {} if caller.namespace is None else {"namespace": caller.namespace}


def _scope(caller: Caller, _: str) -> Mapping[str, Any]:
    return caller.named


def _session_body(caller: Caller, _: str) -> Mapping[str, Any]:
    said = {"id": "m-new", "role": "user", "content": "overwritten", "created_at": "2024-05-01T10:00:00Z"}
    return {"messages": [said], **caller.named}


def _prompt_body(caller: Caller, target: str) -> Mapping[str, Any]:
    return {
        "query": QUERY,
        "session": {"session_id": target, **caller.named},
        "long_term_search": {**caller.filters, "limit": 100, "search_mode": "hybrid"},
    }


def _search_body(mode: str) -> Callable[[Caller, str], Mapping[str, Any]]:
    return lambda caller, _: {"text": QUERY, "search_mode": mode, "limit": 100, **caller.filters}


def _history(client: httpx.Client, caller: Caller, target: str) -> httpx.Response:
    """Who made and deleted a memory with this id in its own scope, as other recipes do, reads that: then nobody's is asked."""
    path, headers = f"/v1/long-term-memory/{quote(target, safe='')}/history", dict(caller.headers)
    response = client.get(path, params=dict(caller.named), headers=headers)
    if response.status_code == 200 and response.json()["memory"] is None:
        return client.get(path, params={**caller.named, "namespace": f"nobody-{target}"}, headers=headers)
    return response


def _then() -> str:
    return datetime.now(UTC).isoformat()


def _search_then(caller: Caller, target: str) -> Mapping[str, Any]:
    return {**_search_body("hybrid")(caller, target), "as_of": _then()}


def _explain_body(caller: Caller, target: str) -> Mapping[str, Any]:
    return {**_search_body("hybrid")(caller, target), "explain": True, "expect": [target]}


def _summary_of_ones_own(client: httpx.Client, caller: Caller, _: str) -> httpx.Response:
    """A view over the caller's scope, by filters and by groups, run for its one partition."""
    group = caller.named
    view = {"source": "long_term", "group_by": sorted(group), "filters": caller.filters}
    created = client.post("/v1/summary-views", json=view, headers=dict(caller.headers))
    assert created.status_code == 200, created.text
    path = f"/v1/summary-views/{created.json()['id']}"
    try:
        return client.post(f"{path}/partitions/run", json={"group": group}, headers=dict(caller.headers))
    finally:
        client.delete(path, headers=dict(caller.headers))


_delete_session = _request("DELETE", "/v1/working-memory/{id}", query=_scope)
_delete_memory = _request(
    "DELETE", "/v1/long-term-memory", query=lambda caller, target: {"memory_ids": target, **caller.named}
)

UNSCOPED = {("get", "/v1/health"), ("get", "/v1/ready")}
"""Operations that touch nobody's data."""

RECIPES: Mapping[tuple[str, str], Recipe] = {
    ("get", "/v1/working-memory"): Recipe(
        _request("GET", "/v1/working-memory/", query=lambda c, _: {"limit": 100, **c.named})
    ),
    ("get", "/v1/working-memory/{session_id}"): Recipe(
        _request("GET", "/v1/working-memory/{id}", query=_scope), target="session"
    ),
    ("get", "/v1/working-memory/{session_id}/messages"): Recipe(
        _request("GET", "/v1/working-memory/{id}/messages", query=_scope), target="session"
    ),
    ("put", "/v1/working-memory/{session_id}"): Recipe(
        _request("PUT", "/v1/working-memory/{id}", body=_session_body),
        target="session",
        writes=True,
        undo=_delete_session,
    ),
    ("post", "/v1/working-memory/{session_id}/messages"): Recipe(
        _request("POST", "/v1/working-memory/{id}/messages", body=_session_body),
        target="session",
        writes=True,
        undo=_delete_session,
    ),
    ("patch", "/v1/working-memory/{session_id}"): Recipe(
        _request("PATCH", "/v1/working-memory/{id}", body=lambda c, _: {"context": "overwritten", **c.named}),
        target="session",
        writes=True,
    ),
    ("delete", "/v1/working-memory/{session_id}"): Recipe(_delete_session, target="session", writes=True),
    ("post", "/v1/long-term-memory"): Recipe(
        _request(
            "POST",
            "/v1/long-term-memory/",
            body=lambda c, target: {
                "memories": [{"id": target, "text": "overwritten", **c.named}],
                "deduplicate": True,
            },
        ),
        target="memory",
        writes=True,
        undo=_delete_memory,
    ),
    ("get", "/v1/long-term-memory"): Recipe(
        _request("GET", "/v1/long-term-memory", query=lambda c, _: {"limit": 100, **c.named})
    ),
    ("post", "/v1/long-term-memory/search/explain"): Recipe(
        _request("POST", "/v1/long-term-memory/search/explain", body=_explain_body), target="memory"
    ),
    ("post", "/v1/long-term-memory/search"): Recipe(
        _request("POST", "/v1/long-term-memory/search", body=_search_body("hybrid"))
    ),
    ("delete", "/v1/long-term-memory"): Recipe(_delete_memory, target="memory", writes=True),
    ("get", "/v1/long-term-memory/{memory_id}"): Recipe(
        _request("GET", "/v1/long-term-memory/{id}", query=_scope), target="memory"
    ),
    ("patch", "/v1/long-term-memory/{memory_id}"): Recipe(
        _request("PATCH", "/v1/long-term-memory/{id}", query=_scope, body=lambda _c, _t: {"text": "overwritten"}),
        target="memory",
        writes=True,
    ),
    ("get", "/v1/long-term-memory/{memory_id}/history"): Recipe(_history, target="memory"),
    ("get", "/v1/operations"): Recipe(_request("GET", "/v1/operations", query=_scope)),
    ("get", "/v1/events"): Recipe(
        _request("GET", "/v1/events", query=lambda c, _: {"start": "beginning", "wait_seconds": 0, **c.named})
    ),
    ("post", "/v1/long-term-memory/forget"): Recipe(
        _request(
            "POST",
            "/v1/long-term-memory/forget",
            query=lambda c, _: {"dry_run": "true", **c.named},
            body=lambda _c, _t: {"policy": {"max_age_days": 0.0}},
        ),
        permission="admin",
    ),
    ("post", "/v1/long-term-memory/compact"): Recipe(
        _request("POST", "/v1/long-term-memory/compact", query=_scope), writes=True, permission="admin"
    ),
    ("post", "/v1/memory/prompt"): Recipe(_request("POST", "/v1/memory/prompt", body=_prompt_body), target="session"),
    ("post", "/v1/summary-views/{view_id}/partitions/run"): Recipe(_summary_of_ones_own),
    ("post", "/v1/long-term-memory/extract"): Recipe(
        _request("POST", "/v1/long-term-memory/extract", body=_session_body), writes=True
    ),
    # The user and the namespace that are named are the targets' owners, so a dry run tells whose are seen.
    ("post", "/v1/users/{user_id}/erase"): Recipe(
        lambda client, caller, _: _request(
            "POST", f"/v1/users/{_quoted(caller.user_id or 'nobody')}/erase", query=lambda _c, _t: {"dry_run": "true"}
        )(client, caller, ""),
        permission="admin",
        shows_nothing=True,
    ),
    ("post", "/v1/namespaces/{namespace}/erase"): Recipe(
        lambda client, caller, _: _request(
            "POST",
            f"/v1/namespaces/{_quoted(caller.namespace or 'none')}/erase",
            query=lambda _c, _t: {"dry_run": "true"},
        )(client, caller, ""),
        permission="admin",
        shows_nothing=True,
    ),
    ("post", "/v1/working-memory/{session_id}/erase"): Recipe(
        _request("POST", "/v1/working-memory/{id}/erase", query=_scope), target="session", writes=True
    ),
    ("post", "/v1/long-term-memory/{memory_id}/erase"): Recipe(
        _request("POST", "/v1/long-term-memory/{id}/erase", query=_scope), target="memory", writes=True
    ),
    ("get", "/v1/users/{user_id}/export"): Recipe(
        lambda client, caller, _: _request(
            "GET", f"/v1/users/{_quoted(caller.user_id or 'nobody')}/export", query=_namespace
        )(client, caller, ""),
        names_its_user=True,
    ),
    ("get", "/v1/export"): Recipe(_request("GET", "/v1/export", query=_scope)),
    # What an import may write is bound by its lines; tests of imports have those.
    ("post", "/v1/import"): Recipe(
        lambda client, caller, _: client.post(
            "/v1/import", params={"dry_run": "true"}, content=_NOTHING_EXPORTED, headers=dict(caller.headers)
        ),
        permission="admin",
        shows_nothing=True,
    ),
    ("post", "/v1/erasure-receipts/check"): Recipe(
        _request("POST", "/v1/erasure-receipts/check", body=lambda _c, _t: {"receipt_version": 1}), shows_nothing=True
    ),
    ("post", "/v1/refused-content/check"): Recipe(
        _request("POST", "/v1/refused-content/check", body=lambda _c, _t: {"text": "anything"}),
        permission="admin",
        shows_nothing=True,
    ),
    ("post", "/v1/refused-content/allow"): Recipe(
        _request("POST", "/v1/refused-content/allow", body=lambda _c, _t: {"text": "anything"}),
        permission="admin",
        shows_nothing=True,
    ),
    ("get", "/v1/pending"): Recipe(_request("GET", "/v1/pending", query=_scope), shows_nothing=True),
}
"""By (method, path) of the OpenAPI document, without a last slash: both forms lead to the same place."""


def _view_of_ones_own(client: httpx.Client, caller: Caller, _: str) -> httpx.Response:
    """Make a view and remove it again, so that listings stay as they were."""
    view = {"source": "long_term", "group_by": ["user_id"]}
    created = client.post("/v1/summary-views", json=view, headers=dict(caller.headers))
    if created.status_code == 200:
        client.delete(f"/v1/summary-views/{created.json()['id']}", headers=dict(caller.headers))
    return created


_VIEW = "/v1/summary-views/{id}"

CREDENTIAL_RECIPES: Mapping[tuple[str, str], Recipe] = {
    # Other recipes make memories with foreign ids in scopes of their own and remove them: that is a history too. Not of this one.
    ("get", "/v1/long-term-memory/{memory_id}/history"): Recipe(
        _request("GET", "/v1/long-term-memory/{id}/history"), target="kept"
    ),
    ("post", "/v1/summary-views"): Recipe(_view_of_ones_own, writes=True),
    ("get", "/v1/summary-views"): Recipe(_request("GET", "/v1/summary-views")),
    ("get", "/v1/summary-views/{view_id}"): Recipe(_request("GET", _VIEW), target="view"),
    ("delete", "/v1/summary-views/{view_id}"): Recipe(_request("DELETE", _VIEW), target="view", writes=True),
    ("post", "/v1/summary-views/{view_id}/partitions/run"): Recipe(
        _request("POST", f"{_VIEW}/partitions/run", body=lambda _c, _t: {"group": {"session_id": "s"}}),
        target="view",
        writes=True,
    ),
    ("get", "/v1/summary-views/{view_id}/partitions"): Recipe(_request("GET", f"{_VIEW}/partitions"), target="view"),
    ("post", "/v1/summary-views/{view_id}/run"): Recipe(
        _request("POST", f"{_VIEW}/run", body=lambda _c, _t: {}), target="view", writes=True
    ),
    ("get", "/v1/operations/{operation_id}"): Recipe(_request("GET", "/v1/operations/{id}"), target="operation"),
    ("post", "/v1/operations/{operation_id}/undo"): Recipe(
        _request("POST", "/v1/operations/{id}/undo"), target="operation", writes=True
    ),
    ("post", "/v1/webhooks"): Recipe(
        _request("POST", "/v1/webhooks", body=lambda _c, _t: {"url": "nonsense"}), writes=True, permission="admin"
    ),
    ("get", "/v1/webhooks"): Recipe(_request("GET", "/v1/webhooks"), permission="admin"),
    ("delete", "/v1/webhooks/{webhook_id}"): Recipe(
        _request("DELETE", "/v1/webhooks/{id}"), target="webhook", writes=True, permission="admin"
    ),
    ("get", "/v1/webhooks/{webhook_id}/deliveries"): Recipe(
        _request("GET", "/v1/webhooks/{id}/deliveries"), target="webhook", permission="admin", shows_nothing=True
    ),
    ("get", "/v1/tasks"): Recipe(_request("GET", "/v1/tasks", query=lambda _c, _t: {"limit": 100})),
    ("get", "/v1/tasks/{task_id}"): Recipe(_request("GET", "/v1/tasks/{id}"), target="task"),
    ("post", "/v1/tasks/{task_id}/replay"): Recipe(
        _request("POST", "/v1/tasks/{id}/replay"), target="task", writes=True, permission="admin"
    ),
}
"""Operations whose requests name no scope: it is the caller's binding. Only the matrix of credentials aims them at others'."""

MORE_READS: Mapping[str, Recipe] = {
    f"search {mode}": Recipe(_request("POST", "/v1/long-term-memory/search", body=_search_body(mode)))
    for mode in ("semantic", "keyword")
} | {
    "search as of then": Recipe(_request("POST", "/v1/long-term-memory/search", body=_search_then)),
    "list as of then": Recipe(
        _request("GET", "/v1/long-term-memory", query=lambda c, _: {"limit": 100, "as_of": _then(), **c.named})
    ),
}
"""The other forms of operations that have several."""

PERMISSIONS: Mapping[tuple[str, str], str] = {
    operation: recipe.needs for operation, recipe in {**RECIPES, **CREDENTIAL_RECIPES}.items()
}
"""What a credential has to allow for each operation."""
