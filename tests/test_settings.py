"""Every setting is read, and changing it changes behaviour: one proof a field, by running what an operator runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agent_memory_server.config import WITHOUT_EFFECT, Settings
from tests.server_process import ServerProcess
from tests.setting_proofs import authentication, background, language, mcp, memory, models, serving, transfers, upkeep

pytestmark = pytest.mark.long

Proof = Callable[[Path], Any]


def _proofs(*modules: ModuleType) -> Mapping[str, Proof]:
    return {
        name: function
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


PROOFS = _proofs(serving, authentication, memory, models, upkeep, background, language, mcp, transfers)


def test_every_setting_has_a_proof() -> None:
    """Neither a setting without a proof nor a proof of a setting that is gone."""
    assert set(PROOFS) == set(Settings.model_fields)


@pytest.mark.parametrize("name", sorted(PROOFS))
async def test_changing_a_setting_changes_behaviour(name: str, tmp_path: Path) -> None:
    """The proof of each field runs real code: an opened app, or a server process."""
    outcome = PROOFS[name](tmp_path)
    if outcome is not None:
        await outcome


def test_a_setting_is_either_read_or_named_as_without_effect() -> None:
    """What the server reads is not in the list of what it does not read."""
    read = {name.upper() for name in Settings.model_fields}
    assert not read & WITHOUT_EFFECT.keys()


def test_settings_without_effect_are_named_at_start(tmp_path: Path) -> None:
    """From the environment and from .env, each with the reason; values, which may be secrets, are not shown."""
    (tmp_path / ".env").write_text("auth0_client_secret=hush\nSLOW_MODEL=\n", encoding="utf-8")
    environment = {"REDISVL_DISTANCE_METRIC": "L2", "TOPIC_MODEL": "hush"}
    with ServerProcess(tmp_path / "data", environment=environment) as server:
        server.stop()
        named = [line for line in server.log.splitlines() if "this setting has no effect" in line]
    assert len(named) == 3
    for name in ("AUTH0_CLIENT_SECRET", "REDISVL_DISTANCE_METRIC", "TOPIC_MODEL"):
        assert any(f'"{name}"' in line for line in named)
    assert "hush" not in "".join(named)
