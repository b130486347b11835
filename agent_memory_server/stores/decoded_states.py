"""Earlier states are asked for again and again, and most of what it takes to read one is to decode its document."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_KEPT_MAX = 4_096
_KEPT_S = 60.0

Document = TypeVar("Document", bound=Hashable)
Decoded = TypeVar("Decoded")


class DecodedStates(Generic[Document, Decoded]):
    """What documents say, by the whole document, which names the tenant too: nobody can get another's, nor an older one.

    At most ``_KEPT_MAX``, and all let go after a minute, so that what somebody deletes for good does not live on here. May be
    used by several threads: at worst something is decoded twice.
    """

    def __init__(self, decode: Callable[[Document], Decoded]) -> None:
        self._decode = decode
        self._begun_at = float("-inf")
        self._kept: dict[Document, Decoded] = {}

    def decoded(self, document: Document) -> Decoded:
        """Raises what the decoder raises."""
        try:
            return self._kept[document]
        except KeyError:
            found = self._decode(document)
        if len(self._kept) >= _KEPT_MAX:
            self._kept.clear()
        self._kept[document] = found
        return found

    def has(self, document: Document) -> bool:
        """Whether it would be had at once."""
        return document in self._kept

    def renew(self) -> None:
        """To be called before each question."""
        now = time.monotonic()
        if now - self._begun_at > _KEPT_S:
            self._begun_at = now
            self._kept.clear()
