"""What this process last saw of small values, so that a transaction can be decided without reading them first.

Nothing is believed: every value that a decision rests on goes along as a check, and a decision on an old one is made anew on
what is read. So remembering saves a round trip or costs one, and changes nothing else. Where other processes change the same
values all the time it would cost; then it is tried only now and then.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

ENTRIES_MAX = 20_000
BYTES_MAX = 16 * 1024 * 1024
VALUE_BYTES_MAX = 64 * 1024
"""Longer values are read each time."""
_ENTRY_BYTES = 200
_LUCK_WEIGHT = 0.05
_LUCK_MIN = 0.6
"""With less, an attempt that fails costs more than those that succeed save."""
_TRIED_EVERY = 20

Value = bytes | frozenset[str] | tuple[bytes, Any] | None
"""A document (None: absent), the members of a set, or what was made of a document: its bytes and the thing."""


class Remembered:
    """Values by key, those that were not used for longest let go first."""

    def __init__(self) -> None:
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()
        self._bytes = 0
        self._luck = 1.0
        self._asked = 0

    def is_worth_trying(self) -> bool:
        """Whether what is remembered was right lately, most of the time."""
        self._asked += 1
        return self._luck >= _LUCK_MIN or self._asked % _TRIED_EVERY == 0

    def was(self, right: bool) -> None:
        """How a decision on remembered values went."""
        self._luck += _LUCK_WEIGHT * (float(right) - self._luck)

    def has(self, key: str) -> bool:
        return key in self._values

    def get(self, key: str) -> Value:
        """The value of a key that is remembered."""
        self._values.move_to_end(key)
        return self._values[key][0]

    def keep(self, key: str, value: Value, *, size_bytes: int) -> None:
        self.forget(key)
        if size_bytes > VALUE_BYTES_MAX:
            return
        size = size_bytes + len(key) + _ENTRY_BYTES
        self._values[key] = (value, size)
        self._bytes += size
        while len(self._values) > ENTRIES_MAX or self._bytes > BYTES_MAX:
            _, (_, gone) = self._values.popitem(last=False)
            self._bytes -= gone

    def forget(self, key: str) -> None:
        _, size = self._values.pop(key, (None, 0))
        self._bytes -= size
