"""The pages of contracts: what a tool promises, as a card would say it, who may use it and how it was used."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agentops.runs.models import TaskType, ToolCall
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.decisions.attest import _rank
from approvals.models import Proposal
from approvals.pages import contract_pages
from tests.approvals.contracts import contract as lab_contract
from tests.approvals.contracts import do_nothing, no_trace
from tests.shop import drive, open_shop, start
from tools import publishing
from tools.models import AllowlistEntry
from tools.promises import Bounds, CountBound, Promises, Sink
from tools.registry import registry

SignedIn = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def page(client: Client, path: str) -> str:
    answer = client.get(f"/t/acme/{path}")
    assert answer.status_code == 200, path
    return answer.content.decode()


def test_every_contract_has_a_page_that_is_found_from_the_list(signed_in: SignedIn, bob: User, acme: Tenant) -> None:
    client = signed_in(bob)
    listed = page(client, "contracts")
    for one in registry.contracts():
        assert f'href="/t/acme/contracts/{one.name}"' in listed
        shown = page(client, f"contracts/{one.name}")
        assert f"{one.name} {one.version}" in shown
        assert page(client, f"contracts/{one.name}/{one.version}").count("<tr>") == shown.count("<tr>")


@pytest.mark.parametrize("path", ["contracts/no.tool", "contracts/web.fetch/9.9.9", "contracts/<b>", "contracts/%00"])
def test_what_is_not_registered_is_not_found(signed_in: SignedIn, bob: User, acme: Tenant, path: str) -> None:
    assert signed_in(bob).get(f"/t/acme/{path}").status_code == 404


def test_the_page_says_the_sentence_and_the_consequence_of_this_tenants_records(
    signed_in: SignedIn, bob: User, acme: Tenant
) -> None:
    with tenant_scope(acme):
        open_shop(acme)
    shown = page(signed_in(bob), "contracts/shop.issue_refund")
    assert "Refund " in shown
    assert "EUR 49.90" in shown
    assert "A-1093" in shown
    assert "moves money, and always needs a person" in shown
    assert "10,000,000 minor units, such as cents, of any currency" in shown
    assert "decides where it lands, has to be seen" in shown


def test_it_says_who_may_use_it_and_how_it_was_used(signed_in: SignedIn, bob: User, acme: Tenant) -> None:
    with tenant_scope(acme):
        open_shop(acme)
        drive(start("support-email", {"message_id": "M-0001"}).id)
        read = registry.get("mail.read")
        assert read is not None
        coverage, others = contract_pages.coverage_of(read)
        usage = contract_pages.usage_of("mail.read", now=timezone.now())
        made = ToolCall.objects.filter(tool="mail.read").count()
        kinds = TaskType.objects.count()
    assert made > 0
    assert (usage.calls, usage.cut, usage.outcomes) == (made, False, (("succeeded", made),))
    assert len(coverage) + others == kinds
    assert {one.state for one in coverage} <= {"auto", "gated"}
    shown = page(signed_in(bob), "contracts/mail.read")
    assert f"{made} call" in shown
    assert "runs by itself" in shown


@pytest.mark.not_replayed("rows without a record are counted")
def test_errors_and_rejections_are_counted_by_code_and_old_runs_are_not(acme: Tenant) -> None:
    from datetime import timedelta

    with tenant_scope(acme):
        open_shop(acme)
        run = drive(start("support-email", {"message_id": "M-0001"}).id)
        for n, (state, code) in enumerate(
            [("failed", "timeout"), ("failed", "timeout"), ("failed", "not_found"), ("denied", "off_plan")]
            + [("rejected", "")] * 3
        ):
            ToolCall.objects.create(
                run=run, call_id=f"x{n}", step_id="s", tool="lab.x", version="1.0.0", state=state, code=code
            )
        usage = contract_pages.usage_of("lab.x", now=timezone.now())
        later = contract_pages.usage_of("lab.x", now=timezone.now() + timedelta(days=31))
    assert (usage.calls, usage.rejected) == (7, 3)
    assert usage.errors == (("timeout", 2, True), ("not_found", 1, False), ("off_plan", 1, False))
    assert later.calls == 0


def test_a_version_outside_of_a_rule_is_said(acme: Tenant) -> None:
    with tenant_scope(acme):
        kind = TaskType.objects.create(slug="support", name="Support", input_schema={})
        AllowlistEntry.objects.create(task_type=kind, tool="web.fetch", state="auto", max_version="0.9.0", max_calls=2)
        fetch = registry.get("web.fetch")
        assert fetch is not None
        (one,), others = contract_pages.coverage_of(fetch)
    assert (one.fits, one.limits, others) == (False, "versions any to 0.9.0, 2 calls a run", 0)


@pytest.fixture
def two_versions() -> Iterator[Any]:
    """Register a tool whose second version loosens a bound, with hostile words in it."""
    first = lab_contract(
        name="lab.wipe",
        title="Wipe <script>alert(1)</script>",
        description="Wipes \u202e rows.",
        promises=Promises(sinks=frozenset({Sink.RECORDS}), bounds=Bounds(rows=CountBound(("amount_minor",), 10))),
    )
    second = replace(first, version="2.0.0", promises=replace(first.promises, bounds=Bounds()))
    for one in (first, second):
        registry.register(one, do_nothing, reconcile=no_trace)
    yield first, second
    for one in (first, second):
        registry.remove(one.name, one.version)


def test_the_versions_say_what_changed_and_since_when(
    signed_in: SignedIn, bob: User, acme: Tenant, two_versions: Any
) -> None:
    publishing.record(two_versions)
    shown = page(signed_in(bob), "contracts/lab.wipe")
    assert "Riskier: The rows of one call are not bounded any more." in shown
    assert "<script>alert(1)" not in shown
    assert "\u202e" not in shown
    assert "There is no example of a call that fits." in shown
    old = page(signed_in(bob), "contracts/lab.wipe/1.0.0")
    assert "The newest version is" in old
    assert "10 rows" in old


def test_a_card_links_to_the_contract_of_its_version(signed_in: SignedIn, bob: User, acme: Tenant) -> None:
    with tenant_scope(acme):
        open_shop(acme)
        drive(start("support-email", {"message_id": "M-0001"}).id)
        proposal = Proposal.objects.all()[0]
    shown = page(signed_in(bob), f"proposals/{proposal.pk}")
    assert f'href="/t/acme/contracts/{proposal.tool}/{proposal.contract_version}"' in shown


def test_the_number_of_statements_does_not_grow_with_versions_or_rules(
    acme: Tenant, django_assert_max_num_queries: Any
) -> None:
    with tenant_scope(acme):
        open_shop(acme)
        refund = registry.get("shop.issue_refund")
        assert refund is not None
        with django_assert_max_num_queries(5):
            contract_pages.coverage_of(refund)
            contract_pages.usage_of(refund.name, now=timezone.now())
            contract_pages.versions_of(refund)


def test_what_a_contract_names_is_picked_out_right_after_what_was_attacked() -> None:
    named = lab_contract(promises=Promises(attestations=("order_ref",)))
    ranks = {name: _rank(f"/{name}", named, ["/reason"]) for name in named.parameters}
    assert sorted(ranks, key=ranks.__getitem__) == ["reason", "order_ref", "amount_minor", "currency"]
    plain = lab_contract()
    assert _rank("/order_ref", plain, []) == _rank("/amount_minor", plain, [])


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"minLength": 3, "maxLength": 3}, "text, exactly 3 characters"),
        ({"maxLength": 1}, "text, at most 1 character"),
        ({"minLength": 1, "maxLength": 1_000}, "text, 1 to 1,000 characters"),
    ],
)
def test_the_size_of_a_text_is_said_in_plain_words(bounds: dict[str, Any], words: str) -> None:
    assert contract_pages.kind_of("reason", {"type": "string", **bounds}, {}) == words
