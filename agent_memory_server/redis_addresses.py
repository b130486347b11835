"""What a Redis URL says: one server, a cluster or a service that Sentinels watch, with TLS, credentials and options.

The store and the queue read the same URLs. Nothing is connected here. Every ConfigurationError says what to write instead, and
neither it nor ``Address.describe`` ever shows a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode

from agent_memory_server.errors import ConfigurationError


class Topology(Enum):
    """How the one server that takes writes is found."""

    SINGLE = "single"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


SCHEMES: Mapping[str, tuple[Topology, bool]] = {
    "redis": (Topology.SINGLE, False),
    "rediss": (Topology.SINGLE, True),
    "redis+cluster": (Topology.CLUSTER, False),
    "rediss+cluster": (Topology.CLUSTER, True),
    "redis+sentinel": (Topology.SENTINEL, False),
    "rediss+sentinel": (Topology.SENTINEL, True),
}
"""(topology, with TLS) by scheme."""

FORMS = (
    "redis://user:password@host:6379/0, rediss://… with TLS, redis+cluster://host:port,host:port or "
    "redis+sentinel://host:26379,host:26379/service/0"
)
"""How addresses are written, for messages."""

_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_OPTIONS = (
    "cluster",
    "sentinel_username",
    "sentinel_password",
    "shared",
    *_FILES,
    "ssl_cert_reqs",
    "ssl_check_hostname",
    "ssl_password",
)
_YES = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_REQUIREMENTS = ("required", "optional", "none")
_PORT = 6379
_SENTINEL_PORT = 26379

Host = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A Redis URL, taken apart."""

    topology: Topology
    hosts: tuple[Host, ...]
    """The server; or the nodes, or the Sentinels, to ask first."""
    database: int = 0
    service: str = ""
    """The name under which Sentinels know the server."""
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls_options: Mapping[str, str | bool] = field(default_factory=dict[str, str | bool], repr=False)
    shared: bool = False
    """The operator says that another application's keys in the same database are all right."""

    def describe(self) -> str:
        """The address without credentials and options."""
        return f"{self._scheme()}://{self._hosts()}{self._path()}"

    def docket_url(self, host: Host | None = None) -> str:
        """The URL by which the queue's library reaches the same Redis; a cluster by ``host``, one of its nodes.

        Raises ConfigurationError for what that library cannot do.
        """
        if self.topology is Topology.CLUSTER and self.tls and self.tls_options:
            raise ConfigurationError(
                "The queue cannot use ssl_… options on a cluster: let the system trust the cluster's certificates "
                "(SSL_CERT_FILE=/path/to/ca.pem) and leave the options away, or keep the queue in another Redis by setting "
                "STORAGE_URL for the data and REDIS_URL for the queue."
            )
        named = ""
        if self.username is not None or self.password is not None:
            named = f"{quote(self.username or '', safe='')}:{quote(self.password or '', safe='')}@"
        hosts = self._hosts() if self.topology is not Topology.CLUSTER else _host_text(host or self.hosts[0])
        options: dict[str, str] = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in self.tls_options.items()
        }
        watchers = {"sentinel_username": self.sentinel_username, "sentinel_password": self.sentinel_password}
        options |= {name: value for name, value in watchers.items() if value is not None}
        path = "/0" if self.topology is Topology.CLUSTER else self._path()
        return f"{self._scheme()}://{named}{hosts}{path}{'?' + urlencode(options) if options else ''}"

    def _scheme(self) -> str:
        secured = "rediss" if self.tls else "redis"
        return secured if self.topology is Topology.SINGLE else f"{secured}+{self.topology.value}"

    def _hosts(self) -> str:
        return ",".join(_host_text(host) for host in self.hosts)

    def _path(self) -> str:
        if self.topology is Topology.CLUSTER:
            return ""
        return f"/{quote(self.service, safe='')}/{self.database}" if self.service else f"/{self.database}"


def names_redis(url: str) -> bool:
    """Whether this URL is about a Redis at all."""
    return url.partition("://")[0].lower() in SCHEMES


