"""What happens to runs is noted once for everybody who wants to hear of it, and nothing of what runs are about."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction

from agentops.audit.models import Event, Tail
from agentops.runs.models import Run
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.webhooks import noting, outbox, services
from agentops.webhooks.models import Endpoint, Message
from agentops.webhooks.noting import note_new
from tests.approvals.threads import at_once
from tests.deciding import approve
from tests.shop import drive, only_proposal, open_shop, start
from tests.webhooks.doubles import RUNS, endpoint

NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)
SECRETIVE = "late and very angry"


def refund(reason: str = SECRETIVE) -> Run:
    """Let a run come to its proposal."""
    return drive(start("goodwill-refund", {"order_ref": "A-1003", "amount_minor": 700, "reason": reason}).id)


def noted() -> list[str]:
    """Return the kinds of the messages there are, oldest first."""
    while note_new(NOW):
        pass
    return list(Message.objects.order_by("pk").values_list("kind", flat=True))


def test_a_run_that_waits_and_then_ends_is_told_of(
    scoped: Tenant, bob: User, actor_of: Callable[[User, Tenant], Actor], settings: object
) -> None:
    settings.SITE_URL = "https://desk.example.com"  # type: ignore[attr-defined]
    open_shop(scoped)
    endpoint()
    run = refund()
    assert noted() == ["run.awaiting_approval"]
    proposal = only_proposal()
    approve(proposal_id=proposal.pk, actor=actor_of(bob, scoped), version=proposal.version, digest=proposal.digest)
    assert drive(run.pk).state == "succeeded"
    assert noted() == ["run.awaiting_approval", "run.succeeded"]
    last = Message.objects.latest("pk")
    seq = last.body["data"]["seq"]
    assert last.body == {
        "type": "run.succeeded",
        "timestamp": last.at.isoformat(),
        "data": {
            "tenant": "acme",
            "run_id": str(run.pk),
            "task_type": "goodwill-refund",
            "state": "succeeded",
            "seq": seq,
            "url": f"https://desk.example.com/api/v1/runs/{run.pk}",
        },
    }
    assert last.name == f"run-{run.pk}-{seq}"
    told = json.dumps(list(Message.objects.values_list("body", flat=True)))
    assert not any(text in told for text in (SECRETIVE, "A-1003", "700"))


def test_a_run_that_fails_says_with_which_code_and_not_why(scoped: Tenant) -> None:
    open_shop(scoped)
    endpoint()
    run = drive(start("goodwill-refund", {"order_ref": "A-9999", "amount_minor": 700, "reason": "x"}).id)
    run.refresh_from_db()
    assert run.state == "failed"
    assert noted() == ["run.failed"]
    data = Message.objects.get().body["data"]
    assert data["code"] == run.failure_code != ""
    assert run.failure_message not in json.dumps(data)


def test_an_endpoint_hears_only_of_what_it_asked_for(scoped: Tenant) -> None:
    open_shop(scoped)
    all_of = endpoint("all")
    endpoint("ends", kinds=["run.succeeded", "alarm.raised"])
    endpoint("mails", task_type="support-email")
    own = endpoint("own", task_type="goodwill-refund", kinds=["run.awaiting_approval"])
    endpoint("off", enabled=False)
    refund()
    noted()
    assert {one.endpoint_id for one in Message.objects.all()} == {all_of.pk, own.pk}


def test_an_endpoint_hears_nothing_of_what_was_before_it(scoped: Tenant, alice: User) -> None:
    open_shop(scoped)
    refund()
    actor = Actor.user(alice, ("admin",))
    wanted = services.Wanted("late", "https://hooks.example.com/a", RUNS, "")
    late = services.register(wanted, actor=actor)
    assert isinstance(late, Endpoint)
    assert noted() == []
    refund("another")
    assert noted() == ["run.awaiting_approval"]
    services.switch(late.pk, False, actor=actor)
    refund("a third")
    assert noted() == ["run.awaiting_approval"]
    services.switch(late.pk, True, actor=actor)
    assert noted() == ["run.awaiting_approval"], "of what happened while it was off it never hears"
    refund("a fourth")
    assert noted() == ["run.awaiting_approval"] * 2


def test_who_heard_of_alarms_only_hears_of_runs_from_the_change_on(scoped: Tenant, alice: User) -> None:
    open_shop(scoped)
    refund()
    hook = endpoint(kinds=["alarm.raised"])
    assert note_new(NOW) == 0
    wanted = services.Wanted("hooks", "https://hooks.example.com/a", ["alarm.raised", *RUNS], "")
    services.change(hook.pk, wanted, actor=Actor.user(alice, ("admin",)))
    assert noted() == []
    refund("another")
    assert noted() == ["run.awaiting_approval"]


def test_a_new_endpoint_takes_nothing_from_one_that_is_behind(scoped: Tenant, alice: User) -> None:
    open_shop(scoped)
    first = endpoint("first")
    refund()
    wanted = services.Wanted("second", "https://second.example.com/a", RUNS, "")
    assert isinstance(services.register(wanted, actor=Actor.user(alice, ("admin",))), Endpoint)
    assert noted() == ["run.awaiting_approval"]
    assert Message.objects.get().endpoint == first


def test_what_dies_before_it_has_committed_is_noted_by_the_next(
    scoped: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_shop(scoped)
    endpoint()
    refund()
    honest = outbox.put

    def die(*given: object, **more: object) -> int:
        honest(*given, **more)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(noting, "put", die)
        with pytest.raises(KeyboardInterrupt):
            note_new(NOW)
    assert Message.objects.count() == 0
    assert noted() == ["run.awaiting_approval"]


def test_reading_again_notes_nothing_twice(scoped: Tenant) -> None:
    open_shop(scoped)
    endpoint()
    refund()
    before = noted()
    Tail.objects.filter(reader=noting.READER).update(position=0, horizon=0)
    assert noted() == before


def test_nothing_is_read_while_nobody_listens(scoped: Tenant, django_assert_num_queries: Callable[..., object]) -> None:
    open_shop(scoped)
    refund()
    with django_assert_num_queries(1):  # type: ignore[attr-defined]
        assert note_new(NOW) == 0


def test_a_tenant_hears_nothing_of_another(acme: Tenant, globex: Tenant) -> None:
    for tenant in (acme, globex):
        with tenant_scope(tenant):
            open_shop(tenant)
    with tenant_scope(acme):
        endpoint()
    with tenant_scope(globex):
        refund()
        assert noted() == []
    with tenant_scope(acme):
        assert noted() == []
        refund()
        assert noted() == ["run.awaiting_approval"]
    with tenant_scope(globex):
        assert Message.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_two_who_read_at_once_miss_nothing_and_note_nothing_twice(acme: Tenant) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("two readers at once need PostgreSQL")
    with tenant_scope(acme):
        open_shop(acme)
        endpoint()
        runs = {refund(f"reason {n}").pk for n in range(6)}

    def read() -> None:
        with tenant_scope(acme):
            for _ in range(40):
                note_new(NOW, limit=3)

    at_once([read, read, read])
    with tenant_scope(acme):
        noted()
        names = list(Message.objects.values_list("name", flat=True))
        assert len(names) == len(set(names)) == len(runs)


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_committed_late_under_a_low_number_is_not_missed(acme: Tenant) -> None:
    """A reader that looks while a run's transaction is open waits for it."""
    if connection.vendor != "postgresql":
        pytest.skip("two writers at once need PostgreSQL")
    with tenant_scope(acme):
        open_shop(acme)
        endpoint()
        noted()
        with transaction.atomic():
            refund("slow")
            at_once([lambda: _read_elsewhere(acme)])
        assert noted() == ["run.awaiting_approval"]
        assert Event.objects.exists()


def _read_elsewhere(tenant: Tenant) -> None:
    with tenant_scope(tenant):
        note_new(NOW)
