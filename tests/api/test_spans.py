"""With the OpenTelemetry SDK set up, requests and background work are spans; without it nothing is recorded."""

from __future__ import annotations

import subprocess
import sys

_PROGRAM = """
import asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

kept = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)

from agent_memory_server.testing.running import running_app

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

async def main():
    async with running_app(background=False) as running:
        await running.client.get("/v1/long-term-memory/secret", headers={"traceparent": PARENT})
        body = {"messages": [{"role": "user", "content": "secret", "id": "m"}], "user_id": "secret"}
        await running.client.post("/v1/working-memory/secret/messages", json=body)
        await running.app.pending_work.run_due()

asyncio.run(main())
spans = [span for span in kept.get_finished_spans() if span.instrumentation_scope.name == "agent_memory_server"]
request = next(span for span in spans if span.name == "request")
assert format(request.context.trace_id, "032x") == "4bf92f3577b34da6a3ce929d0e0e4736"
assert request.attributes["http.route"] == "/v1/long-term-memory/{memory_id}"
assert any(span.name == "promote_working_memory_to_long_term" for span in spans)
assert "secret" not in "".join(span.to_json() for span in spans)
print("spans:", len(spans))
"""


def test_requests_and_work_are_spans_that_name_nobody() -> None:
    """A caller's trace is continued; ids, users and texts are in no span. In a process of its own: a provider is set once."""
    ran = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "spans:" in ran.stdout
