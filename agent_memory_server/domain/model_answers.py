"""Reading JSON out of what a language model wrote. Pure; the only place that parses model text.

Providers with structured output answer pure JSON. Local models wrap it in prose and Markdown fences, or put it after their
thoughts: the last complete JSON object of the text is then the answer.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

_FENCE = re.compile(r"```(?:json|JSON)?\s*\n(.*?)```", re.DOTALL)
_THOUGHTS = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPENINGS_MAX = 200


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that the text is or contains. Raises ValueError with what is wrong when there is none."""
    stripped = text.strip()
    whole = _object(stripped)
    if whole is not None:
        return whole
    without_thoughts = _THOUGHTS.sub("", stripped)
    for fenced in reversed(_FENCE.findall(without_thoughts)):
        found = _object(fenced.strip())
        if found is not None:
            return found
    found = _last_embedded(without_thoughts)
    if found is None:
        raise ValueError("the answer holds no complete JSON object")
    return found


def _object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None  # pyright: ignore[reportUnknownVariableType]


def _last_embedded(text: str) -> dict[str, Any] | None:
    """The last outermost object: scanned from the left, so that an object inside another is never taken for the answer."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    found: dict[str, Any] | None = None
    position = text.find("{")
    for _ in range(_OPENINGS_MAX):
        if position < 0:
            break
        try:
            value: Any
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            # From where it broke off: the objects inside a cut one are not the answer.
            position = text.find("{", max(position + 1, error.pos))
            continue
        except (ValueError, RecursionError):
            position = text.find("{", position + 1)
            continue
        if isinstance(value, dict):
            found = cast(dict[str, Any], value)
        position = text.find("{", end)
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
