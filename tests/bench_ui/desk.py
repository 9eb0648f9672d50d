"""Must show 1, 2, 4 and 8 in a browser: first paint, keyboard scripts, layout shift, weight of the first load."""

import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, Response

from agentops.audit.packing import unpack
from agentops.audit.services import read
from agentops.engine.events import ProposalDecided
from tests.bench.report import Row
from tests.bench_ui import painting
from tests.bench_ui.hands import GUARD_MS, SLIP_MS, Act, Hands, new_context
from tests.bench_ui.seeding import fill
from tests.bench_ui.server import pick
from tests.bench_ui.site import Site, arriving, quantile
from tests.bench_ui.world import Place

MIX = {
    "low note": 60,
    "medium refund": 16,
    "medium letter": 8,
    "high access": 7,
    "high refund": 5,
    "critical refund": 4,
}
"""A hundred mixed proposals."""

WORDS = {"document": "html", "stylesheet": "style", "script": "script", "font": "fonts", "image": "images"}
REJECT_EVERY = 10
LOW = "queue?" + urlencode({"band": "low", "q": "band:low"})
"""The low part of the queue, by a field of the filter or by its line, whichever there is."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How often everything is done."""

    contexts: int = 30
    low: int = 50
    mixed: int = 100
    shifting: int = 50


# --- 1: first contentful paint ----------------------------------------------------------------------------------------


def first_paint(browser: Browser, site: Site, place: Place, counts: Counts) -> Iterator[Row]:
    """Open queue, card and floor page."""
    card = pick(site, place)[0]
    pages = {"queue": site.path(place, "queue"), "card": site.path(place, f"proposals/{card}")}
    above = dict.fromkeys(pages, 300)
    yield from painting.first_paint(browser, site, place, pages, contexts=counts.contexts, above=above)


# --- 2: by keyboard alone ---------------------------------------------------------------------------------------------


def low_by_keyboard(browser: Browser, site: Site, place: Place, counts: Counts) -> Iterator[Row]:
    """Approve low proposals of the long queue, one stroke each."""
    yield from _script(browser, site, place, LOW, counts.low, f"{counts.low} low", reject=False)


