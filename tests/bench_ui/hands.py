"""Somebody at the keyboard: reads which card is open, decides it by keys alone, and goes on with what comes next."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

from tests.bench_ui.people import PASSWORD, cookie_of
from tests.bench_ui.site import Site
from tests.bench_ui.world import Place

WATCHING = Path(__file__).with_name("watching.js")
GUARD_MS = 250
PATIENCE_S = 60.0
SLIP_MS = 270
"""A second stroke that comes sooner is taken for a slip of the finger."""

UNTIL = """const until = (look) => new Promise((done, fail) => {
  const ends = performance.now() + PATIENCE;
  const again = () => {
    const found = look();
    if (found) done(found);
    else if (performance.now() > ends) fail(new Error("nothing came of it"));
    else requestAnimationFrame(again);
  };
  again();
});""".replace("PATIENCE", str(PATIENCE_S * 1000))
"""Look once for each frame, in the page: asking again and again from outside costs the processor that is measured."""

OPEN = f"""was => {{ {UNTIL}
  return until(() => {{
    const card = document.querySelector("#card[data-id][data-status=pending][data-live]");
    return card && card.dataset.id !== was && [card.dataset.id, card.dataset.band];
  }});
}}"""
ASKED = f"""() => {{ {UNTIL}
  return until(() => document.querySelector("#card[data-live]") &&
    !document.querySelector("#gates .gate[data-code=not_opened]"));
}}"""
STANDING = f"""was => {{ {UNTIL}
  const seen = (selector) => [...document.querySelectorAll(selector)].find(one => one.getClientRects().length);
  const state = () => {{
    const card = document.querySelector("#card[data-id]");
    if (!card || card.dataset.id !== was || card.dataset.status !== "pending") return "gone";
    if (card.matches(".htmx-request") || card.querySelector(".htmx-request:not(details)")) return "";
    if (seen("#card input[type=password]")) return "password";
    if (!card.hasAttribute("data-live")) return "";
    if (seen(".draft form")) return "form";
    if (seen("#card .quorum")?.textContent.includes("so far")) return "agreed";
    return document.querySelector("[data-armed]") ? "armed" : "idle";
  }};
  return until(state);
}}"""
"""What a card asks for next, once it has answered and its keys are live; `gone` when it is another one."""

READ = f"""() => {{ {UNTIL}
  return until(() => !document.querySelector("#gates .gate[data-opens]:not([data-done])"));
}}"""
WINDOW_S = """() => Number(
  document.querySelector("#gates .gate[data-code=too_early]")?.textContent.match(/(\\d+) s/)?.[1] ?? 0)"""
"""For how long a card wants to be read, as it says itself."""

UNSEEN = "#card details[data-must-see]:not([open]) > summary"
"""Sections that have to be opened before a card of a high band can be approved."""

TRUE_VALUES = """() => {
  const said = [...document.querySelectorAll("#card .args dd")].map(one => one.textContent);
  return [...document.querySelectorAll(".draft fieldset.attest")].map(question => {
    const options = [...question.querySelectorAll("label")];
    return options.find(one => said.some(text => text.includes(one.querySelector("bdi").textContent)))
      ?.querySelector("input");
  }).filter(Boolean).map(one => `input[name="${CSS.escape(one.name)}"][value="${CSS.escape(one.value)}"]`);
}"""
"""The options of each question about a value that stand among the arguments."""

UNASKED = "#gates .gate[data-code=not_opened]"
"""What stands on a card that nobody has asked for, as on the first one of a queue."""

WHY = "Checked against the order in our own records."


@dataclass(frozen=True, slots=True)
class Act:
    """What was decided: the proposal that was on the screen, its band, and the verdict that the keys gave.

    `final` unless somebody else has to agree first.
    """

    proposal: str
    band: str
    verdict: str
    final: bool = True


@dataclass
class Hands:
    """One person in one browser."""

    page: Page
    acts: list[Act] = field(default_factory=list)
    windows_s: float = 0.0
    """In which the cards that were approved had to be read, one after the other."""

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
        proposal, band = self.page.evaluate(OPEN, last)
        return str(proposal), str(band)

    def approve(self) -> None:
        """Approve what is open: one stroke, or as many as the card asks for."""
        proposal, band = self.wait_for_card()
        until = time.monotonic() + PATIENCE_S
        if band != "low":
            if self.page.locator(UNASKED).count():
                self._press("o")
                self.page.evaluate(ASKED)
            self.windows_s += self.page.evaluate(WINDOW_S)
        self._press("a")
        while (state := self.page.evaluate(STANDING, proposal)) not in ("gone", "agreed"):
            assert time.monotonic() < until, f"{proposal} ({band}) is still {state}: {self._told()}"
            if state == "password":
                self.page.locator("#card input[type=password]").focus()
                self.page.keyboard.type(PASSWORD)
                self._press("Enter")
            elif state == "form":
                self._fill_in()
                self._press("Control+Enter")
            elif state == "armed":
                self.page.wait_for_timeout(SLIP_MS)
                self.page.evaluate(READ)
                self._press("Enter")
            else:
                # It has come back: something of it was not there yet.
                self.page.evaluate(READ)
                self._press("a")
        self.acts.append(Act(proposal, band, "approve", final=state == "gone"))
        if state == "agreed":
            self._press("j")

    def _fill_in(self) -> None:
        """Open what has to be seen, pick what is true, say why, and wait until it has been read for long enough."""
        while (section := self.page.locator(UNSEEN).first).count():
            section.focus()
            self._press("Enter")
            self.page.wait_for_timeout(50)
        for option in self.page.evaluate(TRUE_VALUES):
            self.page.locator(option).last.focus()
            self._press("Space")
        note = self.page.locator(".draft:not([hidden]) textarea[name=note]")
        if note.count() and not note.input_value():
            note.focus()
            self.page.keyboard.type(WHY)
        self.page.evaluate(READ)

    def reject(self, note: str) -> None:
        """Reject what is open, with the reason `Duplicate` and a note."""
        proposal, band = self.wait_for_card()
        self._press("x")
        self.page.wait_for_function("document.activeElement?.matches('.draft select')")
        self.page.keyboard.type("Duplicate")
        for _ in range(8):
            self._press("Tab")
            if self.page.evaluate("document.activeElement?.name") == "note":
                break
        self.page.keyboard.type(note)
        self._press("Control+Enter")
        state = self.page.evaluate(STANDING, proposal)
        assert state == "gone", f"{proposal} ({band}) was not rejected: {state}, {self._told()}"
        self.acts.append(Act(proposal, band, "reject"))

    def _press(self, key: str) -> None:
        self.page.keyboard.press(key)

    def notes(self) -> Any:
        """Return what the page noted about itself."""
        return self.page.evaluate("window.benchNotes")

    def close(self) -> None:
        self.page.context.close()

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
