"""The settings in force, for people who run the server: what each is, and where it came from. Never a secret."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from dotenv import dotenv_values
from pydantic import SecretStr

from agent_memory_server.config import Settings


class SettingInForce(NamedTuple):
    """One setting as it is now. ``value`` may be shown to an administrator: secrets and passwords are not in it."""

    name: str
    value: str
    origin: str
    """default · environment · .env file · command line"""
    about: str


def settings_in_force(settings: Settings) -> tuple[SettingInForce, ...]:
    """Every setting with where it came from, by name."""
    in_file = {name.upper() for name, value in dotenv_values(".env").items() if value}
    in_environment = {name.upper() for name, value in os.environ.items() if value}
    found: list[SettingInForce] = []
    for name, spec in sorted(Settings.model_fields.items()):
        variable = name.upper()
        if name not in settings.model_fields_set:
            origin = "default"
        elif variable in in_environment:
            origin = "environment"
        else:
            origin = ".env file" if variable in in_file else "command line"
        found.append(SettingInForce(variable, _shown(getattr(settings, name)), origin, spec.description or ""))
    return tuple(found)


def _shown(value: object) -> str:
    """The value without what must not be seen: secrets, and the credentials of URLs."""
    if value is None:
        return "not set"
    if isinstance(value, SecretStr):
        return "set, hidden"
    if isinstance(value, bool):
        return str(value).lower()
    return _CREDENTIALS.sub(r"\1…@", str(value))


_CREDENTIALS = re.compile(r"(\w+://)[^/@\s]*@")
