"""Calling webhooks, with the standard library: the address that was checked is the address that is called.

A name is looked up, every address that it has must be public, and the connection goes to one of these and to no other; so a
name that changes its meaning between the check and the call (DNS rebinding) leads nowhere. The certificate is checked against
the name. Redirects are not followed, and an answer's body is not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from agent_memory_server.domain.webhooks import is_public
from agent_memory_server.errors import DependencyUnavailable, InvalidInput

TIMEOUT_S = 10.0
"""Of finding the name, of the connection, and of each wait for an answer."""
ANSWER_S = 20.0
"""Of the whole call: a receiver that sends a byte now and then must not keep a thread."""
_PORTS = {"http": 80, "https": 443}


class HttpWebhookSender:
    """``ports.webhooks.WebhookSender``."""

    def __init__(self, *, allow_private: bool, answer_s: float = ANSWER_S) -> None:
        self._allow_private = allow_private
        self._answer_s = answer_s

    async def check(self, url: str, /) -> None:
        parts = _parts(url)
        try:
            addresses = await self._resolved(parts)
        except (OSError, UnicodeError):  # the latter: parts of a name that are empty or too long
            raise _refused(f"the name {parts.hostname} cannot be found") from None
        if not self._may_call(addresses):
            raise _refused(
                f"{parts.hostname} is of this machine or network, which webhooks may not call "
                "(WEBHOOK_ALLOW_PRIVATE_ADDRESSES=true allows it)"
            )

    async def post(self, url: str, /, *, body: bytes, headers: Mapping[str, str]) -> int:
        parts = _parts(url)
        try:
            addresses = await self._resolved(parts)
            if not self._may_call(addresses):
                raise DependencyUnavailable("its name leads to an address of this machine or network by now")
            connection = _PinnedConnection(parts, addresses[0])
            try:
                async with asyncio.timeout(self._answer_s):
                    return await asyncio.to_thread(_post, connection, parts, body, headers)
            finally:
                connection.abort()
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise DependencyUnavailable(f"no answer: {type(error).__name__}") from error

    async def _resolved(self, parts: SplitResult) -> list[str]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_S):
            found = await loop.getaddrinfo(parts.hostname, _port(parts), type=socket.SOCK_STREAM)
        return [str(address[0]) for *_, address in found]

    def _may_call(self, addresses: list[str]) -> bool:
        return bool(addresses) and (self._allow_private or all(is_public(each) for each in addresses))


def _refused(reason: str) -> InvalidInput:
    return InvalidInput(f"this URL will not be called: {reason}", field=("body", "url"))


def _parts(url: str) -> SplitResult:
    """Raises InvalidInput for what is no plain web address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _refused(str(error)) from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise _refused("it must look like https://example.com/path")
    if parts.username is not None or parts.password is not None:
        raise _refused("it must not hold a user or password; check the signature instead")
    if not url.isascii():
        raise _refused("write other alphabets as xn-- in the name and with % in the path")
    if port == 0 or any(character <= " " or character == "\x7f" for character in url):
        raise _refused("it holds a port or characters that no web address has")
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or _PORTS[parts.scheme]


class _PinnedConnection(http.client.HTTPSConnection):
    """To one address, under a name."""

    def __init__(self, parts: SplitResult, address: str) -> None:
        super().__init__(str(parts.hostname), _port(parts), timeout=TIMEOUT_S)
        self._address = address
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    def connect(self) -> None:
        connected = socket.create_connection((self._address, self.port), timeout=TIMEOUT_S)
        if self._tls is None:
            self.sock = connected
            return
        # Known before the handshake, so that ``abort`` reaches one that drags on.
        self.sock = encrypted = self._tls.wrap_socket(
            connected, server_hostname=self.host, do_handshake_on_connect=False
        )
        encrypted.do_handshake()

    def abort(self) -> None:
        """End what another thread still waits for; nothing where the call is over."""
        held: socket.socket | None = self.sock
        if held is not None:
            with contextlib.suppress(OSError):
                # As a plain socket: ending TLS first would wait for the other side.
                socket.socket.shutdown(held, socket.SHUT_RDWR)


def _post(connection: _PinnedConnection, parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> int:
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body=body, headers=dict(headers))
        return connection.getresponse().status
    finally:
        connection.close()
