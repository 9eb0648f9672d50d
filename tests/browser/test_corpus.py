"""Each of more than three hundred hostile texts, in every slot of a card at once, in a real browser.

Nothing is made of any of them, nothing is asked for, every character without a shape is drawn where it stands, and what
was proposed can be read back from the page to the last code point.
"""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSONObject
from approvals import services
from approvals.models import Proposal
from tests.approvals.conftest import NOW, Desk, make_desk
from tests.approvals.contracts import LOOK_UP, do_nothing
from tests.approvals.lab import EVERYTHING, put, registered
from tests.browser.conftest import OpenBrowser, Watch
from tests.browser.payloads import MARK, corpus
from tests.browser.test_hostile_text import MADE_OF_TEXT
from tools.contracts import Blast, Change, Consequence, Fact
from tools.registry import registry

pytestmark = pytest.mark.browser

# Swap a card in as the queue does, open everything that folds, and return: what was made of text, what is not seen, the
# text of the card with each mark read back, and the code points that marks stand for but do not name.
LOOK = """async ([address, mark]) => {
  await htmx.ajax("GET", address, { target: "#card", swap: "outerHTML" });
  const card = document.querySelector("#card");
  for (const one of card.querySelectorAll("details")) one.open = true;
  for (const one of card.querySelectorAll(".draft")) one.hidden = false;
  const points = (list) => list.split(" ").map((one) => {
    const [code, times] = one.split("*");
    return String.fromCodePoint(parseInt(code, 16)).repeat(Number(times || 1));
  }).join("");
  const hidden = new RegExp("[" + [
    "\\u0000-\\u0008\\u000b-\\u001f\\u007f-\\u009f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f",
    "\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff9-\\ufffb\\u{e0000}-\\u{e0fff}",
  ].join("") + "]", "u");
  let text = "";
  const unseen = [], unnamed = [];
  const walk = (node) => {
    if (node.nodeType === Node.TEXT_NODE) {
      if (hidden.test(node.data)) unseen.push(node.parentElement.outerHTML.slice(0, 200));
      text += node.data;
      return;
    }
    if (["textarea", "script", "template"].includes(node.localName) || node.classList?.contains("vh")) return;
    if (node.dataset?.cp !== undefined) {
      text += points(node.dataset.cp);
      const box = node.getBoundingClientRect();
      if (!(box.width > 0 && box.height > 0)) unnamed.push(`no size: ${node.outerHTML}`);
      if (node.classList.contains("cp")) {
        for (const one of node.dataset.cp.split(" ")) {
          const code = parseInt(one, 16), named = one.split("*")[0].padStart(4, "0");
          const tag = code >= 0xe0000 && code <= 0xe007f, combining = node.textContent.includes("COMBINING MARKS");
          const ranges = [...node.textContent.matchAll(/U\\+([0-9A-F]+)\\u2013U\\+([0-9A-F]+)/g)];
          const within = ranges.some(([, low, high]) => code >= parseInt(low, 16) && code <= parseInt(high, 16));
          const drawn = node.textContent.includes(`U+${named}`) || within || tag || combining;
          if (!drawn) unnamed.push(`${one}: ${node.textContent}`);
        }
      }
      return;
    }
    for (const child of node.childNodes) walk(child);
  };
  walk(card);
  return [text, unseen, unnamed, mark in window];
}"""


@pytest.fixture
def lab(transactional_db: None, scoped: Tenant) -> Iterator[Desk]:
    registry.register(LOOK_UP, do_nothing)
    yield make_desk(scoped)
    registry.remove(LOOK_UP.name, LOOK_UP.version)


def slot(name: str, payload: str) -> str:
    """Put a payload between marks by which its place on the page is found again."""
    return f"\u00a7{name}\u00a7{payload}\u00a7"


