"""Every address of a tenant, with every method, for an object of somebody else: there is nothing to see there.

The addresses come from the URLconf, so a new one is tested as soon as it exists, and fails here until it has a sample.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from agentops.audit.models import Event, Export
from agentops.budgets.models import Account, Budget
from agentops.halts.models import Halt
from agentops.memory.models import Fact
from agentops.metrics.models import Alarm
from agentops.prompts.services import built_in
from agentops.providers.models import ModelPrice
from agentops.regression.exporting import recording_of
from agentops.regression.models import Case, CaseResult, ImportedRun, Rehearsal, SuiteRun
from agentops.retention.models import Hold, Periods
from agentops.runs.models import OutputRules, Run, TaskType, ToolCall
from agentops.screening.models import Screening
from agentops.tenancy.access import SYSTEM, TOKEN_SCOPES
from agentops.tenancy.models import Membership, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import add_member, issue_token
from agentops.webhooks.models import Endpoint
from agentops.wire.ids import uuid7
from approvals.models import Absence, BandRule, PolicyVersion, Proposal, RiskWeights, SavedView, ScopedTrust, Shift
from tests.conftest import person
from tests.shop import drive, open_shop, start
from tools.backoffice import models as backoffice
from tools.backoffice.models import Colleague, SystemRole
from tools.models import AllowedHost, AllowlistChange, HostChange, ToolHealth

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
OBJECTS: Mapping[str, type[models.Model]] = {
    "proposal": Proposal,
    "decide": Proposal,
    "values": Proposal,
    "similar": Proposal,
    "together": Run,
    "risk_decide": RiskWeights,
    "retention_decide": Periods,
    **dict.fromkeys(("hold_ask", "hold_answer"), Hold),
    "policy_decide": PolicyVersion,
    "trust_give": Proposal,
    "trust_revoke": ScopedTrust,
    "allowlist_change": AllowlistChange,
    "allowlist_decide": AllowlistChange,
    "allowlist_cell": TaskType,
    "host_change": HostChange,
    "host_decide": HostChange,
    **dict.fromkeys(("claim", "release", "renew", "assign", "hold", "resume"), Proposal),
    "view_remove": SavedView,
    "section_seen": Proposal,
    "step_up": Proposal,
    "undo": Proposal,
    "ask": Proposal,
    "escalate": Proposal,
    "extend": Proposal,
    "absence_end": Absence,
    "run": Run,
    "run_artifacts": Run,
    "run_cancel": Run,
    "run_exchange": Run,
    "run_pause": Run,
    "run_resume": Run,
    "run_requeue": Run,
    **dict.fromkeys(("run_steps", "run_export", "run_promote"), Run),
    "proposal_case": Proposal,
    "run_import_steps": ImportedRun,
    "run_suite": SuiteRun,
    **dict.fromkeys(("run_rehearsal", "run_rehearsal_stop"), Rehearsal),
    "run_result_steps": CaseResult,
    **dict.fromkeys(("run_case", "run_case_quarantine", "run_case_retire"), Case),
    "unknown": ToolCall,
    "unknown_answer": ToolCall,
    "stop_lift": Halt,
    "fact": Fact,
    **dict.fromkeys(("alarm", "alarm_acknowledge", "alarm_reset"), Alarm),
    **dict.fromkeys(("webhook", "webhook_change", "webhook_switch", "webhook_rotate"), Endpoint),
    **dict.fromkeys(("webhook_test", "webhook_remove"), Endpoint),
    "fact_curate": Fact,
    "audit_event": Event,
    "audit_export_file": Export,
    "api-run": Run,
    "api-run-events": Run,
    "api-run-exchange": Run,
    "api-run-cancel": Run,
    "api-run-pause": Run,
    "api-run-resume": Run,
}
"""Name of a route with a parameter -> whose id it takes. Pages of the admin say themselves which model they show."""

POSTED = frozenset(
    {
        *(
            "decide",
            "risk_decide",
            "retention_decide",
            "hold_ask",
            "hold_answer",
            "allowlist_decide",
            "host_decide",
            "policy_decide",
            "trust_revoke",
            "fact_curate",
            "unknown_answer",
            "stop_lift",
            "run_exchange",
        ),
        *("claim", "release", "renew", "assign", "hold", "resume", "view_remove"),
        *("alarm_acknowledge", "alarm_reset"),
        *("webhook_change", "webhook_switch", "webhook_rotate", "webhook_test", "webhook_remove"),
        *("section_seen", "step_up", "ask", "undo", "escalate", "extend", "absence_end"),
        *("run_cancel", "run_pause", "run_resume", "run_requeue", "audit_export_file"),
        *("run_rehearsal_stop", "run_export", "run_promote", "proposal_case", "run_case_quarantine", "run_case_retire"),
    }
)
"""Routes that only take a form, and one about events that a playbook's run does not have (see `test_exchanges`)."""

