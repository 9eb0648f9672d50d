"""Messages are signed, and go to nothing inside our own network, whatever a name or a redirect says."""

import base64
import hashlib
import hmac
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.test import Client

from agentops.audit.services import load
from agentops.metrics import webhook
from agentops.metrics.deliveries import TRIES, send_due
from agentops.metrics.models import Alarm, Delivery, Webhook
from agentops.metrics.webhook import Refused, Target, checked, post, secret_of, signature
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.parse import parse_json

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
OPEN = Target("hooks.example.com", 443, "/a", "93.184.215.14")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/",
        "ftp://hooks.example.com/",
        "https:///x",
        "https://user:pw@hooks.example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[64:ff9b::a00:1]/",
        "https://[::7f00:1]/",
        "https://168.63.129.16/metadata",
        "https://10.1.2.3:8443/x",
        "https://169.254.169.254/latest/meta-data",
        "https://hooks.example.com/a b",
        "https://hooks.example.com:99999/",
        "https://hooks.example.com/#x",
        "https://224.0.0.1/",
        f"https://{'a' * 64}.example.com/",
        "https://hooks..example.com/",
        "https://hooks.example.com/für",
        "https://b\u00fccher.example.com/",
    ],
)
def test_addresses_that_nothing_is_posted_to(url: str) -> None:
    with pytest.raises(Refused):
        checked(url)


