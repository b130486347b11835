"""Check 18: generated requests over our own OpenAPI document: no server error, no undocumented status, no other shape.

With authentication on: no operation works without a credential that its description asks for.
"""

# pyright: basic
# (schemathesis declares its generic classes without arguments)
from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
)

from tests.contract.scope_matrix.parties import Party, add_tokens
from tests.server_process import ServerProcess

pytestmark = pytest.mark.long

EXAMPLES_PER_OPERATION = 8
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
]
ENDLESS = {"/v1/events"}
"""Streams that go on until somebody leaves: tests/api/test_events.py knows when."""
EVERYTHING = Party("everything", "T1")


@schemathesis.serializer("application/x-ndjson")
def as_lines(_: Any, value: Any) -> bytes:
    """A body of lines, each of them JSON: a list is its lines, and anything else is one."""
    lines = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Generator[Any]:
    """Our document, from a server of its own: generated requests delete and forget what they like."""
    folder = tmp_path_factory.mktemp("schemathesis")
    add_tokens(folder, [EVERYTHING])
    with ServerProcess(folder / "data", environment={"AUTH_MODE": "token"}) as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json", headers=EVERYTHING.headers)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
def test_check_18_generated_requests_meet_only_documented_answers(
    schema: Any, subtests: pytest.Subtests, mode: GenerationMode
) -> None:
    """Every operation of the document, with bounded generated requests, valid and invalid, answers as documented."""
    found = [each.ok() for each in schema.get_all_operations()]
    # Paths with and without a last slash are one operation: once is enough.
    operations = {f"{each.method} {each.path.rstrip('/')}": each for each in found if each.path not in ENDLESS}.values()
    assert operations
    for operation in operations:

        @settings(
            max_examples=EXAMPLES_PER_OPERATION,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def generated(case: Any) -> None:
            case.call_and_validate(checks=CHECKS, headers=EVERYTHING.headers)

        with subtests.test(operation=operation.label):
            try:
                generated()
            except Unsatisfiable:  # nothing to get wrong: an operation without parameters or body
                assert mode is GenerationMode.NEGATIVE
