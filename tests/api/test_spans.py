"""With the OpenTelemetry SDK set up, a request, the work that it causes and the calls to models are one trace, whichever
process does the work; without the SDK nothing is recorded. Each in a process of its own: a provider is set once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.redis_server import running_redis

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID = PARENT.split("-")[1]

_SET_UP = """
import asyncio, json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)

from datetime import timedelta
from pathlib import Path
from agent_memory_server.app import utc_now
from agent_memory_server.testing.model_server import UNAUTHORIZED, ModelServer
from agent_memory_server.testing.running import running_app

PARENT = sys.argv[1]
FIELDS = {"data_dir": Path(sys.argv[2]), **json.loads(sys.argv[3]), "background": False}
BODY = {"messages": [{"role": "user", "content": "secret", "id": "m"}], "user_id": "secret"}

def tell():
    for span in kept.get_finished_spans():
        assert "secret" not in span.to_json(), span.to_json()
        if span.instrumentation_scope.name == "agent_memory_server":
            print(json.dumps({
                "name": span.name, "trace": format(span.context.trace_id, "032x"), "kind": span.kind.name,
                "span": format(span.context.span_id, "016x"), "status": span.status.status_code.name,
                "parent": None if span.parent is None else format(span.parent.span_id, "016x"),
                "attributes": dict(span.attributes),
            }))
"""

_ASKS = """
async def main():
    async with running_app(**FIELDS, openai_api_key="k", generation_model="model") as running:
        client = running.client
        await client.get("/v1/long-term-memory/secret")
        answer = await client.post("/v1/working-memory/secret/messages", json=BODY, headers={"traceparent": PARENT})
        assert answer.headers["x-request-id"] == PARENT.split("-")[1]
        print(json.dumps({"answered": answer.headers["traceparent"]}))

asyncio.run(main())
tell()
"""

_WORKS = """
def answer(asked):
    memory = {"type": "semantic", "text": "Somebody said a word.", "topics": [], "entities": [], "event_date": None,
              "message_ids": ["m"], "sources": [1], "messages": [1]}
    return {"memories": [memory]} if asked.schema else None

async def main():
    later = utc_now() + timedelta(hours=1)
    async with ModelServer() as models:
        models.chat.say_with(answer)
        fields = {**FIELDS, "openai_api_base": models.base_url, "openai_api_key": "k", "generation_model": "model"}
        async with running_app(**fields, now=lambda: later) as running:
            while await running.app.pending_work.run_due():
                pass

asyncio.run(main())
tell()
"""


def _run(program: str, folder: Path, engine: dict[str, str]) -> list[dict[str, Any]]:
    ran = subprocess.run(
        [sys.executable, "-c", _SET_UP + program, PARENT, str(folder), json.dumps(engine)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("engine", ["sqlite", "redis"])
def test_a_request_its_work_and_its_model_calls_are_one_trace(tmp_path: Path, engine: str) -> None:
    """The worker is another process that begins when the first has ended: the trace came with the stored work. A caller's
    trace is continued, a request without one begins its own; ids, users and texts are in no span."""
    if engine == "redis":
        with running_redis(tmp_path) as redis:
            fields = {"redis_url": redis.url}
            told, worked = _run(_ASKS, tmp_path, fields), _run(_WORKS, tmp_path, fields)
    else:
        told, worked = _run(_ASKS, tmp_path, {}), _run(_WORKS, tmp_path, {})
    answered, alone, request = told
    assert (request["trace"], request["parent"]) == (TRACE_ID, PARENT.split("-")[2])
    assert answered["answered"] == f"00-{TRACE_ID}-{request['span']}-01"
    assert request["name"] == "POST /v1/working-memory/{session_id}/messages"
    assert (alone["trace"] != TRACE_ID, alone["parent"], alone["attributes"]["http.response.status_code"]) == (
        True,
        None,
        404,
    )
    extraction = next(each for each in worked if each["name"] == "run_delayed_extraction")
    call = next(each for each in worked if each["name"] == "model call")
    assert (extraction["trace"], extraction["parent"]) == (TRACE_ID, request["span"])
    assert (call["parent"], call["kind"], call["attributes"]["model"]) == (extraction["span"], "CLIENT", "model")
    assert extraction["status"] == "UNSET"


_CALLS_A_TOOL = """
from agent_memory_server.domain.traceparent import current_traceparent, trace_id_of
from tests.mcp.conversing import conversing

async def main():
    async with running_app(**FIELDS, openai_api_key="k", generation_model="model") as running:
        async with conversing(running.app, tools="admin") as tools:
            await tools.done("append_working_memory", session_id="secret", **BODY)

asyncio.run(main())
called = [each for each in kept.get_finished_spans() if each.name == "tools/call append_working_memory"]
print(json.dumps({"name": "tool", "kinds": sorted(each.kind.name for each in called),
                  "traces": [format(each.context.trace_id, "032x") for each in called]}))
tell()
"""


def test_a_tool_call_and_its_work_are_one_trace(tmp_path: Path) -> None:
    """Without a web server around it, as over stdio: the span that the MCP library begins is what the work goes on with."""
    (tool,) = (each for each in _run(_CALLS_A_TOOL, tmp_path, {}) if each["name"] == "tool")
    assert "SERVER" in tool["kinds"]
    worked = _run(_WORKS, tmp_path, {})
    extraction = next(each for each in worked if each["name"] == "run_delayed_extraction")
    assert {extraction["trace"]} == set(tool["traces"])


def test_work_that_fails_is_an_error_in_its_trace(tmp_path: Path) -> None:
    """Under the name of the failure's class: what it says may quote somebody."""
    _run(_ASKS, tmp_path, {})
    worked = _run(_WORKS.replace("models.chat.say_with(answer)", "models.fail(UNAUTHORIZED)"), tmp_path, {})
    extraction = next(each for each in worked if each["name"] == "run_delayed_extraction")
    assert (extraction["trace"], extraction["status"]) == (TRACE_ID, "ERROR")
    assert extraction["attributes"]["error.type"]
