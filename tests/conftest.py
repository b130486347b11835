"""Fixtures and reports that all tests share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

import certifi
import pytest
from hypothesis import HealthCheck, settings
from ulid import ULID

from tests.redis_server import RedisServer, running_redis
from tests.server_process import ServerProcess
from tests.system_tools import MISSING_PREFIX


@pytest.fixture(scope="session", autouse=True)
def one_authority(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """HTTP clients in this process trust one authority instead of 140: they speak to loopback without TLS, and each
    of the thousands that tests make would read them all, for 25 ms of processor."""
    end = "-----END CERTIFICATE-----\n"
    first, _, _ = Path(certifi.where()).read_text().partition(end)
    file = tmp_path_factory.mktemp("authority") / "one.pem"
    file.write_text(first[first.index("-----BEGIN") :] + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        yield


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Generator[ServerProcess]:
    """One real server process for all tests that keep to a namespace of their own and break nothing."""
    with ServerProcess(tmp_path_factory.mktemp("shared-server") / "data", from_nothing=True) as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test uses."""
    return f"test-{ULID()}"


@pytest.fixture(scope="session")
def strict_redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[RedisServer]:
    """A Redis that writes down what it acknowledges; what uses it empties it first."""
    with running_redis(
        tmp_path_factory.mktemp("strict-redis"), "--appendonly", "yes", "--appendfsync", "always"
    ) as server:
        yield server


@pytest.fixture(params=["sqlite", "redis"])
def store_settings(request: pytest.FixtureRequest) -> dict[str, str]:
    """What names an empty store of each engine, as environment variables; nothing for the embedded one."""
    if request.param == "sqlite":
        return {}
    server: RedisServer = request.getfixturevalue("strict_redis")
    server.empty()
    return {"STORAGE_URL": server.url, "DURABILITY": "strict"}


@pytest.fixture
def store_fields(store_settings: dict[str, str]) -> dict[str, Any]:
    """The same as fields of ``Settings``."""
    return {name.lower(): value for name, value in store_settings.items()}


def pytest_configure() -> None:
    """Examples are not judged by the clock: a machine may be busy, and what must be quick is measured where it is promised."""
    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that keep a worker busy for long are begun first: begun last, all others would wait for them."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly which tests were skipped because this machine lacks a program."""
    missing: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        found = re.search(rf"{re.escape(MISSING_PREFIX)}([\w.+-]+)", report.longreprtext)
        if found:
            missing[found[1]] += 1
    if missing:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(missing.items()))
        terminalreporter.write_line(
            f"!! {missing.total()} TESTS DID NOT RUN for lack of system tools: {listed}", red=True, bold=True
        )
