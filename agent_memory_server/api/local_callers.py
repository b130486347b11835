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
    host = ""
    for name, value in scope["headers"]:
        if name == b"host":
            host = value.decode("latin-1")
            if not is_local_authority(host):
                raise NotPermitted(f"without authentication this server answers to names of this machine only{_HINT}")
    for name, value in scope["headers"]:
        if name == b"origin" and not _may_call(value.decode("latin-1"), host):
            raise NotPermitted(f"without authentication pages of other sites may not call this server{_HINT}")


def is_local_authority(authority: str) -> bool:
    """Whether a host, with or without a port, is one that no other site can have made point here.

    An address is: a page under it came from that address, so nothing can be changed about where it leads.
    """
    try:
        name = _name_of(authority)
        return _is_this_machine(name) or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _may_call(origin: str, host: str) -> bool:
    """Whether a page of this origin may: it is this server's own, or another one of this machine."""
    scheme, _, authority = origin.partition("://")
    if scheme not in ("http", "https"):
        return False
    try:
        name = _name_of(authority)
        return (name != "" and authority == host) or _is_this_machine(name) or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name_of(authority: str) -> str:
    """Raises ValueError for what is no authority."""
    return (urlsplit(f"//{authority}").hostname or "").removesuffix(".")


def _is_this_machine(name: str) -> bool:
    """Names that browsers resolve to this machine without asking anybody."""
    return name == "localhost" or name.endswith(".localhost")
