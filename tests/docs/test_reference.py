"""Every setting, command, endpoint and tool is documented: the generated pages are what the code says now."""

from __future__ import annotations

import pytest

from agent_memory_server.cli import cli
from agent_memory_server.config import Settings
from agent_memory_server.mcp.tools import TOOL_SETS
from docs.generate import PAGES, REFERENCE, openapi


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    """``make docs`` writes them."""
    written = (REFERENCE / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), f"docs/reference/{name} is out of date: run `make docs`"


def test_every_setting_command_endpoint_and_tool_stands_in_its_page() -> None:
    """The generator leaves nothing out, and every setting says what it means."""
    settings, commands, endpoints = (PAGES[name]() for name in ("settings.md", "cli.md", "api.md"))
    for name, field in Settings.model_fields.items():
        assert f"| `{name.upper()}` |" in settings
        assert field.description
    for name in cli.commands:
        assert f"## `agent-memory {name}`" in commands
    for path, operations in openapi()["paths"].items():
        for method in operations:
            assert f"## {method.upper()} `{path}`" in endpoints
    for tools in TOOL_SETS.values():
        for tool in tools:
            assert f"### `{tool.name}`" in PAGES["mcp-tools.md"]()
