"""``ports.imported_hashes`` by bcrypt, as the reference server hashed its tokens. Loaded when a token is first tried."""

from __future__ import annotations

import contextlib
import os
import sys
import threading

_USED_BYTES = 72
"""Of a token: bcrypt looks at no more, and newer versions of the package refuse more."""


_NICENESS = 10


class BcryptHashes:
    def prepare_thread(self) -> None:
        """Behind all that serves requests, where a thread can have a priority of its own (Linux)."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)

    def matches(self, token: str, imported_hash: str, /) -> bool:
        """Takes a quarter of a second of one processor. False for a hash that is none."""
        import bcrypt

        try:
            return bcrypt.checkpw(token.encode()[:_USED_BYTES], imported_hash.encode())
        except ValueError:
            return False
