"""Receivers that a test can look into, and endpoints."""

import hmac
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agentops.webhooks.couriers import Couriers
from agentops.webhooks.models import Endpoint, Kind
from agentops.webhooks.posting import Target, checked
from agentops.webhooks.signing import signature
from agentops.wire.parse import parse_json

PUBLIC = "93.184.215.14"
RUNS = [kind.value for kind in Kind if kind != Kind.ALARM]


@dataclass
class Receivers:
    """Stands for everything outside: answers by host, and keeps what arrived as (host, headers, body)."""

    answers: dict[str, int] = field(default_factory=dict)
    addresses: dict[str, list[str]] = field(default_factory=dict)
    slow: dict[str, threading.Event] = field(default_factory=dict)
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def send(self, target: Target, body: bytes, headers: dict[str, str]) -> int:
        """Take a message."""
        if target.host in self.slow:
            self.slow[target.host].wait(20)
        self.got.append((target.host, headers, body))
        status = self.answers.get(target.host, 204)
        if not status:
            raise TimeoutError
        return status

    def check(self, url: str) -> Target:
        """Check an address with the names there are."""
        host = urlsplit(url).hostname or ""
        return checked(url, lookup=lambda name, port: self.addresses.get(host, [PUBLIC]))

    def couriers(self, threads: int = 8) -> Couriers:
        """Return couriers that post to these receivers."""
        return Couriers(send=self.send, check=self.check, threads=threads)

    def ids(self, host: str = "hooks.example.com") -> list[str]:
        """Return the ids of the messages that arrived at a host."""
        return [headers["webhook-id"] for name, headers, _ in self.got if name == host]

    def said(self) -> list[Any]:
        """Return the bodies that arrived."""
        return [parse_json(body.decode()) for _, _, body in self.got]


def endpoint(name: str = "hooks", **columns: Any) -> Endpoint:
    """Add an endpoint that hears of every run."""
    return Endpoint.objects.create(**{"name": name, "url": f"https://{name}.example.com/a", "kinds": RUNS} | columns)


def verifies(secret: str, headers: dict[str, str], body: bytes) -> bool:
    """Check a message as a receiver does."""
    wanted = signature(secret, headers["webhook-id"], int(headers["webhook-timestamp"]), body)
    return any(hmac.compare_digest(wanted, one) for one in headers["webhook-signature"].split())
