"""``ports.imported_hashes`` by bcrypt, as the reference server hashed its tokens. Loaded when a token is first tried."""

from __future__ import annotations

_USED_BYTES = 72
"""Of a token: bcrypt looks at no more, and newer versions of the package refuse more."""


class BcryptHashes:
    def matches(self, token: str, imported_hash: str, /) -> bool:
        """Takes a quarter of a second of one processor. False for a hash that is none."""
        import bcrypt

        try:
            return bcrypt.checkpw(token.encode()[:_USED_BYTES], imported_hash.encode())
        except ValueError:
            return False