def call(payload: str) -> JSONObject:
    """Return the arguments of a call, the payload in each of them."""
    return {
        "method": slot("method", payload),
        "url": slot("url", payload),
        "headers": [{"name": slot("header", payload), "value": slot("value", payload)}],
        "request": slot("request", payload),
        "sender": f"{slot('sender', payload)}@a.example",
        "to": [f"{slot('to', payload)}@a.example"],
        "subject": slot("subject", payload),
        "letter": slot("letter", payload),
        "html": slot("html", payload),
        "attachments": [{"name": slot("attached", payload), "type": slot("type", payload)}],
        "statement": slot("statement", payload),
        "bound": [slot("bound", payload)],
        "path": slot("path", payload),
        "content": slot("content", payload),
        "mode": slot("mode", payload),
        "command": slot("command", payload),
        "link": slot("link", payload),
        "due": slot("due", payload),
        "account": {"holder": slot("holder", payload), "notes": [slot("notes", payload)]},
        "plain": slot("plain", payload),
    }


def records(payload: str) -> Consequence:
    """Return what our own records say, as if they held the payload everywhere."""
    return Consequence(
        "Does everything",
        blast=(Blast(slot("kind", payload), 2, slot("detail", payload)),),
        egress=(slot("egress", payload),),
        facts=(Fact(slot("label", payload), slot("fact", payload)),),
        warnings=(slot("warning", payload),),
        changes=(Change(slot("field", payload), slot("before", payload), slot("after", payload)),),
    )


WHOLE = (
    *("method", "url", "header", "value", "request", "subject", "letter", "html", "attached", "type", "statement"),
    *("bound", "path", "content", "mode", "link", "due", "holder", "notes", "plain", "evidence", "explanation"),
    *("kind", "detail", "egress", "label", "fact", "warning", "field", "before", "after"),
)
"""Slots that are shown whole; addresses are taken apart at commas and commands at blanks."""


def look(page: Page, proposal: Proposal, payload: str, slots: tuple[str, ...]) -> None:
    text, unseen, unnamed, ran = page.evaluate(LOOK, [f"/t/acme/proposals/{proposal.pk}", MARK])
    assert unseen == [], payload
    assert unnamed == [], payload
    assert not ran, payload
    assert page.evaluate(MADE_OF_TEXT, MARK) == [], payload
    missing = [name for name in slots if slot(name, payload) not in text]
    assert missing == [], payload


def test_no_payload_is_more_than_text_in_any_slot(
    lab: Desk, bob: User, watch: Watch, open_browser: OpenBrowser
) -> None:
    payloads = corpus()
    assert len(payloads) >= 300
    bob_acts = Actor.user(bob, ["operator"])
    made: list[tuple[Proposal, str]] = []
    for payload in payloads:
        with registered(records(payload)):
            found = put(
                lab,
                EVERYTHING,
                call(payload),
                source=slot("evidence", payload),
                explanation=slot("explanation", payload),
            )
        made.append((found, payload))
    with registered():
        page = open_browser(bob)
        page.goto(f"proposals/{made[0][0].pk}")
        for proposal, payload in made:
            # Of texts of several lines the difference is shown, in which what stayed is folded.
            folded = {"before", "after"} if "\n" in payload else set()
            look(page, proposal, payload, tuple(name for name in WHOLE if name not in folded))
        # What people write stands in the history of what was decided.
        for proposal, payload in made:
            told = services.reject(
                proposal_id=proposal.pk,
                actor=bob_acts,
                version=1,
                digest=proposal.digest,
                reason_code="other",
                note=slot("note", payload),
                now=NOW,
            )
            assert isinstance(told, services.Decided), told
            look(page, proposal, payload, ("note",))
        for proposal, payload in made[::20]:
            for address in (f"proposals/{proposal.pk}", f"proposals/{proposal.pk}/values"):
                page.goto(address)
                assert page.evaluate(MADE_OF_TEXT, MARK) == [], payload
    assert [url for url in watch.requested if MARK in url] == []
