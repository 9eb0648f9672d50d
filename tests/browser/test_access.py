"""Every page: no axe violation in either theme on either screen, nothing sideways, no complaint of the browser."""

from collections.abc import Callable
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Page

from agentops.audit.models import Event
from agentops.runs.models import TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from approvals.models import Proposal
from approvals.services import approve
from tests.browser import hostile
from tests.browser.conftest import OpenBrowser
from tests.conftest import person
from tests.shop import drive, only_proposal, receive, start
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
    event = Event.objects.filter(type="call.succeeded").latest("pk")
    kind = TaskType.objects.get(slug="support-email")
    return {
        "tenants": "/",
        "queue": "queue",
        "empty queue": "queue?band=critical",
        "high": f"proposals/{high.pk}",
        "high, editing": f"proposals/{high.pk}?open=edit",
        "medium": f"proposals/{medium.pk}",
        "medium, rejecting": f"proposals/{medium.pk}?open=reject",
        "receipt": f"proposals/{decided.pk}",
        "waiting run": f"runs/{waiting.pk}",
        "finished run": f"runs/{finished.pk}",
        "runs": "runs",
        "audit": "audit",
        "audit event": f"audit/events/{event.pk}",
        "submit": "submit",
        "submit form": "submit?task_type=customer-letter",
        "admin": "admin/",
        "task types": "admin/runs/tasktype/",
        "task type": f"admin/runs/tasktype/{kind.pk}/change/",
        "not there": "runs/00000000-0000-7000-8000-000000000000",
    }


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