FIGURES = {
    "since": 9,
    "failures": 5,
    "baseline_rate": 0.1,
    "baseline_runs": 500,
    "difference": [0.1, 0.5],
    "s": 5.0,
    "h": 4.9,
    "h_alone": 6.3,
    "steps": 6.0,
    "steps_h": 5.0,
    "usual_steps": 4.0,
}

NO_OBJECT = frozenset({"app_list", "contract"})
"""Routes whose parameter is no id."""


@dataclass(frozen=True)
class Route:
    """One pattern of the URLconf, as a template such as `runs/<pk>/cancel`."""

    template: str
    name: str
    parameters: tuple[str, ...]
    model: type[models.Model] | None = None

    def path(self, **values: object) -> str:
        """Return the address for these parameters."""
        return re.sub(r"<(\w+)>", lambda found: str(values[found[1]]), self.template)


@dataclass
class World:
    """A tenant with one row of everything."""

    tenant: Tenant
    rows: dict[type[models.Model], object] = field(default_factory=dict)


def routes(patterns: Any, before: str = "") -> Iterator[Route]:
    for pattern in patterns:
        written = before + str(pattern.pattern).lstrip("^")
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, written)
            continue
        assert isinstance(pattern, URLPattern)
        template = re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", written)).rstrip("$")
        parameters = tuple(re.findall(r"<(\w+)>", template))
        admin = getattr(pattern.callback, "model_admin", None)
        yield Route(template, pattern.name or "", parameters, admin.model if admin is not None else None)


TENANT_ROUTES = list(routes(get_resolver("agentops.tenant_urls").url_patterns))
API_ROUTES = [r for r in routes(get_resolver("agentops.urls").url_patterns) if r.template.startswith("api/v1/")]


def sample(route: Route) -> type[models.Model] | None:
    """Return the model whose id a route takes, or None when its parameters are no ids."""
    if not route.parameters or route.name in NO_OBJECT or route.template.endswith("<url>"):
        return None
    if route.name in OBJECTS:
        return OBJECTS[route.name]
    if route.name == "view_on_site":
        return Run
    assert route.model is not None, f"{route.template} has a parameter and no sample: add it to OBJECTS"
    return route.model


def values_of(route: Route, row: object) -> dict[str, object]:
    """Return the parameters that name a row."""
    content_type = ContentType.objects.get_for_model(Run).pk if "content_type_id" in route.parameters else None
    fixed = {"content_type_id": content_type, "seq": 1, "tool": "mail.read"}
    return {name: fixed.get(name, row) for name in route.parameters}


