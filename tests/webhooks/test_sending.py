"""Messages arrive at least once, signed, under the same id; who is slow or gone holds up nobody else."""

import base64
import hmac
import random
import re
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from agentops.audit.services import load
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.webhooks import couriers as couriers_module
from agentops.webhooks.couriers import COURIERS, Couriers
from agentops.webhooks.models import Endpoint, Kind, Message
from agentops.webhooks.outbox import TRIED_FOR, Notice, put
from agentops.webhooks.sending import KEPT, LONGEST, REST_AFTER, TAKEN_FOR, send_due, wait_before, write_down
from agentops.webhooks.signing import secret_of
from agentops.worker import sweeper
from tests.approvals.threads import at_once
from tests.shop import drive, open_shop, start
from tests.webhooks.doubles import Receivers, endpoint, verifies

NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)


def waiting(*names: str, now: datetime = NOW) -> None:
    """Put messages into the outbox of every endpoint."""
    put([Notice(Kind.FAILED, name, now, "support", {"run_id": name, "state": "failed"}) for name in names], now)


def sweep(couriers: Couriers, now: datetime = NOW) -> None:
    """Send what is due and write down what became of it."""
    send_due(now, couriers=couriers)
    couriers.wait()
    write_down(now, couriers=couriers)


def events(kind: str) -> list[Any]:
    return [one.data for one in load("tenant") if one.type == kind]


def test_a_message_is_signed_and_sent_once(scoped: Tenant) -> None:
    hook, outside = endpoint(), Receivers()
    waiting("run-1-5")
    couriers = outside.couriers()
    sweep(couriers)
    sweep(couriers, NOW + timedelta(hours=1))
    ((host, headers, body),) = outside.got
    assert (host, headers["webhook-id"]) == ("hooks.example.com", "run-1-5")
    secret = secret_of(hook.pk, scoped.pk, 1)
    assert verifies(secret, headers, body)
    assert not verifies(secret, headers, body.replace(b"failed", b"passed"))
    assert not verifies(secret, headers | {"webhook-id": "run-1-6"}, body)
    assert not verifies(secret, headers | {"webhook-timestamp": "1"}, body)
    assert not verifies(secret_of(hook.pk, scoped.pk, 2), headers, body)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
    message = Message.objects.get()
    assert (message.state, message.attempts, message.problem) == ("sent", 1, "")


def test_after_a_rotation_both_secrets_verify_for_a_while(scoped: Tenant, settings: Any) -> None:
    hook, outside = endpoint(), Receivers()
    hook.secret_version, hook.former_version, hook.former_until = 3, 1, NOW + timedelta(hours=1)
    hook.save()
    secrets = [secret_of(hook.pk, scoped.pk, version) for version in (1, 2, 3)]
    waiting("a")
    sweep(outside.couriers())
    waiting("b", now=NOW + timedelta(hours=1))
    sweep(outside.couriers(), NOW + timedelta(hours=1))
    during, after = [[verifies(one, headers, body) for one in secrets] for _, headers, body in outside.got]
    assert during == [True, True, True]
    assert after == [False, False, True]


def test_a_new_secret_key_breaks_no_receiver_while_the_former_one_is_kept(scoped: Tenant, settings: Any) -> None:
    hook, outside = endpoint(), Receivers()
    known = secret_of(hook.pk, scoped.pk, 1)
    settings.SECRET_KEY_FALLBACKS = [django_settings.SECRET_KEY]
    settings.SECRET_KEY = "another secret key " * 4
    waiting("a")
    sweep(outside.couriers())
    ((_, headers, body),) = outside.got
    assert verifies(known, headers, body)
    assert verifies(secret_of(hook.pk, scoped.pk, 1), headers, body)


def test_what_fails_is_tried_again_ever_later_for_a_day_and_then_given_up_with_an_event(scoped: Tenant) -> None:
    endpoint()
    outside = Receivers(answers={"hooks.example.com": 500})
    couriers = outside.couriers()
    waiting("run-1-5")
    now, tries = NOW, list[datetime]()
    while now < NOW + timedelta(days=2):
        before = len(outside.got)
        sweep(couriers, now)
        tries += [now] * (len(outside.got) - before)
        now += timedelta(minutes=1)
    assert set(outside.ids()) == {"run-1-5"}
    assert 15 < len(tries) < 60
    assert tries[-1] <= NOW + TRIED_FOR
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[0] <= timedelta(minutes=2)
    assert timedelta(minutes=29) < max(gaps) <= LONGEST + timedelta(minutes=2)
    message = Message.objects.get()
    assert (message.state, message.problem) == ("given_up", "It answered 500.")
    assert events("webhook.given_up") == [{"name": "hooks", "messages": 1, "ids": ["run-1-5"]}]


