"""The URL by which Docket reaches the Redis that a setting of ours names.

Docket knows one server, Sentinels, and a cluster by one of its nodes: of several nodes that ours may name, the first that
answers is taken. What Docket cannot do at all is a ConfigurationError.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.redis_addresses import Address, Host, Topology, parse_address

_KNOCK_LIMIT_S = 1.0


async def docket_url(url: str, *, wait_s: float = 0.0) -> str:
    """For ``docket.Docket``. Waits so long for a node of a cluster; raises ConfigurationError when none answers."""
    address = parse_address(url)
    known = address.docket_url()
    if address.topology is not Topology.CLUSTER:
        return known
    return address.docket_url(await _answering(address, wait_s))


def checked_queue_url(url: str) -> str:
    """The URL, when Docket can use it. Raises ConfigurationError; connects to nothing."""
    parse_address(url).docket_url()
    return url


async def _answering(address: Address, wait_s: float) -> Host:
    until = time.monotonic() + wait_s
    while True:
        for host in address.hosts:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(_KNOCK_LIMIT_S):
                    _, writer = await asyncio.open_connection(*host)
                writer.close()
                return host
        if time.monotonic() >= until:
            raise ConfigurationError(
                f"No node of the queue's cluster at {address.describe()} can be reached: check that it runs, hosts and ports."
            )
        await asyncio.sleep(0.2)
