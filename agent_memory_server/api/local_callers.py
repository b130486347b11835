"""Who may call an API that asks nobody for a credential: this machine, under its own names, and no page of another site.

A page in somebody's browser can send requests to this machine: as they are (a form needs no permission to post), and under a
name of its own that it lets point here (DNS rebinding), whose answers it then reads. So without authentication a request is
answered when its ``Host`` is a name of this machine and its ``Origin``, if it comes from a page, is one too.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.types import Scope

from agent_memory_server.errors import NotPermitted

_HINT = "; turn authentication on (AUTH_MODE), or set ALLOW_UNAUTHENTICATED=true if everybody may"


def check_local_caller(scope: Scope) -> None:
    """Raises NotPermitted unless the request was sent to a name of this machine, by a program or by a page of this machine."""
    for name, value in scope["headers"]:
        if name == b"host" and not is_local_authority(value.decode("latin-1")):
            raise NotPermitted(f"without authentication this server answers to names of this machine only{_HINT}")
        if name == b"origin" and not _is_local_origin(value.decode("latin-1")):
            raise NotPermitted(f"without authentication pages of other sites may not call this server{_HINT}")


def is_local_authority(authority: str) -> bool:
    """Whether a host, with or without a port, is a name that can only mean this machine."""
    try:
        name = urlsplit(f"//{authority}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_local_origin(origin: str) -> bool:
    scheme, _, authority = origin.partition("://")
    return scheme in ("http", "https") and is_local_authority(authority)
