"""The benchmarks that ask a running server, on a small size; beside the others, so that a worker of its own runs them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.running import figures_of
from tests.redis_server import RedisServer

pytestmark = pytest.mark.long


@pytest.mark.skipif(not sys.platform.startswith(("linux", "darwin")), reason="the load generator uses uvloop")
@pytest.mark.parametrize("engine", ["sqlite", "redis"])
def test_serving_measures_every_scenario_without_an_error(tmp_path: Path, engine: str) -> None:
    """Every scenario of the serving benchmark gets answers, and only good ones, from a real server on either engine."""
    if engine == "redis":
        RedisServer(tmp_path)  # skips where there is none
    found = figures_of(tmp_path, "benchmarks.serving", "--quick", "--engine", engine)
    assert (found["engine_bytes_per_100k"] is not None) == (engine == "redis")
    assert {each["workload"] for each in found["scenarios"]} >= {"append", "create", "get", "search_hybrid", "prompt"}
    for each in found["scenarios"]:
        assert each["errors"] == 0, each["error_sample"]
    # A scenario has a quarter of a second, in which a busy machine may answer nothing.
    answered = {each["workload"] for each in found["scenarios"] if each["per_s"] > 0 and each["bare_per_s"] > 0}
    assert len(answered) > 3, answered
    assert found["big_session"]["errors"] == 0, found["big_session"]["error_sample"]


def test_auth_floods_a_server_that_goes_on_answering(tmp_path: Path) -> None:
    """A thousand tokens or fifty: each is looked up; wrong ones are refused, or told to wait, and never a server error."""
    found = figures_of(tmp_path, "benchmarks.auth", "--quick")
    assert all(each["p50_ms"] > 0 for each in found["costs"])
    for flood in found["floods"]:
        assert flood["health_p50_ms"] > 0
        assert set(flood["answers"]) <= {"401", "429", "503"}


def test_soak_ends_with_nothing_failed_and_nothing_pending(tmp_path: Path) -> None:
    """Every kind of request of the mixed load is answered well, and the background ends."""
    arguments = ("--minutes", "0.05", "--memories", "200", "--users", "10", "--rate", "60")
    found = figures_of(tmp_path, "benchmarks.soak", *arguments)
    assert set(found["kinds"]) == {"append", "search", "list", "create", "prompt", "get"}
    assert (found["errors"], found["fill_errors"]) == ({}, {})
    assert found["samples"][0]["server_bytes"] > 0


def test_mcp_measures_each_way_of_a_call(tmp_path: Path) -> None:
    """Service, tool and both protocols answer, and the command greets over stdio."""
    found = figures_of(tmp_path, "benchmarks.mcp", "--calls", "3", "--memories", "40", "--starts", "1")
    for ways in found["calls"].values():
        assert set(ways) == {"service", "tool", "http", "http, newest"}
        assert all(figures["wall_ms"] >= 0 for figures in ways.values())
    assert found["stdio_start_s"][0] > 0


@pytest.mark.parametrize("engine", ["sqlite", "redis"])
def test_console_asks_for_every_page(tmp_path: Path, engine: str) -> None:
    """Every page answers on either engine, also right after a write, and the map shows its points where there is a browser;
    the browser is asked once, because it sees the same page."""
    browser: tuple[str, ...] = ()
    if engine == "redis":
        RedisServer(tmp_path)  # skips where there is none
        browser = ("--no-browser",)
    found = figures_of(tmp_path, "benchmarks.console", "--quick", "--engine", engine, *browser)
    assert found["bare_ms"] > 0
    assert {each["title"] for each in found["pages"]} >= {
        "Overview",
        "Search, one user",
        "Memories",
        "Operations",
        "Map",
    }
    assert all(each["first_ms"] > 0 and each["after_write_ms"] > 0 for each in found["pages"])
    assert found["map"] is None or found["map"]["points"] >= 2_000