def mixed_by_keyboard(browser: Browser, site: Site, place: Place, counts: Counts) -> Iterator[Row]:
    """Approve and reject a hundred mixed proposals, every tenth rejected with a reason and a note."""
    size = sum(MIX.values())
    mix = {name: max(count * counts.mixed // size, 1) for name, count in MIX.items()}
    fill(site.deployment.sql, place, mix)
    [(waiting,)] = site.deployment.rows(
        "select count(*) from approvals_proposal where tenant_id = %s and status = 'pending'", place.tenant.pk
    )
    yield from _script(browser, site, place, "queue", min(counts.mixed, waiting), f"{counts.mixed} mixed", reject=True)


def _script(
    browser: Browser, site: Site, place: Place, path: str, count: int, name: str, *, reject: bool
) -> Iterator[Row]:
    before = _newest(site)
    hands = Hands.at(browser, site, place, path)
    hands.wait_for_card()
    began = time.monotonic()
    for number in range(count):
        if reject and number % REJECT_EVERY == REJECT_EVERY - 1:
            hands.reject("The same as before")
        else:
            hands.approve()
    script = [act for act in hands.acts if act.final]
    _settled(site, place, before, len(script))
    seconds = time.monotonic() - began
    notes = hands.notes()
    hands.close()
    twice = sum(act.band != "low" and act.verdict == "approve" for act in hands.acts)
    guarded = (count * GUARD_MS + twice * SLIP_MS) / 1000
    bands = {band: sum(act.band == band for act in hands.acts) for band in ("low", "medium", "high", "critical")}
    told = f"{guarded:.1f} s of it the guard, {hands.windows_s:.0f} s the reading windows of the cards; " + ", ".join(
        f"{number} {band}" for band, number in bands.items() if number
    )
    target = f"<= {18 * count / 50:.0f}" if not reject else f"<= {hands.windows_s + 40 * count / 100:.0f}"
    yield Row("keyboard", name, seconds, "s", target=target, note=told)
    if notes["strokes"]:
        p95 = quantile(notes["strokes"], 0.95)
        yield Row("keyboard", f"{name}: last key to next card painted, p95", p95, "ms", target="<= 150")
    yield Row("keyboard", f"{name}: times a pointer was used", notes["pointers"], "", target="0")
    wrong = compare(script, recorded(site, place, before))
    yield Row("keyboard", f"{name}: lost, doubled or mis-aimed", len(wrong), "", target="0", note="; ".join(wrong[:3]))


def _newest(site: Site) -> int:
    [(newest,)] = site.deployment.rows("select coalesce(max(id), 0) from audit_event")
    return int(newest)


def _settled(site: Site, place: Place, before: int, count: int) -> None:
    """Wait until the last answer is on record; a wrong number is found by the comparison afterwards."""
    until = time.monotonic() + 10
    while len(recorded(site, place, before)) < count and time.monotonic() < until:
        time.sleep(0.05)


def recorded(site: Site, place: Place, after: int) -> list[Act]:
    """Return what the audit trail of a tenant says was decided by people since an event, in the order of the record."""
    rows = site.deployment.rows(
        "select body, hash from audit_event where tenant_id = %s and id > %s order by id", place.tenant.pk, after
    )
    events = [event for body, digest in rows for event in read(unpack(body), bytes(digest))]
    return [
        Act(str(event.data["proposal_id"]), "", str(event.data["verdict"]))
        for event in events
        if event.type == ProposalDecided.type and event.actor["kind"] == "user"
    ]


def compare(script: list[Act], record: list[Act]) -> list[str]:
    """Return every difference between what the keys meant and what is on record: lost, doubled, mis-aimed."""
    meant, said = {act.proposal: act.verdict for act in script}, {act.proposal: act.verdict for act in record}
    wrong = [f"lost: {one}" for one in meant if one not in said]
    wrong += [f"nobody meant: {one}" for one in said if one not in meant]
    wrong += [
        f"{one}: {said[one]}, not {verdict}" for one, verdict in meant.items() if said.get(one, verdict) != verdict
    ]
    wrong += [f"{len(record) - len(said)} doubled"] * (len(record) != len(said))
    wrong += [f"the script went back to {len(script) - len(meant)}"] * (len(script) != len(meant))
    if not wrong and [act.proposal for act in script] != [act.proposal for act in record]:
        wrong.append("another order")
    return wrong


# --- 4: layout shift --------------------------------------------------------------------------------------------------


def layout_shift(browser: Browser, site: Site, place: Place, counts: Counts) -> Iterator[Row]:
    """Decide while five proposals arrive every second, and add up what moved that nobody had asked to move."""
    fill(site.deployment.sql, place, {"low note": counts.shifting + 60}, seed=2)
    hands = Hands.at(browser, site, place, "queue")
    hands.wait_for_card()
    with arriving(site.deployment, place, a_second=5):
        for _ in range(counts.shifting):
            hands.approve()
            # Longer than the half second in which a shift counts as asked for.
            hands.page.wait_for_timeout(600)
    notes = hands.notes()
    hands.close()
    name = f"{counts.shifting} decisions with five events a second"
    told = f"{notes['shifts']:.4f} with what follows a key within half a second"
    yield Row("layout shift", name, notes["unasked"], "", target="<= 0.001", note=told)


# --- 8: weight --------------------------------------------------------------------------------------------------------


def weight(browser: Browser, site: Site, place: Place) -> Iterator[Row]:
    """Load the queue into an empty cache; add up every answer as it is when it is compressed with gzip."""
    context = new_context(browser, site, place)
    page = context.new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(site.path(place, "queue"), wait_until="load")
    page.wait_for_timeout(500)
    sizes: dict[str, int] = {}
    for answer in answers:
        kind = answer.request.resource_type
        if kind != "eventsource":
            sizes[WORDS.get(kind, kind)] = sizes.get(WORDS.get(kind, kind), 0) + _compressed(answer)
    context.close()
    told = ", ".join(f"{kind} {size / 1000:.1f}" for kind, size in sorted(sizes.items(), key=lambda one: -one[1]))
    yield Row("weight", "first load, gzipped", sum(sizes.values()) / 1000, "kB", target="<= 60", note=told)
    yield Row("weight", "of it script", sizes.get("script", 0) / 1000, "kB", target="<= 28")


def _compressed(answer: Response) -> int:
    body: Any = answer.body()
    kind = answer.headers.get("content-type", "")
    return len(body) if "font" in kind or "image/png" in kind else len(gzip.compress(body, 6))
