"""Our OpenAPI document contains the reference server's: every path, parameter, request field and response field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_memory_server.api.openapi import document
from agent_memory_server.api.routes import OPERATIONS

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "contract" / "reference_openapi.json").read_text(encoding="utf-8")
)
OURS = document(OPERATIONS, title="t", version="0", description="d")

ERRORS_OF_ANOTHER_SHAPE = frozenset({"422"})
"""Theirs is FastAPI's, ours is problem+json with the same ``detail``."""


def operations() -> Iterator[tuple[str, str]]:
    for path, methods in REFERENCE["paths"].items():
        for method in methods:
            yield path, method


def fields(whole: dict[str, Any], schema: dict[str, Any], seen: frozenset[str] = frozenset()) -> set[str]:
    """The names of all fields that the schema can hold, as dotted paths through objects, lists and unions."""
    reference = schema.get("$ref")
    if reference is not None:
        name = reference.rsplit("/", 1)[-1]
        return set() if name in seen else fields(whole, whole["components"]["schemas"][name], seen | {name})
    found: set[str] = set()
    for name, each in schema.get("properties", {}).items():
        found.add(name)
        found.update(f"{name}.{inner}" for inner in fields(whole, each, seen))
    for union in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(union, ()):
            found |= fields(whole, each, seen)
    if "items" in schema:
        found |= fields(whole, schema["items"], seen)
    return found


def body_of(operation: dict[str, Any]) -> dict[str, Any]:
    return operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})


def answer_of(operation: dict[str, Any], status: str) -> dict[str, Any]:
    return operation["responses"][status].get("content", {}).get("application/json", {}).get("schema", {})


@pytest.mark.parametrize(("path", "method"), list(operations()))
def test_our_document_contains_the_references_operation(path: str, method: str) -> None:
    """Paths and methods, parameters by name and place, request fields, statuses and response fields."""
    theirs = REFERENCE["paths"][path][method]
    assert path in OURS["paths"], f"{path} is missing"
    assert method in OURS["paths"][path], f"{method} {path} is missing"
    ours = OURS["paths"][path][method]
    named = {(each["name"], each["in"]) for each in ours["parameters"]}
    assert {(each["name"], each["in"]) for each in theirs.get("parameters", ())} <= named
    assert without_mcp_content(fields(REFERENCE, body_of(theirs))) <= fields(OURS, body_of(ours))
    assert theirs["responses"].keys() <= ours["responses"].keys()
    for status in theirs["responses"].keys() - ERRORS_OF_ANOTHER_SHAPE:
        missing = without_mcp_content(fields(REFERENCE, answer_of(theirs, status))) - fields(
            OURS, answer_of(ours, status)
        )
        assert not missing, f"{method} {path} {status}: {sorted(missing)}"


def without_mcp_content(names: set[str]) -> set[str]:
    """Without the kinds of content that a prompt never holds: its messages are text (contract, section 1.12)."""
    kept = {"messages.content.type", "messages.content.text", "messages.content.annotations", "messages.content._meta"}
    return {name for name in names if not name.startswith("messages.content.") or name in kept}


def test_required_parameters_are_no_more_than_theirs() -> None:
    """A request that their document allows is allowed by ours."""
    for path, method in operations():
        theirs = {each["name"] for each in REFERENCE["paths"][path][method].get("parameters", ()) if each["required"]}
        ours = {each["name"] for each in OURS["paths"][path][method]["parameters"] if each["required"]}
        assert ours <= theirs, f"{method} {path}"


def test_operation_ids_are_unique_and_references_resolve() -> None:
    """The document can be used by generators of clients."""
    ids = [each["operationId"] for methods in OURS["paths"].values() for each in methods.values()]
    assert len(ids) == len(set(ids))
    text = json.dumps(OURS)
    for name in {part.split('"', 1)[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in OURS["components"]["schemas"]


def test_every_operation_documents_its_failures() -> None:
    """Each has a description, and every failure is problem+json."""
    for methods in OURS["paths"].values():
        for each in methods.values():
            assert each["description"]
            for status, response in each["responses"].items():
                if status != "200":
                    assert "application/problem+json" in response["content"]
