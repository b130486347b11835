"""Counting language-model tokens, without the network."""

from __future__ import annotations

from typing import Protocol


class Tokenizer(Protocol):
    def count(self, text: str, /) -> int:
        """Tokens of the text, at least 1 for a text that is not empty; exact or an estimate, never an error."""
        ...