def build(tenant: Tenant) -> World:
    """Fill a tenant with one row of every model that an address can name."""
    world = World(tenant)
    with tenant_scope(tenant):
        open_shop(tenant)
        run = drive(start("support-email", {"message_id": "M-0001"}).id)
        issue_token(tenant=tenant, name="ci", scopes=["run.view"], actor=SYSTEM)
        order = backoffice.Order.objects.all()[0]
        wilma, key = order.customer, tenant.slug
        rows: list[models.Model] = [
            backoffice.Refund(order=order, ref="R-1", amount_minor=1, currency="EUR", reason="x", idempotency_key=key),
            backoffice.SentMessage(idempotency_key=key, to="a@example.com", subject="s", body="b", message_id="m"),
            backoffice.Ticket(ref="T-1", title="t", priority="low", idempotency_key=key),
            backoffice.RoleGrant(
                system="wiki", account="a@example.com", role="reader", reason="x", idempotency_key=key
            ),
            backoffice.Erasure(customer=wilma, reason="x", orders_kept=0, messages_erased=0, idempotency_key=key),
            Colleague(name="Cora", account="cora@example.com", title="Clerk"),
            SystemRole(system="wiki", role="reader", allows="Reading."),
            Fact(
                statement="s",
                words="s",
                source_run=run,
                source_seq=1,
                provenance={"sources": [], "integrity": "trusted"},
                untrusted=False,
                proposed_at=run.created_at,
                expires_at=run.created_at + timedelta(days=1),
            ),
            ToolHealth(tool="mail.read"),
            AllowedHost(host="api.example.com"),
            Screening(note="n"),
            Alarm(task_type="t", kind="planner", raised_at=run.created_at, started_at=run.created_at, body=FIGURES),
            Endpoint(name="w", url="https://hooks.example.com/"),
            ModelPrice(pattern="*", input_micros=1, output_micros=1, valid_from=run.created_at),
            AllowlistChange(
                version=1,
                body={"cells": []},
                note="n",
                narrows=False,
                proposed_by_id=whoever(tenant),
                proposed_at=run.created_at,
            ),
            HostChange(
                version=1,
                body={"before": None, "after": None, "wider": [], "new_credential": False},
                note="n",
                narrows=False,
                proposed_by_id=whoever(tenant),
                proposed_at=run.created_at,
            ),
            PolicyVersion(
                version=1,
                body={},
                note="n",
                proposed_by_id=whoever(tenant),
                proposed_at=run.created_at,
                effective_at=run.created_at,
            ),
            ScopedTrust(
                proposal=Proposal.objects.all()[0],
                task_type=run.task_type,
                tool="mail.read",
                contract_digest="d",
                authority="{}",
                given_by_id=whoever(tenant),
                given_at=run.created_at,
                ends_at=run.created_at + timedelta(days=1),
            ),
            RiskWeights(version=1, body={}, note="n", proposed_by_id=whoever(tenant), proposed_at=run.created_at),
            Periods(
                version=1,
                body={},
                note="n",
                shortens=True,
                proposed_by_id=whoever(tenant),
                proposed_at=run.created_at,
            ),
            Hold(kind="tenant", matter="m", reason="r", placed_by_id=whoever(tenant), placed_at=run.created_at),
            BandRule(band="low", rationale_chars=5),
            OutputRules(rules={"actions": {"card": "block"}}),
            Shift(user_id=whoever(tenant), starts_at=run.created_at, ends_at=run.created_at + timedelta(days=1)),
            Absence(
                user_id=whoever(tenant),
                delegate=person(f"deputy-{tenant.slug}", tenant, "viewer"),
                starts_at=run.created_at,
                ends_at=run.created_at + timedelta(days=1),
            ),
            Export(
                format="csv",
                requested_by_id=whoever(tenant),
                requested_at=run.created_at,
                upto=0,
                ended_at=run.created_at,
                expires_at=run.created_at + timedelta(days=7),
            ),
            budget := Budget(measure="runs", period="day", hard=1000),
            Account(budget=budget, period_start=run.created_at),
            Halt(
                scope="run", target="x", label="x", reason="x", started_at=run.created_at, started_by_id=whoever(tenant)
            ),
            ImportedRun(digest=key, body=recording_of(run, now=run.created_at).text(), imported_at=run.created_at),
            Case(
                suite="s",
                slug="c",
                task_type="support-email",
                title="t",
                body='{"expect":{"state":"succeeded"},"id":"c","input":{},"title":"t"}',
                source="run",
                created_at=run.created_at,
            ),
            Rehearsal(
                suite="s",
                release="r",
                repeat=1,
                asked_by_id=whoever(tenant),
                asked_at=run.created_at,
                trials=1,
                state="cancelled",
                ended_at=run.created_at,
            ),
            suite_run := SuiteRun(
                suite="s",
                release="r",
                repeat=1,
                verdict="passed",
                summary={},
                started_at=run.created_at,
                ended_at=run.created_at,
            ),
            CaseResult(suite_run=suite_run, slug="c", title="t", passes=1, trials=1),
            SavedView(
                name="v",
                query="taint:yes",
                owner_id=whoever(tenant),
                created_by_id=whoever(tenant),
                created_at=run.created_at,
            ),
        ]
        for row in rows:
            row.save()
        built_in("plan_first")
        world.rows = {Run: run.pk, Proposal: Proposal.objects.all()[0].pk, Event: Event.objects.order_by("pk")[0].pk}
        for model in {sample(route) for route in TENANT_ROUTES} - {None, *world.rows}:
            assert model is not None
            found = model._default_manager.first()
            if found is not None:
                world.rows[model] = found.pk
    return world


