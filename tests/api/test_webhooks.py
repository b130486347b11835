"""Webhooks of a real server: signed, in order, tried again, and never to this machine or network unless allowed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent_memory_server.domain.webhooks import is_public
from agent_memory_server.errors import DependencyUnavailable
from agent_memory_server.queues.webhook_sender import HttpWebhookSender
from tests.server_process import ServerProcess
from tests.waiting import wait_until


@dataclass
class Receiver:
    """What arrived, and what is answered next."""

    url: str
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list[tuple[dict[str, str], bytes]])
    statuses: list[int] = field(default_factory=list[int])

    @property
    def operations(self) -> list[str]:
        return [event["id"] for _, body in self.requests for event in json.loads(body)["events"]]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """An HTTP server on loopback that notes what is posted to it."""
    noted = Receiver(url="")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = noted.statuses.pop(0) if noted.statuses else 204
            if status == 204:
                noted.requests.append((dict(self.headers), body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    noted.url = f"http://127.0.0.1:{server.server_address[1]}/hook?from=us"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield noted
    server.shutdown()
    thread.join()
    server.server_close()


def create(client: httpx.Client, memory_id: str, user: str) -> None:
    body = {"memories": [{"id": memory_id, "text": f"Fact {memory_id}.", "user_id": user}]}
    assert client.post("/v1/long-term-memory/", json=body).status_code == 200


def test_changes_arrive_signed_and_in_order(tmp_path: Path, receiver: Receiver) -> None:
    """Only of the named user; what a receiver refused comes again; the log says how it went; after its end nothing comes."""
    environment = {"WEBHOOK_ALLOW_PRIVATE_ADDRESSES": "true"}
    with ServerProcess(tmp_path / "data", environment=environment) as server, server.client() as client:
        create(client, "before", "alice")
        receiver.statuses = [500, 302]
        made = client.post("/v1/webhooks", json={"url": receiver.url, "user_id": "alice", "kinds": ["create", "edit"]})
        assert made.status_code == 200, made.text
        webhook = made.json()
        for number in range(3):
            create(client, f"a{number}", "alice")
            create(client, f"b{number}", "bob")
        client.delete("/v1/long-term-memory", params={"memory_ids": "a0"})
        wait_until(lambda: len(receiver.operations) == 3, "three creates of alice arrive", timeout_s=30)
        listed = client.get("/v1/operations", params={"user_id": "alice", "order": "desc", "limit": 100}).json()
        creates = [each["id"] for each in reversed(listed["operations"]) if each["kind"] == "create"]
        assert receiver.operations == creates[1:]
        for headers, body in receiver.requests:
            at, _, given = headers["X-Memory-Signature"].partition(",v1=")
            signed = at.removeprefix("t=").encode() + b"." + body
            assert hmac.new(webhook["secret"].encode(), signed, hashlib.sha256).hexdigest() == given
            assert b"Fact" not in body
        path = f"/v1/webhooks/{webhook['id']}"
        log = client.get(f"{path}/deliveries").json()["deliveries"]
        assert {(each["ok"], each["status"]) for each in log} == {(True, 204), (False, 500), (False, 302)}
        shown = client.get("/v1/webhooks").json()["webhooks"]
        assert [(each["id"], each["failing_since"], "secret" in each) for each in shown] == [
            (webhook["id"], None, False)
        ]
        assert client.delete(path).status_code == 200
        assert client.delete(path).status_code == 404
        assert client.get(f"{path}/deliveries").status_code == 404
        assert client.get("/v1/webhooks").json() == {"webhooks": []}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:8000/",
        "https://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://192.168.1.1/",
        "http://0.0.0.0/",
        "http://2130706433/",
        "http://[64:ff9b::7f00:1]/",
        "ftp://example.com/",
        "https:///path",
        "https://user:pass@1.1.1.1/",
        "https://1.1.1.1:99999/",
        "https://1.1.1.1:0/",
        "https://1.1.1.1/a b",
        "https://1.1.1.1/\r\nX: y",
        "https://[/",
        "javascript:alert(1)",
        "https://ü.example/",
        "https://a..example/",
        f"https://{'a' * 64}.example/",
        "nonsense",
    ],
)
def test_an_address_that_may_not_be_called_is_refused(shared_server: ServerProcess, url: str) -> None:
    """This machine, its networks, a cloud's inside, and what is no web address: 422 that says so."""
    with shared_server.client() as client:
        refused = client.post("/v1/webhooks", json={"url": url})
        assert refused.status_code == 422, refused.text
        assert refused.json()["detail"][0]["loc"] == ["body", "url"]


async def test_the_address_is_checked_again_when_it_is_called(receiver: Receiver) -> None:
    """A name that leads inside by then is not called, whatever it was when the webhook was made."""
    with pytest.raises(DependencyUnavailable):
        await HttpWebhookSender(allow_private=False).post(receiver.url, body=b"{}", headers={})
    assert await HttpWebhookSender(allow_private=True).post(receiver.url, body=b"{}", headers={}) == 204
    assert len(receiver.requests) == 1


async def test_a_receiver_that_never_ends_its_answer_keeps_no_thread() -> None:
    """A byte now and then is not an answer: the call ends after its time, and so does what waited for it."""
    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connected, _ = listening.accept()
        with connected, contextlib.suppress(OSError):
            connected.sendall(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                connected.sendall(b"a")
                ended.wait(0.02)

    ended = threading.Event()
    dripping = threading.Thread(target=drip)
    dripping.start()
    sender = HttpWebhookSender(allow_private=True, answer_s=0.2)
    with listening, pytest.raises(DependencyUnavailable):
        await sender.post(f"http://127.0.0.1:{listening.getsockname()[1]}/", body=b"{}", headers={})
    await asyncio.to_thread(dripping.join, 5)
    assert not dripping.is_alive(), "our side is still connected"


def test_public_addresses_are_told_from_others() -> None:
    """Also where one carries another."""
    assert all(map(is_public, ("1.1.1.1", "2606:4700::1111")))
    others = ("100.64.0.1", "224.0.0.1", "fe80::1%eth0", "fc00::1", "2002:7f00:1::", "::", "203.0.113.1", "240.0.0.1")
    assert not any(map(is_public, others))
