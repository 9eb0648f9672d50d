"""Every page: no axe violation in either theme on either screen, nothing sideways, no complaint of the browser."""

from collections.abc import Callable
from datetime import timedelta
from typing import Literal
from uuid import UUID

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Page

from agentops.audit.models import Event
from agentops.budgets.models import Budget
from agentops.memory.models import Fact
from agentops.memory.services import approve as curate
from agentops.metrics.rollup import roll_up
from agentops.runs.models import TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSON, JSONObject
from approvals.models import Proposal
from tests.browser import hostile
from tests.browser.conftest import OpenBrowser
from tests.conftest import person
from tests.deciding import approve
from tests.metrics.conftest import moved
from tests.metrics.histories import history
from tests.metrics.recorded import put
from tests.metrics.test_alarms import raise_one
from tests.shop import drive, only_proposal, receive, start, task_type
from tools.allowlist import AllowlistState
from tools.backoffice.models import InboxMessage

pytestmark = pytest.mark.browser

SCREENS = {"desktop": (1440, 900), "phone": (390, 844)}
FOR_STRANGERS = {"sign in": "/sign-in", "forgot": "/account/password/reset"}
UNFOLD = "document.querySelectorAll('details:not(.menu)').forEach(one => { one.open = true })"
TOO_WIDE = """() => {
  const page = document.documentElement;
  if (page.scrollWidth <= page.clientWidth) return "";
  const sticks = (one) => one.getBoundingClientRect().right > page.clientWidth + 1;
  const first = [...document.querySelectorAll("body *")].find(sticks);
  return `${page.scrollWidth} px wide: ${first?.outerHTML.slice(0, 120)}`;
}"""


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
    learning = drive(teach())
    proposed, approved = Fact.objects.order_by("pk")
    curate(fact_id=approved.pk, actor=actor_of(dana, shop), confirmed=True)
    event = Event.objects.filter(type="call.succeeded").latest("pk")
    Budget.objects.create(measure="cost_micros", period="month", hard=9_000_000)
    for seed in range(70):
        put(uuid7(), moved(history(seed), timezone.now() - timedelta(minutes=20 * seed)))
    while roll_up(timezone.now() + timedelta(days=1)):
        pass
    alarm = raise_one()
    kind = TaskType.objects.get(slug="support-email")
    return {
        "tenants": "/",
        "queue": "queue",
        "empty queue": "queue?q=band:critical",
        "filter that cannot be read": "queue?q=bnd:critical",
        "keys": "me/keys",
        "high, holding": f"proposals/{high.pk}?open=hold",
        "high": f"proposals/{high.pk}",
        "high, editing": f"proposals/{high.pk}?open=edit",
        "medium": f"proposals/{medium.pk}",
        "medium, rejecting": f"proposals/{medium.pk}?open=reject",
        "high, approving": f"proposals/{high.pk}?open=approve",
        "medium, handing on": f"proposals/{medium.pk}?open=handle",
        "receipt": f"proposals/{decided.pk}",
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
        "metrics": "metrics",
        "metrics of a day": "metrics?window=24h&task_type=support-email",
        "runs behind a point": "metrics/runs",
        "alarm": f"metrics/alarms/{alarm.pk}",
        "budgets": "budgets",
        "audit event": f"audit/events/{event.pk}",
        "submit": "submit",
        "submit form": "submit?task_type=customer-letter",
        "admin": "admin/",
        "task types": "admin/runs/tasktype/",
        "tool health": "admin/tools/toolhealth/",
        "playbook": "admin/runs/playbook/add/",
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


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with the page, everything on it unfolded."""
    page.evaluate(UNFOLD)
    # Without preloading: axe would copy our style sheets into style elements, which our policy rightly refuses.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    pages: dict[str, str], dana: User, open_browser: OpenBrowser, scheme: Literal["light", "dark"], screen: str
) -> None:
    found = {}
    for somebody, addresses in ((None, FOR_STRANGERS), (dana, pages)):
        page = open_browser(somebody, scheme=scheme, size=SCREENS[screen])
        for name, address in addresses.items():
            page.goto(address)
            if wrong := violations(page):
                found[name] = wrong
    assert not found


@pytest.mark.parametrize("width", [390, 320])
def test_no_page_scrolls_sideways_on_a_phone(
    pages: dict[str, str], dana: User, open_browser: OpenBrowser, width: int
) -> None:
    found = {}
    for somebody, addresses in ((None, FOR_STRANGERS), (dana, pages)):
        page = open_browser(somebody, size=(width, 700))
        for name, address in addresses.items():
            page.goto(address)
            page.evaluate(UNFOLD)
            if wide := page.evaluate(TOO_WIDE):
                found[name] = wide
    assert not found


OUT_OF_REACH = """() => {
  const fields = [...document.querySelectorAll("#allowlist-group :is(input, select)")];
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
    page.goto(pages["task type"])
    seen, cut = page.evaluate(OUT_OF_REACH)
    assert seen > 20
    assert cut == []
