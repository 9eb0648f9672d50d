"""Every page: no axe violation in any look on any screen, nothing sideways, no complaint of the browser."""

import re
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agentops.audit.models import Event
from agentops.budgets.models import Budget
from agentops.memory.models import Fact
from agentops.memory.services import approve as curate
from agentops.metrics.rollup import roll_up
from agentops.runs.models import TaskType, ToolCall
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.webhooks.models import Endpoint, Kind, Message
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSON, JSONObject
from approvals.models import Proposal, ScopedTrust
from approvals.permits import policies
from tests.browser import hostile
from tests.browser.access import faults, name_of, page_names
from tests.browser.conftest import OpenBrowser
from tests.conftest import person
from tests.deciding import approve, lose_the_answer
from tests.metrics.conftest import moved
from tests.metrics.histories import history
from tests.metrics.recorded import put
from tests.metrics.test_alarms import raise_one
from tests.shop import drive, only_proposal, receive, start, task_type
from tools.allowing import Changed, Wish, change
from tools.allowlist import AllowlistRule, AllowlistState
from tools.backoffice.models import InboxMessage

pytestmark = pytest.mark.browser

TENANT_URLS = "agentops.tenant_urls"
FOR_STRANGERS = {"sign in": "/sign-in", "forgot": "/account/password/reset"}
ELSEWHERE = {
    *("values", "similar", "together", "risk", "run_exchange"),
    *("retention", "run_compare", "run_rehearsal"),
    *("run_steps", "run_imports", "run_import_steps", "run_suites", "run_suite", "run_result_steps", "run_case"),
}
"""Pages whose samples are in `test_card_access`, `test_regression` and `test_records`.

An exchange needs a model, and shows what an artifact does; a result is the page of a record's steps.
"""

NO_PAGES = {"start", "live", "queue_newer", "queue_rows", "audit_export_file"}
"""Redirects, streams, files, and fragments of pages."""


@pytest.fixture
def dana(shop: Tenant) -> User:
    """Return somebody who may see every page of acme."""
    return person("dana", shop, "operator", "admin")


