"""Whether a Redis will do, before anything is written to it: reached, let in, the right kind, new enough, and able to keep data.

Every refusal is a ConfigurationError whose sentence says what to change.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from redis import exceptions
from redis.asyncio.sentinel import MasterNotFoundError

from agent_memory_server.errors import ConfigurationError
from agent_memory_server.redis_addresses import Topology
from agent_memory_server.stores.redis.connections import Link

START_LIMIT_S = 10.0
"""How long a Redis that is starting, loading its data or changing its master is waited for."""
VERSION_MIN = (7, 4)


async def await_suitable(link: Link) -> None:
    """Wait until it answers, then look at what it is. Raises ConfigurationError."""
    place = link.address.describe()
    await _reached(link, place)
    if link.address.database != 0:
        raise ConfigurationError(f"Redis can search database 0 alone, and {place} names another: write /0.")
    try:
        info: dict[str, Any] = {}
        for section in ("server", "memory", "persistence"):
            info |= await link.raw("INFO", section)
        check_server(info, link.address.topology, place)
        await link.raw("FT._LIST")
    except exceptions.NoPermissionError as error:
        raise ConfigurationError(
            f"The Redis user may not run INFO and FT.* commands at {place}: allow them (docs/operations/redis.md has an ACL)."
        ) from error
    except exceptions.ResponseError as error:
        raise ConfigurationError(
            f"Redis at {place} has no query engine: use Redis 8, or Redis 7.4 with the search module (redis-stack-server)."
        ) from error
    except (exceptions.RedisError, OSError) as error:
        raise ConfigurationError(f"Redis at {place} stopped answering while it was checked.") from error
    _check_keeping(info, place, strict=link.strict)


async def _reached(link: Link, place: str) -> None:
    """Wait for a Redis that is starting; say what is wrong with one that will not do."""
    until = time.monotonic() + START_LIMIT_S
    while True:
        try:
            await link.raw("PING")
            role = (await link.raw("ROLE"))[0]
            if role in (b"master", "master"):
                return
            if role in (b"sentinel", "sentinel"):
                raise ConfigurationError(
                    f"What answers at {place} is a Sentinel: write redis+sentinel://host:26379/service/0."
                )
            problem = ConfigurationError(
                f"Redis at {place} is a read-only replica: name the master, or let Sentinels name it "
                "(redis+sentinel://host:26379/service/0)."
            )
            if link.address.topology is Topology.SINGLE:
                raise problem
        except (exceptions.RedisError, OSError) as wrapped:
            error = _inner(wrapped)
            refused = _refusal(error, link, place)
            if refused is not None:
                raise refused from error
            problem = _unreachable(error, link, place)
            problem.__cause__ = error
        if time.monotonic() > until:
            raise problem
        await asyncio.sleep(0.2)


def _inner(error: BaseException) -> BaseException:
    """What went wrong first: the client wraps whatever happens while it connects."""
    while isinstance(error.__cause__, exceptions.RedisError | OSError):
        error = error.__cause__
    return error


def _refusal(error: BaseException, link: Link, place: str) -> ConfigurationError | None:
    """What waiting does not mend."""
    said = str(error).lower()
    sentence = None
    if isinstance(error, exceptions.AuthenticationError) or any(
        part in said for part in ("wrongpass", "noauth", "invalid username-password")
    ):
        sentence = (
            f"Redis at {place} refuses the user name or password of REDIS_URL: correct them "
            "(redis://user:password@host:port/0)."
        )
    elif isinstance(error, exceptions.NoPermissionError):
        sentence = (
            f"The Redis user may not run PING and ROLE at {place}: allow them (docs/operations/redis.md has an ACL)."
        )
    elif "certificate" in said or "hostname mismatch" in said or "ip address mismatch" in said:
        sentence = (
            f"The certificate of Redis at {place} is not trusted: add ?ssl_ca_certs=/path/to/ca.pem to the URL, "
            "and name the host as the certificate does."
        )
    elif "wrong_version_number" in said or "wrong version number" in said or "record layer failure" in said:
        sentence = f"What answers at {place} does not speak TLS: write redis:// in place of rediss://."
    elif isinstance(error, exceptions.InvalidResponse) or "protocol error" in said or "invalid response" in said:
        sentence = (
            f"What answers at {place} is not a Redis: check host and port"
            f"{'' if link.address.tls else ' (rediss:// where it wants TLS)'}."
        )
    elif "cluster support disabled" in said:
        sentence = f"Redis at {place} is no cluster: write redis:// in place of redis+cluster://."
    elif isinstance(error, exceptions.MovedError):
        sentence = f"Redis at {place} is part of a cluster: write redis+cluster:// in place of redis://."
    elif "db index" in said or "out of range" in said:
        sentence = f"Redis at {place} has no such database: use /0, the only one that can be searched."
    elif isinstance(error, exceptions.ResponseError) and "unknown command" in said:
        sentence = (
            f"What answers at {place} does not know the commands of a Redis that is meant so ({error}); "
            "Sentinels are named by redis+sentinel://."
        )
    return None if sentence is None else ConfigurationError(sentence)


def _unreachable(error: BaseException, link: Link, place: str) -> ConfigurationError:
    if isinstance(error, MasterNotFoundError):
        return ConfigurationError(
            f"No Sentinel at {place} answers and knows a running master of the service {link.address.service!r}: check their "
            "addresses, the name of the service (SENTINEL MASTERS lists them) and sentinel_password."
        )
    if isinstance(error, exceptions.ClusterDownError):
        return ConfigurationError(
            f"The cluster at {place} is not in service (CLUSTER INFO says more): every slot needs a node that is up."
        )
    if isinstance(error, exceptions.ReadOnlyError):
        return ConfigurationError(f"Redis at {place} is a read-only replica: name the master.")
    return ConfigurationError(
        f"Redis at {place} cannot be reached ({type(error).__name__}): check that it runs, host and port, and "
        f"{'that it speaks TLS there (redis:// where not)' if link.address.tls else 'whether it wants TLS (rediss://)'}."
    )


def check_server(info: Mapping[str, Any], topology: Topology, place: str) -> None:
    """By what it says of itself (INFO): new enough, and reached as what it is. Raises ConfigurationError."""
    version = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2] if part.isdigit())
    if version < VERSION_MIN:
        raise ConfigurationError(
            f"Redis at {place} is {'.'.join(map(str, version))}: version {'.'.join(map(str, VERSION_MIN))} or newer is needed."
        )
    if info.get("redis_mode") == "cluster" and topology is Topology.SINGLE:
        raise ConfigurationError(
            f"Redis at {place} is part of a cluster: write redis+cluster:// in place of redis://, or add ?cluster=true."
        )


def _check_keeping(info: Mapping[str, Any], place: str, *, strict: bool) -> None:
    """Settings with which a start would be the beginning of a loss; changed later, readiness says the same."""
    problem = evicting(info) or (unlogged(info) if strict else "")
    if problem:
        raise ConfigurationError(f"Redis at {place}: {problem}.")


def evicting(info: Mapping[str, Any]) -> str:
    """What is wrong where Redis would forget memories on its own when it is full. We set no expiry on keys, so volatile-* is as
    good as noeviction."""
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if int(info.get("maxmemory", 0)) and policy.startswith("allkeys-"):
        return (
            f"maxmemory-policy is {policy}: Redis would silently forget memories; run "
            "CONFIG SET maxmemory-policy noeviction (and keep it in redis.conf)"
        )
    return ""


def unlogged(info: Mapping[str, Any]) -> str:
    """What is wrong where a write cannot be confirmed from the disk."""
    if int(info.get("aof_enabled", 0)) == 1:
        return ""
    return "DURABILITY=strict needs the append-only file: run CONFIG SET appendonly yes (and keep it in redis.conf)"