@pytest.mark.parametrize(
    "found",
    [
        ["10.0.0.1"],
        ["93.184.215.14", "127.0.0.1"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:192.168.0.1"],
        ["2002:0a00:0001::1"],
        ["64:ff9b:1::a00:1"],
        [],
    ],
)
def test_a_name_that_leads_inside_is_refused(found: list[str]) -> None:
    with pytest.raises(Refused):
        checked("https://hooks.example.com/a?b=c", lookup=lambda host, port: found)


def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    target = checked("https://hooks.example.com:8443/a?b=c", lookup=lambda host, port: ["93.184.215.14"])
    assert target == Target("hooks.example.com", 8443, "/a?b=c", "93.184.215.14")


def test_it_connects_to_that_address_and_speaks_to_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def connect(address: Any, timeout: float) -> Any:
        asked.append((address, timeout))
        raise ConnectionRefusedError

    monkeypatch.setattr("agentops.metrics.webhook.socket.create_connection", connect)
    with pytest.raises(ConnectionRefusedError):
        post(OPEN, b"{}", {})
    assert asked == [(("93.184.215.14", 443), webhook.TIMEOUT_S)]


class Plain(socket.socket):
    """Stands for a socket with TLS."""

    def do_handshake(self) -> None:
        """Do nothing."""


class NoTls:
    """Stands for TLS settings."""

    verify_mode, check_hostname, post_handshake_auth = ssl.CERT_NONE, False, None

    def wrap_socket(self, raw: socket.socket, **_: object) -> Plain:
        return Plain(fileno=raw.detach())


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"])
def test_who_drips_an_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(webhook.TIMEOUT_S)
    over = threading.Event()

    def drip() -> None:
        theirs.sendall(head)
        with suppress(OSError):
            while not over.wait(0.02):
                theirs.sendall(b"x")

    monkeypatch.setattr(webhook, "TOTAL_S", 0.2)
    monkeypatch.setattr("agentops.metrics.webhook.socket.create_connection", lambda address, timeout: ours)
    monkeypatch.setattr("agentops.metrics.webhook.ssl.create_default_context", NoTls)
    other = threading.Thread(target=drip)
    other.start()
    began = time.monotonic()
    try:
        with suppress(OSError, http.client.HTTPException):
            post(OPEN, b"{}", {})
    finally:
        over.set()
        other.join()
        theirs.close()
    assert time.monotonic() - began < webhook.TIMEOUT_S / 2


def test_the_signature_is_that_of_standard_webhooks() -> None:
    secret = secret_of(7, 1, 1)
    assert secret.startswith("whsec_")
    assert len({secret, secret_of(7, 2, 1), secret_of(8, 1, 1), secret_of(7, 1, 2)}) == 4
    key = base64.b64decode(secret.removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.new(key, b'm1.12.{"a":1}', hashlib.sha256).digest()).decode()
    assert signature(secret, "m1", 12, b'{"a":1}') == f"v1,{wanted}"


def raised(user: User | None = None) -> Delivery:
    """Raise an alarm with one message waiting."""
    alarm = Alarm.objects.create(task_type="support", kind="planner", raised_at=NOW, started_at=NOW, body={})
    hook = None if user else Webhook.objects.create(name="ops", url="https://hooks.example.com/a")
    return Delivery.objects.create(alarm=alarm, user=user, webhook=hook, next_at=NOW)


def test_a_post_is_signed_and_sent_once(scoped: Tenant) -> None:
    delivery, seen = raised(), []

    def send(target: Target, body: bytes, headers: dict[str, str]) -> int:
        seen.append((target, body, headers))
        return 204

    assert send_due(NOW, 9, send=send, check=lambda url: OPEN) == 1
    assert send_due(NOW + timedelta(days=1), 9, send=send, check=lambda url: OPEN) == 0
    ((target, body, headers),) = seen
    assert target == OPEN
    said = parse_json(body.decode())
    assert isinstance(said, dict)
    assert said["type"] == "alarm.raised"
    assert delivery.webhook is not None
    secret = secret_of(delivery.webhook.pk, scoped.pk, 1)
    stamp = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(secret, headers["webhook-id"], stamp, body)


def test_what_fails_is_tried_again_ever_later_and_then_no_more(scoped: Tenant) -> None:
    delivery, tries = raised(), []

    def refuse(target: Target, body: bytes, headers: dict[str, str]) -> int:
        tries.append(1)
        return 500

    now = NOW
    for _ in range(30):
        send_due(now, 9, send=refuse, check=lambda url: OPEN)
        before = len(tries)
        send_due(now, 9, send=refuse, check=lambda url: OPEN)
        assert len(tries) == before, "not twice at the same moment"
        now += timedelta(hours=3)
    assert len(tries) == TRIES
    delivery.refresh_from_db()
    assert (delivery.problem, delivery.sent_at) == ("It answered 500.", None)


def test_a_name_that_no_resolver_takes_is_refused() -> None:
    def lookup(host: str, port: int) -> list[str]:
        raise UnicodeError("label empty or too long")

    with pytest.raises(Refused, match="cannot be found"):
        checked("https://hooks.example.com/", lookup=lookup)


def test_a_message_that_cannot_be_written_keeps_no_other_from_being_sent(scoped: Tenant, alice: User) -> None:
    broken = raised()
    letter = Delivery.objects.create(alarm=broken.alarm, user=alice, next_at=NOW)
    Delivery.objects.filter(pk=broken.pk).update(next_at=NOW - timedelta(minutes=1))

    def send(target: Target, body: bytes, headers: dict[str, str]) -> int:
        return len("/für".encode("ascii"))

    assert send_due(NOW, 9, send=send, check=lambda url: OPEN) == 1
    broken.refresh_from_db()
    letter.refresh_from_db()
    assert (broken.sent_at, broken.problem) == (None, "UnicodeEncodeError")
    assert letter.sent_at == NOW


def test_a_name_that_moved_inside_is_not_posted_to(scoped: Tenant) -> None:
    delivery = raised()

    def moved(url: str) -> Target:
        return checked(url, lookup=lambda host, port: ["10.0.0.1"])

    assert send_due(NOW, 9, send=lambda *_: 200, check=moved) == 0
    delivery.refresh_from_db()
    assert "private network" in delivery.problem


def test_people_get_a_letter_with_a_link(scoped: Tenant, alice: User, settings: Any) -> None:
    settings.SITE_URL = "https://desk.example.com"
    delivery = raised(alice)
    assert send_due(NOW, 9) == 1
    (letter,) = mail.outbox
    assert letter.to == [alice.email]
    assert f"https://desk.example.com/t/acme/metrics/alarms/{delivery.alarm_id}" in letter.body


def test_of_a_webhooks_address_only_the_host_is_on_record_and_a_change_is_still_seen(
    acme: Tenant, alice: User, signed_in: Callable[[User], Client]
) -> None:
    client = signed_in(alice)
    address = "/t/acme/admin/metrics/webhook/"
    form = {
        "name": "ops",
        "url": "https://hooks.example.com/T0/s3cret?token=t0ken",
        "enabled": "on",
        "secret_version": "1",
    }
    assert client.post(f"{address}add/", form).status_code == 302
    with tenant_scope(acme):
        pk = Webhook.objects.get().pk
    changed = form | {"url": "https://hooks.example.com/T0/0ther"}
    assert client.post(f"{address}{pk}/change/", changed).status_code == 302
    assert client.post(f"{address}{pk}/delete/", {"post": "yes"}).status_code == 302
    with tenant_scope(acme):
        events = [one.data for one in load("tenant") if one.type == "admin.changed"]
    assert [one["change"] for one in events] == ["added", "changed", "deleted"]
    told = str(events)
    assert "hooks.example.com" in told
    assert not any(secret in told for secret in ("s3cret", "t0ken", "0ther", "/T0"))
    assert events[1]["before"]["url"] != events[1]["after"]["url"]
