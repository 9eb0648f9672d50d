"""Somebody at the keyboard: reads which card is open, decides it by keys alone, and goes on with what comes next."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.bench_ui.people import cookie_of
from tests.bench_ui.site import Site
from tests.bench_ui.world import Place

WATCHING = Path(__file__).with_name("watching.js")
GUARD_MS = 250
PATIENCE_S = 60.0
SLIP_MS = 270
"""A second stroke that comes sooner is taken for a slip of the finger."""

OPEN = """was => {
  const card = document.querySelector("#card[data-id][data-status=pending][data-live]");
  return Boolean(card && card.dataset.id !== was);
}"""
STANDING = """was => {
  const card = document.querySelector("#card[data-id]");
  if (!card || card.dataset.id !== was || card.dataset.status !== "pending") return "gone";
  if (document.querySelector(".draft:not([hidden])")) return "form";
  return document.querySelector("[data-armed]") ? "armed" : "idle";
}"""


@dataclass(frozen=True, slots=True)
class Act:
    """What was decided: the proposal that was on the screen, its band, and the verdict that the keys gave."""

    proposal: str
    band: str
    verdict: str


@dataclass
class Hands:
    """One person in one browser."""

    page: Page
    acts: list[Act] = field(default_factory=list)

    @classmethod
    def at(cls, browser: Browser, site: Site, place: Place, path: str) -> "Hands":
        """Open a page of a tenant as its first operator."""
        context = new_context(browser, site, place)
        page = context.new_page()
        page.goto(site.path(place, path))
        return cls(page)

    def wait_for_card(self) -> tuple[str, str]:
        """Wait until a card is live that was not decided yet; return its id and band."""
        last = self.acts[-1].proposal if self.acts else ""
        self.page.wait_for_function(OPEN, arg=last, timeout=PATIENCE_S * 1000, polling="raf")
        card = self.page.locator("#card")
        return str(card.get_attribute("data-id")), str(card.get_attribute("data-band"))

    def approve(self) -> None:
        """Approve what is open: one stroke, or as many as the card asks for."""
        proposal, band = self.wait_for_card()
        self.acts.append(Act(proposal, band, "approve"))
        until = time.monotonic() + PATIENCE_S
        self.page.keyboard.press("a")
        pressed = time.monotonic()
        while (state := self.page.evaluate(STANDING, proposal)) != "gone":
            assert time.monotonic() < until, f"{proposal} ({band}) is still {state}: {self._told()}"
            if state == "armed":
                self.page.wait_for_timeout(SLIP_MS)
                self.page.keyboard.press("Enter")
                self._gone(proposal, 1.0)
            elif time.monotonic() - pressed > 1:
                # Not yet: the card wants to be read first.
                self.page.keyboard.press("a")
                pressed = time.monotonic()
            else:
                self._gone(proposal, 0.1)

    def reject(self, note: str) -> None:
        """Reject what is open, with the reason `Duplicate` and a note."""
        proposal, band = self.wait_for_card()
        self.acts.append(Act(proposal, band, "reject"))
        self.page.keyboard.press("x")
        self.page.wait_for_function("document.activeElement?.matches('.draft select')")
        self.page.keyboard.type("Duplicate")
        self.page.keyboard.press("Tab")
        self.page.keyboard.type(note)
        self.page.keyboard.press("Control+Enter")
        assert self._gone(proposal, PATIENCE_S), f"{proposal} ({band}) was not rejected: {self._told()}"

    def notes(self) -> Any:
        """Return what the page noted about itself."""
        return self.page.evaluate("window.benchNotes")

    def close(self) -> None:
        self.page.context.close()

    def _gone(self, proposal: str, within_s: float) -> bool:
        until = time.monotonic() + within_s
        while self.page.evaluate(STANDING, proposal) != "gone":
            if time.monotonic() > until:
                return False
            self.page.wait_for_timeout(5)
        return True

    def _told(self) -> str:
        return str(self.page.locator("#notice, #toasts").all_inner_texts())[:500]


def new_context(browser: Browser, site: Site, place: Place) -> Any:
    """Return a browser context with nothing in its cache, signed in as the first operator."""
    context = browser.new_context(
        base_url=site.url, viewport={"width": 1440, "height": 900}, locale="en-GB", timezone_id="UTC"
    )
    context.add_init_script(path=WATCHING)
    cookie: Any = {"name": "sessionid", "value": cookie_of(place.operators[0]), "domain": "127.0.0.1", "path": "/"}
    context.add_cookies([cookie])
    return context