def whoever(tenant: Tenant) -> int:
    """Return some member of the tenant."""
    return Membership.objects.filter(tenant=tenant).values_list("user_id", flat=True)[0]


@pytest.fixture
def own(acme: Tenant, bob: User) -> World:
    return build(acme)


@pytest.fixture
def foreign(globex: Tenant, charlie: User) -> World:
    return build(globex)


def ask(client: Client, method: str, path: str, **headers: str) -> HttpResponse:
    """Send a request and undo whatever it did."""
    with transaction.atomic():
        answer = client.generic(method, path, headers=headers)
        transaction.set_rollback(True)
    assert isinstance(answer, HttpResponse)
    return answer


def shape(answer: HttpResponse, row: object) -> tuple[object, ...]:
    """Return what a reader can tell about an answer besides the id they typed."""
    return answer.status_code, re.sub(rf"{re.escape(str(row))}(?=/|$)", "<id>", answer.get("Location", ""))


REFUSED_WHATEVER_THE_ID = {302, 403, 405}
"""Not for this role, not with this method, or the history page of the admin, which is a link to the own audit list."""


def follow(client: Client, method: str, answer: HttpResponse) -> HttpResponse:
    """Go where an old address of the admin points to."""
    target = answer.get("Location", "")
    return ask(client, method, target) if answer.status_code in (301, 302) and "/change/" in target else answer


def test_every_route_with_a_parameter_has_a_sample() -> None:
    found = {route.name for route in (*TENANT_ROUTES, *API_ROUTES) if route.parameters and sample(route) is not None}
    assert set(OBJECTS) <= found
    assert len(found) > 20


@pytest.mark.django_db
@pytest.mark.parametrize("who", ["bob", "alice", "sam"])
def test_an_object_of_another_tenant_is_not_found_below_the_own_tenant(
    own: World, foreign: World, who: str, request: pytest.FixtureRequest
) -> None:
    client = Client()
    client.force_login(request.getfixturevalue(who), backend="allauth.account.auth_backends.AuthenticationBackend")
    wrong = []
    for route in TENANT_ROUTES:
        model = sample(route)
        if model is None:
            continue
        assert model in foreign.rows, f"no row of {model.__name__} to ask for: add one to build()"
        theirs, ours = foreign.rows[model], own.rows[model]
        path = f"/t/acme/{route.path(**values_of(route, theirs))}"
        mine = f"/t/acme/{route.path(**values_of(route, ours))}"
        for method in METHODS:
            answer = follow(client, method, ask(client, method, path))
            if answer.status_code == 404:
                continue
            expected = follow(client, method, ask(client, method, mine))
            refused = answer.status_code in REFUSED_WHATEVER_THE_ID and shape(answer, theirs) == shape(expected, ours)
            if not refused:
                wrong.append(f"{method} {path}: {answer.status_code} (own: {expected.status_code})")
    assert wrong == []


@pytest.mark.django_db
def test_the_same_pages_exist_for_the_own_objects(own: World, bob: User, alice: User) -> None:
    """The matrix would pass on a site that finds nothing at all."""
    client, admin = Client(), Client()
    client.force_login(bob, backend="allauth.account.auth_backends.AuthenticationBackend")
    admin.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")
    seen = 0
    for route in TENANT_ROUTES:
        model = sample(route)
        if model is None or route.name in {"view_on_site", *POSTED}:
            continue
        browser = admin if route.template.startswith("admin/") else client
        path = f"/t/acme/{route.path(**values_of(route, own.rows.get(model, 0)))}"
        answer = follow(browser, "GET", ask(browser, "GET", path))
        if issubclass(model, Proposal | Run | Fact | Event) or route.name.endswith("_change"):
            assert answer.status_code == 200, path
            seen += 1
    assert seen > 10