@given(st.integers(0, 200), st.integers())
def test_waits_grow_and_are_never_the_same(failures: int, seed: int) -> None:
    wait = wait_before(failures, random.Random(seed))
    assert timedelta(seconds=15) <= wait <= LONGEST


def test_an_endpoint_that_keeps_failing_is_left_alone_for_a_while(scoped: Tenant) -> None:
    endpoint()
    outside = Receivers(answers={"hooks.example.com": 0})
    couriers = outside.couriers()
    waiting(*(f"m{n}" for n in range(10)))
    for n in range(14):
        sweep(couriers, NOW + timedelta(seconds=n))
    assert len(outside.got) == REST_AFTER, "ten messages are no reason to ask ten times"
    outside.answers.clear()
    sweep(couriers, NOW + timedelta(hours=1))
    assert set(Message.objects.values_list("state", flat=True)) == {"sent"}
    assert Endpoint.objects.get().failures == 0


def test_one_message_that_is_not_taken_keeps_no_other_from_being_sent(scoped: Tenant) -> None:
    endpoint()
    outside = Receivers()
    waiting("bad", "good", "better")
    honest = outside.send

    def picky(target: Any, body: bytes, headers: dict[str, str]) -> int:
        return 400 if headers["webhook-id"] == "bad" else honest(target, body, headers)

    couriers = Couriers(send=picky, check=outside.check)
    sweep(couriers)
    sweep(couriers, NOW + timedelta(seconds=3))
    assert sorted(outside.ids()) == ["better", "good"]


def test_410_disables_the_endpoint_and_says_so(scoped: Tenant) -> None:
    endpoint()
    outside = Receivers(answers={"hooks.example.com": 410})
    couriers = outside.couriers()
    waiting("a", "b")
    sweep(couriers)
    hook = Endpoint.objects.get()
    assert (hook.enabled, hook.disabled_why) == (False, "It answered 410: it is gone.")
    assert [one["name"] for one in events("webhook.disabled")] == ["hooks"]
    sweep(couriers, NOW + timedelta(hours=2))
    assert outside.ids() == ["a"]
    waiting("c")
    assert not Message.objects.filter(name="c").exists()


@pytest.mark.parametrize("inside", ["10.0.0.1", "169.254.169.254", "::1", "::ffff:192.168.0.1"])
def test_a_name_that_moved_inside_is_not_posted_to(scoped: Tenant, inside: str) -> None:
    endpoint()
    outside = Receivers()
    couriers = outside.couriers()
    waiting("a")
    sweep(couriers)
    outside.addresses["hooks.example.com"] = [inside]
    waiting("b")
    sweep(couriers, NOW + timedelta(seconds=5))
    assert outside.ids() == ["a"]
    assert "private network" in Message.objects.get(name="b").problem


def test_a_process_that_dies_after_it_has_taken_a_message_loses_none(scoped: Tenant) -> None:
    endpoint()
    outside = Receivers()
    waiting("a", "b")
    dead = outside.couriers()
    send_due(NOW, couriers=dead)
    dead.wait()  # posted, and nobody writes it down
    heir = outside.couriers()
    sweep(heir, NOW + TAKEN_FOR - timedelta(seconds=1))
    assert outside.ids() == ["a", "b"], "they belong to the other one still"
    sweep(heir, NOW + TAKEN_FOR)
    assert outside.ids() == ["a", "b", "a", "b"], "doubles have the same id"
    write_down(NOW + TAKEN_FOR, couriers=dead)
    assert set(Message.objects.values_list("state", "attempts")) == {("sent", 1)}


def test_whoever_comes_late_with_a_failure_changes_nothing(scoped: Tenant) -> None:
    endpoint()
    outside = Receivers(answers={"hooks.example.com": 500})
    waiting("a")
    late, heir = outside.couriers(), outside.couriers()
    send_due(NOW, couriers=late)
    late.wait()
    outside.answers.clear()
    send_due(NOW + TAKEN_FOR, couriers=heir)
    write_down(NOW + TAKEN_FOR, couriers=late)
    assert Message.objects.get().attempts == 0
    heir.wait()
    write_down(NOW + TAKEN_FOR, couriers=heir)
    assert Message.objects.get().state == "sent"