def without_credentials(url: str) -> str:
    """The URL as it may be shown."""
    scheme, separator, rest = url.partition("://")
    rest = rest.partition("?")[0]
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def parse_address(url: str) -> Address:
    """Raises ConfigurationError with a sentence that says what to write."""
    scheme, separator, rest = url.strip().partition("://")
    known = SCHEMES.get(scheme.lower())
    if known is None or not separator:
        raise ConfigurationError(f"{without_credentials(url)!r} is no Redis URL: write {FORMS}.")
    topology, tls = known
    rest, _, fragment = rest.partition("#")
    if fragment:
        raise ConfigurationError("A Redis URL has no part behind #; percent-encode a # in a password as %23.")
    place, _, query = rest.partition("?")
    netloc, _, path = place.partition("/")
    credentials, at, listed = netloc.rpartition("@")
    options = _options(query, tls=tls)
    cluster = _flag("cluster", options.pop("cluster", "false"))
    if topology is Topology.SINGLE and (cluster or "," in listed):
        topology = Topology.CLUSTER
    if cluster and topology is Topology.SENTINEL:
        raise ConfigurationError(
            "cluster=true and Sentinels do not go together: use redis+cluster:// or redis+sentinel://."
        )
    service, database = _path_parts(path, topology)
    username, password = _credentials(credentials) if at else (None, None)
    sentinel = {name: options.pop(name, None) for name in ("sentinel_username", "sentinel_password")}
    if any(sentinel.values()) and topology is not Topology.SENTINEL:
        raise ConfigurationError("sentinel_username and sentinel_password are for redis+sentinel:// URLs.")
    shared = _flag("shared", options.pop("shared", "false"))
    return Address(
        topology=topology,
        hosts=_host_list(listed, topology),
        database=database,
        service=service,
        tls=tls,
        username=username,
        password=password,
        sentinel_username=sentinel["sentinel_username"],
        sentinel_password=sentinel["sentinel_password"],
        tls_options=_tls_options(options),
        shared=shared,
    )


def _credentials(text: str) -> tuple[str | None, str | None]:
    username, colon, password = text.partition(":")
    return unquote(username) or None, unquote(password) if colon else None


def _host_list(listed: str, topology: Topology) -> tuple[Host, ...]:
    default = _SENTINEL_PORT if topology is Topology.SENTINEL else _PORT
    hosts = tuple(_host(each.strip(), default) for each in listed.split(",") if each.strip())
    if not hosts:
        if topology is Topology.SENTINEL:
            raise ConfigurationError("The URL names no Sentinel: write redis+sentinel://host:26379/service/0.")
        return (("localhost", default),)
    return hosts


def _host(text: str, default: int) -> Host:
    if text.startswith("["):
        name, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":")
        broken = not bracket
    else:
        name, _, port = text.partition(":")
        broken = ":" in port
    if broken or not name or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise ConfigurationError(
            f"{text!r} is no address of a Redis: write host:port, [2001:db8::1]:port for IPv6, several with commas between."
        )
    return name, int(port) if port else default


def _host_text(host: Host) -> str:
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _path_parts(path: str, topology: Topology) -> tuple[str, int]:
    parts = [unquote(each) for each in path.split("/") if each]
    service = ""
    if topology is Topology.SENTINEL:
        if not parts:
            raise ConfigurationError(
                "The URL does not say which service the Sentinels watch: write redis+sentinel://host:26379/mymaster/0."
            )
        service = parts.pop(0)
    if len(parts) > 1 or (parts and not parts[0].isdecimal()):
        raise ConfigurationError(f"The end of the Redis URL names no database: write /0 in place of {'/' + path!r}.")
    return service, int(parts[0]) if parts else 0


def _options(query: str, *, tls: bool) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS:
            raise ConfigurationError(f"A Redis URL takes no option {name!r}; there are {', '.join(_OPTIONS)}.")
        if name.startswith("ssl_") and not tls:
            raise ConfigurationError(f"{name} is about TLS: write rediss:// in place of redis://.")
    return options


def _tls_options(options: Mapping[str, str]) -> dict[str, str | bool]:
    found: dict[str, str | bool] = {}
    for name, value in options.items():
        if name in _FILES and not Path(value).is_file():
            raise ConfigurationError(f"{name} of the Redis URL names a file that is not there: {value!r}.")
        if name == "ssl_cert_reqs" and value not in _REQUIREMENTS:
            raise ConfigurationError(f"ssl_cert_reqs of the Redis URL is one of {', '.join(_REQUIREMENTS)}.")
        found[name] = _flag(name, value) if name == "ssl_check_hostname" else value
    if found.get("ssl_cert_reqs") == "none":
        # Without a check of the certificate there is no name to check either.
        found["ssl_check_hostname"] = False
    return found


def _flag(name: str, value: str) -> bool:
    found = _YES.get(value.lower())
    if found is None:
        raise ConfigurationError(f"{name} of the Redis URL is true or false.")
    return found
