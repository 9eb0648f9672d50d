"""The health of a tool is one row that all workers share; what happens to its breaker is on record."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.utils import IntegrityError

from agentops.audit.services import load
from agentops.audit.verify import verify_tenant
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tests.approvals.threads import at_once
from tools import health
from tools.contracts import BreakerRules, ErrorCode, ToolContract
from tools.health import Admission, Admitted, Refused
from tools.models import ToolHealth
from tools.registry import registry

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
TOOL = "shop.find_order"


def contract(**changes: Any) -> ToolContract:
    found = registry.get(TOOL)
    assert found is not None
    return replace(found, **({"breaker": BreakerRules(failures=3, cool_down_s=30)} | changes))


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def ask(seconds: float = 0, tool: str = TOOL, **more: Any) -> Admission:
    limited = contract(rate_per_minute=more.pop("limit", None))
    return health.admit(tool, limited, now=at(seconds), **more)


def call(code: str | None, seconds: float = 0, **more: Any) -> None:
    """Make one call that ends like this; it must be admitted."""
    admitted = ask(seconds)
    assert isinstance(admitted, Admitted)
    health.report(TOOL, contract(), admitted, outcome_code=code, now=at(seconds), **more)


def breaker_events() -> list[tuple[str, dict[str, Any]]]:
    return [(event.type, event.data) for event in load("tenant") if event.type.startswith("breaker.")]


def test_a_tool_that_works_costs_one_query_and_no_write(scoped: Tenant, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        call(None)
    with django_assert_num_queries(1):
        call(ErrorCode.NOT_FOUND)
    assert not ToolHealth.objects.exists()


@pytest.mark.parametrize(
    "code", ["timeout", "unavailable", "rate_limited", "internal", "outcome_unknown", "output_invalid"]
)
def test_it_trips_on_what_says_that_something_is_wrong_with_the_tool(scoped: Tenant, code: str) -> None:
    for _ in range(3):
        call(code)
    assert isinstance(ask(), Refused)


@pytest.mark.parametrize(
    "code", ["conflict", "not_found", "invalid_input", "permission_denied", "policy_blocked", "budget_exceeded"]
)
def test_it_does_not_trip_on_answers_of_a_tool_that_works_or_on_our_own_refusals(scoped: Tenant, code: str) -> None:
    for _ in range(30):
        call(code)
    assert ask() == Admitted(clean=True)


def test_the_row_is_tidied_up_by_successes_and_then_left_alone(scoped: Tenant, django_assert_num_queries: Any) -> None:
    call("timeout")
    for _ in range(20):
        call(None)
    assert ToolHealth.objects.get().window == ""
    with django_assert_num_queries(1):
        call(None)


def test_every_trip_probe_and_close_is_on_record_with_the_counts_and_the_run(scoped: Tenant) -> None:
    run = uuid4()
    for _ in range(3):
        call("timeout", run_id=run)
    probe = ask(30, run_id=run)
    assert isinstance(probe, Admitted)
    health.report(TOOL, contract(), probe, outcome_code="unavailable", now=at(31), run_id=run)
    probe = ask(91, run_id=run)
    assert isinstance(probe, Admitted)
    health.report(TOOL, contract(), probe, outcome_code=None, now=at(92), run_id=run)

    counts = {"tool": TOOL, "failures_in_a_row": 3, "failed": 3, "calls": 3}
    more = {"tool": TOOL, "failures_in_a_row": 4, "failed": 4, "calls": 4}
    until = {"until": at(30).isoformat(), "cool_down_s": 30}
    later = {"until": at(91).isoformat(), "cool_down_s": 60}
    assert breaker_events() == [
        ("breaker.opened", {**counts, **until, "reason": "failures in a row", "code": "timeout"}),
        ("breaker.probed", {**counts, "reason": "the pause is over", "probe": 1}),
        ("breaker.opened", {**more, **later, "reason": "the probe failed", "code": "unavailable", "probe": 1}),
        ("breaker.probed", {**more, "reason": "the pause is over", "probe": 2}),
        ("breaker.closed", {**more, "reason": "the probe succeeded", "probe": 2}),
    ]
    recorded = [event for event in load("tenant") if event.type.startswith("breaker.")]
    assert {event.run_id for event in recorded} == {run}
    assert {event.tool for event in recorded} == {TOOL}
    assert {event.subject for event in recorded} == {("toolhealth", str(ToolHealth.objects.get().pk))}
    assert [event.at for event in recorded] == [at(0), at(30), at(31), at(91), at(92)]


def test_a_probe_that_says_nothing_about_the_tool_passes_its_turn_on(scoped: Tenant) -> None:
    for _ in range(3):
        call("timeout")
    for number, code in enumerate(("policy_blocked", "budget_exceeded"), start=1):
        probe = ask(30 + number)
        assert probe == Admitted(probe=number)
        health.report(TOOL, contract(), Admitted(probe=number), outcome_code=code, now=at(30 + number))
    assert ask(32) == Admitted(probe=3)


def test_tools_and_tenants_have_breakers_of_their_own(
    acme: Tenant, globex: Tenant, in_tenant: Callable[[Tenant], Any]
) -> None:
    with in_tenant(acme):
        for _ in range(3):
            call("timeout")
        assert isinstance(ask(), Refused)
        assert ask(tool="mail.read") == Admitted(clean=True)
    with in_tenant(globex):
        assert ask() == Admitted(clean=True)


def test_the_limit_of_the_contract_holds_for_all_callers_together(scoped: Tenant) -> None:
    answers = [ask(limit=6) for _ in range(3)]
    assert answers[0] == Admitted(clean=True)
    assert [answer.retry_at for answer in answers if isinstance(answer, Refused)] == [at(10), at(20)]
    assert ask(10, limit=6, promised=at(10)) == Admitted(clean=True)
    assert isinstance(ask(10, limit=6), Refused)


def test_a_rule_of_the_allowlist_replaces_the_limit_of_the_contract(scoped: Tenant) -> None:
    assert [type(ask(limit=6, rate_per_minute=60)) for _ in range(7)] == [Admitted] * 6 + [Refused]


def test_a_person_opens_closes_and_resets_it_and_that_is_on_record(scoped: Tenant) -> None:
    assert health.hold(TOOL, actor=SYSTEM, now=NOW)
    assert not health.hold(TOOL, actor=SYSTEM, now=NOW)
    assert isinstance(ask(10**6), Refused)
    assert health.close(TOOL, actor=SYSTEM, now=NOW)
    assert not health.close(TOOL, actor=SYSTEM, now=NOW)
    assert ask() == Admitted(clean=True)
    call("timeout")
    assert health.reset(TOOL, actor=SYSTEM, now=NOW)
    assert not health.reset(TOOL, actor=SYSTEM, now=NOW)
    assert [type_ for type_, _ in breaker_events()] == ["breaker.opened", "breaker.closed", "breaker.reset"]
    assert not verify_tenant().findings


def test_the_database_knows_only_three_states(scoped: Tenant) -> None:
    with pytest.raises(IntegrityError):
        ToolHealth.objects.create(tool=TOOL, state="ajar")


# --- many workers at once -------------------------------------------------------------------------------------------

WORKERS = 12


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
class TestManyWorkersAtOnce:
    def in_acme(self, tenant: Tenant, what: Callable[[], Admission | None]) -> list[Admission | None]:
        def one() -> Admission | None:
            with tenant_scope(tenant):
                return what()

        return at_once([one] * WORKERS)

    def test_there_is_always_exactly_one_probe(self, acme: Tenant) -> None:
        with tenant_scope(acme):
            for _ in range(3):
                call("timeout")
        seconds = 30.0
        for number in range(1, 31):
            answers = self.in_acme(acme, lambda when=seconds: ask(when))  # type: ignore[misc]
            probes = [answer for answer in answers if isinstance(answer, Admitted)]
            assert probes == [Admitted(probe=number)]
            refused = [answer for answer in answers if isinstance(answer, Refused)]
            assert len(refused) == WORKERS - 1
            with tenant_scope(acme):
                row = ToolHealth.objects.get()
                assert row.probe_until is not None
                # Every other prober dies; its lease is what ends.
                if number % 2:
                    seconds = (row.probe_until - NOW).total_seconds()
                else:
                    health.report(TOOL, contract(), probes[0], outcome_code="timeout", now=at(seconds))
                    row.refresh_from_db()
                    assert row.open_until is not None
                    seconds = (row.open_until - NOW).total_seconds()
        with tenant_scope(acme):
            assert [type_ for type_, _ in breaker_events()].count("breaker.probed") == 30
            assert not verify_tenant().findings

    def test_it_trips_once_however_many_calls_fail_together(self, acme: Tenant) -> None:
        def fail() -> None:
            health.report(TOOL, contract(), Admitted(clean=True), outcome_code="timeout", now=NOW)

        self.in_acme(acme, fail)
        with tenant_scope(acme):
            assert [type_ for type_, _ in breaker_events()] == ["breaker.opened"]
            assert ToolHealth.objects.get().window == "xxx"

    def test_no_token_is_given_out_twice(self, acme: Tenant) -> None:
        for _ in range(5):
            answers = self.in_acme(acme, lambda: ask(limit=60))
            with tenant_scope(acme):
                health.reset(TOOL, actor=SYSTEM, now=NOW)
            turns = sorted(answer.retry_at for answer in answers if isinstance(answer, Refused))
            assert turns == [at(second) for second in range(1, 7)]