@pytest.fixture
def pages(shop: Tenant, dana: User, actor_of: Callable[[User, Tenant], Actor]) -> dict[str, str]:
    """Fill acme with something of everything, hostile mail included; return the address of every kind of page."""
    finished = drive(start("goodwill-refund", {"order_ref": "A-1003", "amount_minor": 700, "reason": "late"}).id)
    decided = only_proposal()
    approve(proposal_id=decided.pk, actor=actor_of(dana, shop), version=decided.version, digest=decided.digest)
    drive(finished.id)
    drive(start("goodwill-refund", {"order_ref": "A-1002", "amount_minor": 5000, "reason": "late"}).id)
    medium = only_proposal()
    InboxMessage.objects.all().delete()
    receive(hostile.MAIL)
    waiting = drive(start("support-email", {"message_id": "M-0001"}).id)
    high = Proposal.objects.get(run=waiting)
    assert (medium.risk_band, high.risk_band) == ("medium", "high")
    lost = drive(start("goodwill-refund", {"order_ref": "A-1001", "amount_minor": 900, "reason": "late"}).id)
    unsure = Proposal.objects.get(run=lost)
    approve(proposal_id=unsure.pk, actor=actor_of(dana, shop), version=unsure.version, digest=unsure.digest)
    lose_the_answer(unsure)
    learning = drive(teach())
    proposed, approved = Fact.objects.order_by("pk")
    curate(fact_id=approved.pk, actor=actor_of(dana, shop), confirmed=True)
    event = Event.objects.filter(type="call.succeeded").latest("pk")
    Budget.objects.create(measure="cost_micros", period="month", hard=9_000_000)
    for seed in range(70):
        put(uuid7(), moved(history(seed), timezone.now() - timedelta(minutes=20 * seed)))
    while roll_up(timezone.now() + timedelta(days=1)):
        pass
    hook = Endpoint.objects.create(name="ops", url="https://hooks.example.com/a", kinds=[Kind.ALARM.value], failures=2)
    alarm = raise_one()
    Message.objects.update(attempts=2, problem="It answered 503.")
    kind = TaskType.objects.get(slug="support-email")
    wish = Wish(kind.pk, AllowlistRule("mail.send", AllowlistState.AUTO, max_calls=1))
    widening = change(wishes=[wish], note="So that nobody waits.", actor=actor_of(dana, shop))
    assert isinstance(widening, Changed)
    assert widening.proposed is not None
    text = "policy: 1\nrules:\n  - {id: night, when: time.hour < 6, effect: gate, quorum: 2}\n"
    policies.propose(text=text, effective_at=None, note="So that nobody is woken.", actor=actor_of(dana, shop))
    now = timezone.now()
    ScopedTrust.objects.create(
        proposal=decided,
        task_type=kind,
        tool="mail.read",
        contract_digest="d",
        authority='{"message_id":"M-0001"}',
        given_by=dana,
        given_at=now,
        ends_at=now + timedelta(hours=4),
    )
    return {
        "tenants": "/",
        "queue": "queue",
        "empty queue": "queue?q=band:critical",
        "filter that cannot be read": "queue?q=bnd:critical",
        "keys": "me/keys",
        "tools": "contracts",
        "contract": "contracts/shop.issue_refund",
        "contract of a network tool": "contracts/http.request",
        "high, holding": f"proposals/{high.pk}?open=hold",
        "high": f"proposals/{high.pk}",
        "high, editing": f"proposals/{high.pk}?open=edit",
        "medium": f"proposals/{medium.pk}",
        "medium, rejecting": f"proposals/{medium.pk}?open=reject",
        "high, approving": f"proposals/{high.pk}?open=approve",
        "medium, handing on": f"proposals/{medium.pk}?open=handle",
        "receipt": f"proposals/{decided.pk}",
        "unknown effect": f"unknown/{ToolCall.objects.get(state='unknown').pk}",
        "stop": "stop",
        "my decisions": "me",
        "escalations": "escalations",
        "reject several": "queue/reject",
        "friction": "admin/approvals/bandrule/add/",
        "waiting run": f"runs/{waiting.pk}",
        "finished run": f"runs/{finished.pk}",
        "run with notes": f"runs/{learning.pk}",
        "artifacts": f"runs/{waiting.pk}/artifacts",
        "artifact": f"runs/{waiting.pk}/artifacts?call=1.read.0&name=text",
        "memory": "memory",
        "curation queue": "memory/queue",
        "fact to curate": f"memory/{proposed.pk}",
        "approved fact": f"memory/{approved.pk}",
        "runs": "runs",
        "audit": "audit",
        "audit, exports": "audit/exports",
        "audit, trace": f"audit/trace?q={decided.pk}",
        "metrics": "metrics",
        "metrics of a day": "metrics?window=24h&task_type=support-email",
        "runs behind a point": "metrics/runs",
        "alarm": f"metrics/alarms/{alarm.pk}",
        "budgets": "budgets",
        "webhooks": "webhooks",
        "webhook": f"webhooks/{hook.pk}",
        "audit event": f"audit/events/{event.pk}",
        "submit": "submit",
        "submit form": "submit?task_type=customer-letter",
        "admin": "admin/",
        "task types": "admin/runs/tasktype/",
        "tool health records": "admin/tools/toolhealth/",
        "allowed hosts": "admin/tools/allowedhost/add/",
        "playbook": "admin/runs/playbook/add/",
        "policy": "policy",
        "trusted calls": "trusts",
        "trust": f"proposals/{decided.pk}/trust",
        "allowlist": "admin/tools/allowlistentry/",
        "allowlist, one cell": f"admin/tools/allowlistentry/cell/{kind.pk}/mail.send/",
        "allowlist, changes": "admin/tools/allowlistentry/changes/",
        "allowlist, one change": f"admin/tools/allowlistentry/changes/{widening.proposed.change_id}/",
        "allowlist, import": "admin/tools/allowlistentry/import/",
        "task type": f"admin/runs/tasktype/{kind.pk}/change/",
        "not there": "runs/00000000-0000-7000-8000-000000000000",
    }


