"""Several Redis processes as one: a cluster, a master with its replica under a Sentinel, and a Redis behind TLS.

Built on ``tests.redis_server``. Timings are short, so that a failover takes seconds.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.redis_server import RedisServer
from tests.server_process import free_port
from tests.waiting import wait_until

SERVICE = "memories"
_LIMIT_S = 20.0
_SLOTS = 16_384


def tell(server: RedisServer, *command: str | bytes | int) -> Any:
    with server.client() as client:
        return cast(Any, client.execute_command(*command))  # pyright: ignore[reportUnknownMemberType]


def await_copied(master: RedisServer, replica: RedisServer) -> None:
    """Until the replica has all that the master has acknowledged."""
    reached = int(tell(master, "INFO", "replication")["master_repl_offset"])
    wait_until(
        lambda: int(tell(replica, "INFO", "replication")["slave_repl_offset"]) >= reached, "not replicated", _LIMIT_S
    )


# -- a cluster --------------------------------------------------------------------------------------------------------


class RedisCluster:
    """Three nodes that share the slots, and one that replicates the owner of the store's slot."""

    def __init__(self, folder: Path, *options: str, node_timeout_ms: int) -> None:
        self.nodes: list[RedisServer] = []
        self._bus_ports: list[str] = []
        for number in range(4):
            own = folder / f"node-{number}"
            own.mkdir()
            # Else it is the port and ten thousand, which may be none.
            bus = str(free_port())
            self.nodes.append(
                RedisServer(
                    own,
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    str(node_timeout_ms),
                    "--cluster-port",
                    bus,
                    *options,
                )
            )
            self._bus_ports.append(bus)

    @property
    def url(self) -> str:
        return f"redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        share = -(-_SLOTS // 3)
        for number, node in enumerate(self.nodes[:3]):
            tell(node, "CLUSTER", "ADDSLOTSRANGE", number * share, min(_SLOTS, (number + 1) * share) - 1)
            tell(node, "CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            tell(node, "CLUSTER", "MEET", "127.0.0.1", self.nodes[0].port, self._bus_ports[0])
        wait_until(lambda: all(_knows(node, 4) for node in self.nodes), "the nodes did not find each other", _LIMIT_S)
        owner = self.owner()
        tell(self.nodes[3], "CLUSTER", "REPLICATE", tell(owner, "CLUSTER", "MYID").decode())
        wait_until(
            lambda: tell(self.nodes[3], "INFO", "replication")["master_link_status"] == "up", "no replica", _LIMIT_S
        )
        wait_until(lambda: all(_in_service(node) for node in self.nodes), "the cluster did not form", _LIMIT_S)

    def owner(self) -> RedisServer:
        """The node that holds the store, as the nodes see it now."""
        slot = int(tell(self.nodes[1], "CLUSTER", "KEYSLOT", "{ams}:schema"))
        ports = [int(each[2][1]) for each in tell(self.nodes[1], "CLUSTER", "SLOTS") if each[0] <= slot <= each[1]]
        return next(node for node in self.nodes if [node.port] == ports)

    @contextlib.contextmanager
    def moving(self, source: RedisServer, target: RedisServer) -> Generator[Callable[[int], None]]:
        """Move the store's slot: so many keys at each call, the rest at the end."""
        slot = int(tell(source, "CLUSTER", "KEYSLOT", "{ams}:schema"))
        identities = {node.port: tell(node, "CLUSTER", "MYID").decode() for node in (source, target)}
        tell(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", identities[source.port])
        tell(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", identities[target.port])

        def move(count: int) -> None:
            keys = tell(source, "CLUSTER", "GETKEYSINSLOT", slot, count)
            if keys:
                tell(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)

        yield move
        move(1_000_000)
        for node in (target, source, *self.nodes[:3]):
            tell(node, "CLUSTER", "SETSLOT", slot, "NODE", identities[target.port])

    @property
    def replica(self) -> RedisServer:
        """The node that replicates the owner."""
        return self.nodes[3]

    def stop(self) -> None:
        for node in self.nodes:
            node.kill()


def _knows(node: RedisServer, count: int) -> bool:
    return f"cluster_known_nodes:{count}".encode() in tell(node, "CLUSTER", "INFO").splitlines()


def _in_service(node: RedisServer) -> bool:
    return b"cluster_state:ok" in tell(node, "CLUSTER", "INFO").splitlines()


@contextlib.contextmanager
def running_cluster(folder: Path, *options: str, node_timeout_ms: int = 5_000) -> Generator[RedisCluster]:
    """A cluster of the caller's own, stopped at the end. A busy machine is no failure within ``node_timeout_ms``."""
    cluster = RedisCluster(folder, *options, node_timeout_ms=node_timeout_ms)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


# -- Sentinel ---------------------------------------------------------------------------------------------------------


class WatchedRedis:
    """A master, its replica and one Sentinel that makes the replica the master when the master is gone."""

    def __init__(self, folder: Path) -> None:
        for name in ("master", "replica", "sentinel"):
            (folder / name).mkdir()
        self.master = RedisServer(folder / "master")
        self.replica = RedisServer(folder / "replica", "--replicaof", f"127.0.0.1 {self.master.port}")
        self._sentinel = RedisServer(folder / "sentinel", search=False)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self._sentinel.port}/{SERVICE}/0"

    @property
    def sentinel_url(self) -> str:
        """The Sentinel taken for a Redis."""
        return self._sentinel.url

    def start(self) -> None:
        self.master.start()
        self.replica.start()
        wait_until(
            lambda: tell(self.replica, "INFO", "replication")["master_link_status"] == "up", "no replica", _LIMIT_S
        )
        file = self._sentinel.folder / "sentinel.conf"
        file.write_text(
            f"port {self._sentinel.port}\nbind 127.0.0.1\ndir {self._sentinel.folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.master.port} 1\n"
            f"sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 3000\n"
        )
        self._process = subprocess.Popen(
            [str(self._sentinel.program), str(file), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._sees_replica, "the Sentinel did not find the replica", _LIMIT_S)

    def _sees_replica(self) -> bool:
        with contextlib.suppress(redis.ConnectionError), self._sentinel.client() as client:
            return len(client.sentinel_slaves(SERVICE)) == 1  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=10)
        self.master.kill()
        self.replica.kill()


@contextlib.contextmanager
def running_watched(folder: Path) -> Generator[WatchedRedis]:
    """A watched master of the caller's own, stopped at the end."""
    watched = WatchedRedis(folder)
    try:
        watched.start()
        yield watched
    finally:
        watched.stop()


# -- TLS --------------------------------------------------------------------------------------------------------------


class TlsFront:
    """Speaks TLS in front of a Redis that was built without, with a certificate of its own authority."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.authority = folder / "ca.pem"
        _write_certificate(folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
        listening = socket.create_server(("127.0.0.1", 0))
        self._listening = context.wrap_socket(listening, server_side=True, do_handshake_on_connect=False)
        self.port = int(listening.getsockname()[1]) if listening.fileno() >= 0 else self._listening.getsockname()[1]
        self._server = server
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, outside: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError), outside:
            outside.do_handshake()
            with socket.create_connection(("127.0.0.1", self._server.port)) as inside:
                threading.Thread(target=_copy, args=(inside, outside), daemon=True).start()
                _copy(outside, inside)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a Redis for tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@contextlib.contextmanager
def tls_before(folder: Path, server: RedisServer) -> Generator[TlsFront]:
    front = TlsFront(folder, server)
    try:
        yield front
    finally:
        front.close()
