"""A third party's engine, named by MEMORY_VECTOR_DB_FACTORY: it passes the contract suite, serves, and its faults are said."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from agent_memory_server.config import Settings
from agent_memory_server.errors import ConfigurationError
from agent_memory_server.migrations import migrate
from agent_memory_server.ports.stores import Stores
from agent_memory_server.stores.own_engine import BUILT_IN, is_own, open_own_engine
from tests.contract.stores.background_stores import EngineContract, OutboxContract
from tests.contract.stores.making import T0
from tests.server_process import ServerProcess

OPEN = "tests.stores.small_engine.open_engine"


@pytest.fixture
async def stores(tmp_path: Path) -> AsyncIterator[Stores]:
    """An empty store of the small engine."""
    opened = await open_own_engine(OPEN, f"small://{tmp_path}", now=lambda: T0)
    yield opened
    await opened.engine.close()


class TestEngine(EngineContract):
    pass


class TestOutbox(OutboxContract):
    pass


def test_a_server_runs_on_it(tmp_path: Path) -> None:
    """The banner and readiness are the engine's; what is stored survives kill -9 and is found."""
    environment = {
        "MEMORY_VECTOR_DB_FACTORY": OPEN,
        "STORAGE_URL": f"small://{tmp_path}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    with ServerProcess(tmp_path / "data", environment=environment, from_nothing=True) as server:
        with httpx.Client(base_url=server.url, timeout=10) as client:
            body = {"memories": [{"id": "m1", "text": "Ana likes green tea"}]}
            client.post("/v1/long-term-memory/", json=body).raise_for_status()
            assert client.get("/v1/ready").json()["checks"]["small"] == {"ok": True, "detail": "small enough"}
        assert f"a small engine at {tmp_path}" in server.log
        server.kill()
        server.start()
        with httpx.Client(base_url=server.url, timeout=10) as client:
            found = client.post("/v1/long-term-memory/search", json={"text": "green tea"}).raise_for_status().json()
            assert [each["id"] for each in found["memories"]] == ["m1"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("open_engine", "no dotted path: write package.module.function"),
        ("tests.stores.nowhere.open_engine", "cannot be imported"),
        ("tests.stores.small_engine.close_engine", "has no function 'close_engine'"),
        ("tests.stores.small_engine.create_vector_database", "The reference server called it with its embeddings"),
        (
            "tests.stores.small_engine.open_something_else",
            "must return agent_memory_server.ports.stores.Stores, got dict",
        ),
        ("tests.stores.small_engine.open_and_fail", "failed: LookupError: no small:///x at 2026"),
    ],
)
async def test_what_cannot_be_used_says_why(path: str, said: str) -> None:
    """Each fault of the name or the function is a sentence at start."""
    with pytest.raises(ConfigurationError) as refused:
        await open_own_engine(path, "small:///x", now=lambda: T0)
    assert said in str(refused.value)


async def test_the_engines_own_refusals_come_through() -> None:
    """What it raises on purpose is not wrapped."""
    with pytest.raises(ConfigurationError, match=r"^STORAGE_URL of the small engine"):
        await open_own_engine(OPEN, None, now=lambda: T0)


async def test_the_reference_servers_default_means_the_built_in_engines() -> None:
    """Deployments that set it to what it was anyway go on; a migration of another engine is not guessed."""
    assert not is_own(BUILT_IN)
    assert Settings().memory_vector_db_factory == BUILT_IN
    with pytest.raises(ConfigurationError, match="brings its data up to date itself"):
        await migrate(Settings(memory_vector_db_factory=OPEN))