def teach() -> UUID:
    """Start a run that proposes a hostile and a plain fact, keeps a note, and then waits for a person."""
    tools = ("mail.read", "memory.propose_fact", "session.note")
    allow = dict.fromkeys(tools, AllowlistState.AUTO) | {"shop.issue_refund": AllowlistState.GATED}
    subject: JSON = {"$ref": "steps.mail.output.subject"}
    refund: JSONObject = {"order_ref": "A-1001", "amount_minor": 100, "currency": "EUR", "reason": "Late"}
    steps: list[JSONObject] = [
        {"id": "mail", "tool": "mail.read", "arguments": {"message_id": "M-0001"}},
        {"id": "bad", "tool": tools[1], "arguments": {"statement": subject, "expires_in_days": None}},
        {"id": "good", "tool": tools[1], "arguments": {"statement": "Tents are green", "expires_in_days": 9}},
        {"id": "note", "tool": tools[2], "arguments": {"name": "subject", "value": subject}},
        {"id": "refund", "tool": "shop.issue_refund", "arguments": refund},
    ]
    task_type(steps, allow)
    return start("job", {}).id


def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    pages: dict[str, str], dana: User, open_browser: OpenBrowser
) -> None:
    found = {}
    for somebody, addresses in ((None, FOR_STRANGERS), (dana, pages)):
        page = open_browser(somebody)
        for name, address in addresses.items():
            if wrong := faults(page, address):
                found[name] = wrong
    assert not found


def test_every_page_has_a_sample(pages: dict[str, str], signed_in: Callable[[User], Client], dana: User) -> None:
    """An address without a sample is none that a browser could open: it answers to nothing but a form."""
    inside = {name_of(address, TENANT_URLS) for address in pages.values() if not address.startswith(("/", "admin/"))}
    missing = page_names(TENANT_URLS).keys() - inside - ELSEWHERE - NO_PAGES
    client = signed_in(dana)
    opened = {}
    for name, path in page_names(TENANT_URLS).items():
        if name in missing:
            some = re.sub(r"<int:[^>]+>", "1", re.sub(r"<uuid:[^>]+>", str(UUID(int=1)), path))
            if (status := client.get(f"/t/acme/{some}").status_code) != 405:
                opened[name] = status
    assert not opened


OUT_OF_REACH = """() => {
  const fields = [...document.querySelectorAll(".cellform :is(input, select, textarea)")];
  const seen = fields.filter(one => one.type !== "hidden" && one.getClientRects().length);
  const cut = (one) => {
    const box = one.getBoundingClientRect();
    for (let up = one.parentElement; up; up = up.parentElement) {
      const limit = up.getBoundingClientRect();
      const style = getComputedStyle(up).overflowX;
      if (style !== "visible" && (box.right > limit.right + 1 || box.left < limit.left - 1)) return true;
    }
    return box.right > document.documentElement.clientWidth + 1;
  };
  return [seen.length, seen.filter(cut).map(one => one.name)];
}"""


@pytest.mark.parametrize("width", [1440, 1280, 1024, 768, 390, 320])
def test_every_field_of_the_allowlist_is_in_reach(
    pages: dict[str, str], dana: User, open_browser: OpenBrowser, width: int
) -> None:
    page = open_browser(dana, size=(width, 900))
    page.goto(pages["allowlist, one cell"])
    seen, cut = page.evaluate(OUT_OF_REACH)
    assert seen > 6
    assert cut == []
