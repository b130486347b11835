"""The OpenAPI document, made from the operations. It holds the reference server's: every path, parameter and field."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from agent_memory_server.api.operations import Operation
from agent_memory_server.api.schemas.problems import InputProblem, Problem
from agent_memory_server.domain.claims import SCOPE_PREFIX

REFERENCES = "#/components/schemas/{model}"
EVERYWHERE = (400, 422, 431, 500, 503, 504)
"""Statuses that any endpoint may answer with: a path that is none, a value that is none, a head (with its query) that is too
long, and a store that fails."""
WITH_BODY = (408, 413, 415)
WRITING = (507,)
WITH_CREDENTIAL = (401, 403, 429)
"""Where authentication is on: no valid credential, one without the permission, and more requests than its quota."""
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


def document(operations: Iterable[Operation], *, title: str, version: str, description: str) -> dict[str, Any]:
    """The whole document."""
    operations = tuple(operations)
    components = _components(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        for path, suffix in ((operation.path, ""), (operation.same_as, "_2")):
            if path is not None:
                paths.setdefault(path, {})[operation.method.lower()] = _described(operation, path, suffix, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": description},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "HTTPBearer": {"type": "http", "scheme": "bearer"},
                "APIKeyHeader": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _components(operations: Iterable[Operation]) -> dict[str, Any]:
    validated: dict[type[BaseModel], None] = {}
    answered: dict[type[BaseModel], None] = {Problem: None, InputProblem: None}
    for operation in operations:
        for model in (operation.body, operation.query):
            if model is not None:
                validated[model] = None
        answered[operation.answers] = None
    inputs: list[tuple[type[BaseModel], Any]] = [(model, "validation") for model in validated]
    outputs: list[tuple[type[BaseModel], Any]] = [(model, "serialization") for model in answered]
    _, schemas = models_json_schema([*inputs, *outputs], ref_template=REFERENCES)
    return dict(schemas["$defs"])


def _described(operation: Operation, path: str, suffix: str, components: Mapping[str, Any]) -> dict[str, Any]:
    text = inspect.getdoc(operation.handler) or ""
    described: dict[str, Any] = {
        "operationId": f"{operation.name}{suffix}",
        "summary": operation.name.replace("_", " ").capitalize(),
        "description": text,
        "tags": [path.split("/")[2]],
        "security": _security(operation),
        "parameters": _parameters(operation, path, components),
        "responses": _responses(operation),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": {"$ref": REFERENCES.format(model=operation.body.__name__)}}}
        described["requestBody"] = {"required": not operation.body_is_optional, "content": content}
    if operation.takes_lines:
        lines = {"schema": {"type": "string", "description": "One JSON object a line."}}
        described["requestBody"] = {"required": True, "content": {"application/x-ndjson": lines}}
    return described


def _security(operation: Operation) -> list[dict[str, Any]]:
    """Either credential will do; the role that it needs is named as OAuth2 scopes are. Nothing for what is open to all.

    Without authentication none is needed, and one that is sent is not looked at.
    """
    if operation.permission is None:
        return []
    roles = [f"{SCOPE_PREFIX}{operation.permission.value}"]
    return [{"HTTPBearer": roles}, {"APIKeyHeader": roles}]


def _parameters(operation: Operation, path: str, components: Mapping[str, Any]) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {
            "name": segment[1:-1],
            "in": "path",
            "required": True,
            "description": "Any text; percent-encode what a URL reserves, a slash as %2F.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 512},
        }
        for segment in path.split("/")
        if segment.startswith("{")
    ]
    if operation.query is not None:
        schema = components[operation.query.__name__]
        required = schema.get("required", ())
        parameters.extend(
            {"name": name, "in": "query", "required": name in required, "schema": each}
            for name, each in schema.get("properties", {}).items()
        )
    parameters.extend(
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": _HEADERS[name]}
        for name in operation.reads_headers
    )
    return parameters


_HEADERS = {
    "If-Match": "ETags in double quotes, or *: only if the record is still as one of them says (else 412).",
    "Last-Event-ID": "The id of the last event that was seen: go on behind it.",
    "If-None-Match": "Only *: the record must not exist yet (else 412).",
}


def _responses(operation: Operation) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": "Success",
        "content": {operation.media_type: {"schema": {"$ref": REFERENCES.format(model=operation.answers.__name__)}}},
    }
    if operation.returns_etag:
        success["headers"] = {
            "ETag": {"description": "Revision of the content, for If-Match.", "schema": {"type": "string"}}
        }
    statuses = {*EVERYWHERE, *operation.fails}
    if operation.body is not None or operation.takes_lines:
        statuses.update(WITH_BODY)
    if operation.permission is not None:
        statuses.update(WITH_CREDENTIAL)
    if operation.method in _WRITES:
        statuses.update(WRITING)
    responses: dict[str, Any] = {"200": success}
    for status in sorted(statuses):
        responses[str(status)] = _failure(status, operation)
    return responses


def _failure(status: int, operation: Operation) -> dict[str, Any]:
    model = InputProblem if status == HTTPStatus.UNPROCESSABLE_ENTITY else Problem
    content: dict[str, Any] = {
        "application/problem+json": {"schema": {"$ref": REFERENCES.format(model=model.__name__)}}
    }
    if status == HTTPStatus.SERVICE_UNAVAILABLE and operation.name == "ready":
        content["application/json"] = {"schema": {"$ref": REFERENCES.format(model=operation.answers.__name__)}}
    failure: dict[str, Any] = {"description": HTTPStatus(status).phrase, "content": content}
    if status in (401, 403):
        failure["headers"] = {
            "WWW-Authenticate": {"description": "What is wrong with the credential.", "schema": {"type": "string"}}
        }
    if status in (429, 503, 504, 507):
        failure["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return failure