def test_who_answers_slowly_holds_up_neither_the_sweeper_nor_others(acme: Tenant, globex: Tenant) -> None:
    outside, gate = Receivers(), threading.Event()
    couriers = outside.couriers(threads=8)
    with tenant_scope(acme):
        for n in range(6):
            endpoint(f"slow{n}")
            outside.slow[f"slow{n}.example.com"] = gate
        waiting("a", "b")
    with tenant_scope(globex):
        endpoint("quick")
        waiting("c")
    began = time.monotonic()
    try:
        for _ in range(3):
            for tenant in (acme, globex):
                with tenant_scope(tenant):
                    send_due(NOW, couriers=couriers)
        assert time.monotonic() - began < 5
        until = time.monotonic() + 10
        while not outside.ids("quick.example.com") and time.monotonic() < until:
            time.sleep(0.01)
        assert outside.ids("quick.example.com") == ["c"]
        assert len(couriers.busy(acme.pk)) == couriers_module.PER_TENANT
    finally:
        gate.set()
        couriers.wait()


def test_a_stopped_process_leaves_the_rest_to_the_next(scoped: Tenant) -> None:
    endpoint()
    outside, gate = Receivers(), threading.Event()
    outside.slow["hooks.example.com"] = gate
    couriers = outside.couriers()
    waiting("a", "b", "c")
    send_due(NOW, couriers=couriers)
    couriers.stop()
    gate.set()
    couriers.wait()
    write_down(NOW, couriers=couriers)
    assert outside.ids() in ([], ["a"])
    outside.got.clear()
    sweep(outside.couriers(), NOW + TAKEN_FOR)
    assert outside.ids()[-2:] == ["b", "c"]
    assert set(Message.objects.values_list("state", flat=True)) == {"sent"}


def test_nothing_is_sent_for_another_tenant(acme: Tenant, globex: Tenant) -> None:
    outside = Receivers()
    couriers = outside.couriers()
    with tenant_scope(acme):
        endpoint()
        waiting("a")
    with tenant_scope(globex):
        endpoint()
        sweep(couriers)
        assert outside.got == []
    with tenant_scope(acme):
        send_due(NOW, couriers=couriers)
        couriers.wait()
    with tenant_scope(globex):
        write_down(NOW, couriers=couriers)
    with tenant_scope(acme):
        write_down(NOW, couriers=couriers)
        assert Message.objects.get().state == "sent"


def test_of_what_was_answered_only_the_status_is_kept_and_that_for_a_week(scoped: Tenant) -> None:
    endpoint()
    outside = Receivers()
    couriers = outside.couriers()
    waiting("a")
    sweep(couriers)
    sweep(couriers, NOW + KEPT)
    assert Message.objects.count() == 1
    sweep(couriers, NOW + KEPT + timedelta(seconds=1))
    assert Message.objects.count() == 0


def test_secrets_stand_in_no_trace() -> None:
    hook = couriers_module.Round(1, 1, "https://hooks.example.com/", ("whsec_x",), ())
    assert "whsec" not in repr(hook)


@pytest.mark.django_db(transaction=True)
def test_two_sweepers_at_once_send_each_message_once(acme: Tenant) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("two sweepers at once need PostgreSQL")
    outside = Receivers()
    names = [f"m{n}" for n in range(60)]
    with tenant_scope(acme):
        endpoint()
        waiting(*names)

    def work() -> None:
        couriers = outside.couriers()
        with tenant_scope(acme):
            for _ in range(3):
                sweep(couriers)

    at_once([work, work, work])
    assert sorted(outside.ids()) == sorted(names)
    with tenant_scope(acme):
        assert set(Message.objects.values_list("state", flat=True)) == {"sent"}


def test_the_sweeper_notes_and_sends(scoped: Tenant) -> None:
    open_shop(scoped)
    endpoint(url="https://10.0.0.1/")
    drive(start("goodwill-refund", {"order_ref": "A-1003", "amount_minor": 700, "reason": "late"}).id)
    sweeper.sweep()
    COURIERS.wait()
    sweeper.sweep()
    message = Message.objects.get()
    assert (message.kind, message.attempts) == ("run.awaiting_approval", 1)
    assert "private network" in message.problem


def test_the_readme_tells_receivers_how_to_verify(scoped: Tenant) -> None:
    hook, outside = endpoint(), Receivers()
    waiting("a")
    sweep(outside.couriers())
    ((_, headers, body),) = outside.got
    found = re.search(r"```python\n(def verify.*?)```", Path("README.md").read_text("utf-8"), re.DOTALL)
    assert found
    known: dict[str, Any] = {"base64": base64, "hmac": hmac, "time": time, "Mapping": Mapping}
    exec(found[1], known)
    verify, secret = known["verify"], secret_of(hook.pk, scoped.pk, 1)
    verify(secret, headers, body)
    for wrong in (headers | {"webhook-id": "b"}, headers | {"webhook-signature": "v1,AAAA"}):
        with pytest.raises(ValueError, match="not from AgentOps"):
            verify(secret, wrong, body)