@pytest.mark.django_db
def test_no_address_of_another_tenant_exists_for_a_stranger(own: World, foreign: World, bob: User) -> None:
    client = Client()
    client.force_login(bob, backend="allauth.account.auth_backends.AuthenticationBackend")
    for slug in ("globex", "no-such-tenant"):
        for route in TENANT_ROUTES:
            model = sample(route)
            row = foreign.rows.get(model, "x") if model is not None else "x"
            path = f"/t/{slug}/{route.path(**values_of(route, row))}"
            answers = {method: ask(client, method, path).status_code for method in METHODS}
            assert set(answers.values()) == {404}, path


@pytest.mark.django_db
def test_nobody_gets_in_without_signing_in(own: World) -> None:
    client = Client()
    for route in TENANT_ROUTES:
        model = sample(route)
        row = own.rows.get(model, "x") if model is not None else "x"
        path = f"/t/acme/{route.path(**values_of(route, row))}"
        for method in METHODS:
            answer = ask(client, method, path)
            assert answer.status_code == 302, f"{method} {path}"
            assert answer["Location"].startswith("/sign-in?"), f"{method} {path}"


@pytest.mark.django_db
def test_a_foreign_id_and_one_that_never_existed_get_the_same_answer(own: World, foreign: World, bob: User) -> None:
    client = Client()
    client.force_login(bob, backend="allauth.account.auth_backends.AuthenticationBackend")
    unknown: dict[type[models.Model], object] = {
        **dict.fromkeys(
            (Run, Proposal, RiskWeights, AllowlistChange, PolicyVersion, ScopedTrust, ImportedRun, Case, SuiteRun),
            uuid7(),
        )
    }
    unknown |= dict.fromkeys((Event, Export, Fact, ToolCall, Halt, SavedView, Absence, TaskType, CaseResult), 2**40)
    unknown[Endpoint] = 2**40
    unknown |= dict.fromkeys((Alarm, Periods, Hold, Rehearsal, HostChange), uuid7())
    for name, model in OBJECTS.items():
        route = next(r for r in (*TENANT_ROUTES, *API_ROUTES) if r.name == name)
        if route in API_ROUTES:
            continue
        bodies = set()
        for row in (foreign.rows[model], unknown[model]):
            path = f"/t/acme/{route.path(**values_of(route, row))}"
            bodies.add(ask(client, "POST" if name in POSTED else "GET", path).content)
        assert len(bodies) == 1, name


@pytest.mark.django_db
def test_a_token_finds_nothing_of_another_tenant_over_the_api(own: World, foreign: World) -> None:
    with tenant_scope(own.tenant):
        _, plain = issue_token(tenant=own.tenant, name="robot", scopes=TOKEN_SCOPES, actor=SYSTEM)
    client, wrong = Client(raise_request_exception=False), []
    for route in API_ROUTES:
        model = sample(route)
        if model is None:
            continue
        for method in METHODS:
            answers = [
                ask(client, method, f"/{route.path(**values_of(route, row))}", authorization=f"Bearer {plain}")
                for row in (foreign.rows[model], own.rows[model])
            ]
            theirs, mine = (answer.status_code for answer in answers)
            if theirs != 404 and not (theirs == mine and (theirs == 405 or method == "OPTIONS")):
                wrong.append(f"{method} {route.template}: {theirs} (own: {mine})")
    assert wrong == []


@pytest.mark.django_db
def test_without_a_token_the_api_answers_nothing(own: World) -> None:
    client = Client(raise_request_exception=False)
    for route in API_ROUTES:
        model = sample(route)
        path = f"/{route.path(**values_of(route, own.rows[model] if model is not None else 'x'))}"
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            assert ask(client, method, path).status_code in (401, 404, 405), f"{method} {path}"


@pytest.mark.django_db
def test_a_member_of_both_tenants_still_sees_one_at_a_time(own: World, foreign: World) -> None:
    both = person("petra", own.tenant, "operator")
    add_member(tenant=foreign.tenant, user=both, role="operator", actor=SYSTEM)
    client = Client()
    client.force_login(both, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert ask(client, "GET", f"/t/globex/proposals/{foreign.rows[Proposal]}").status_code == 200
    assert ask(client, "GET", f"/t/acme/proposals/{foreign.rows[Proposal]}").status_code == 404
    assert str(foreign.rows[Proposal]) not in ask(client, "GET", "/t/acme/queue").content.decode()
