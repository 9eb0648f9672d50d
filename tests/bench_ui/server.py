"""Must show 1, the server's part: how fast queue and card answer eight people at once, and with how many statements."""

import random
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection

from tests.bench.report import Row
from tests.bench_ui.people import cookie_of, signed_in
from tests.bench_ui.site import CORES, Site, Visitor, quantile
from tests.bench_ui.world import Place
from tests.proof.visitors import Page

AT_ONCE = 8
PICKED = 400
TARGET_MS = 100
STATEMENTS = 12
SLOW_MS = 5
SESSION = re.compile(r"set_config|current_setting", re.IGNORECASE)
"""Statements that name tenant and person to the database session, and take them back."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One kind of request: below the tenant, with the headers that the page itself would send."""

    name: str
    path: Callable[[random.Random], str]
    headers: dict[str, str] = field(default_factory=dict)


def asks(picked: Sequence[UUID], second_page: str) -> tuple[Ask, ...]:
    """Return what people ask for most: the whole page, the list alone, the card alone, and the next page."""
    fragment = {"HX_Request": "true"}
    return (
        Ask("queue, whole page", lambda rng: "queue"),
        Ask("queue, list only", lambda rng: "queue", fragment | {"HX_Target": "list"}),
        Ask("queue, next page", lambda rng: second_page, fragment | {"HX_Target": "list"}),
        Ask("queue, high only", lambda rng: "queue?band=high&q=band%3Ahigh", fragment | {"HX_Target": "list"}),
        Ask("card", lambda rng: f"proposals/{rng.choice(picked)}", fragment | {"HX_Target": "card"}),
        Ask("card, whole page", lambda rng: f"proposals/{rng.choice(picked)}"),
    )


def pick(site: Site, place: Place, band: str = "") -> list[UUID]:
    """Return some proposals that wait, far from their deadline, in any order."""
    rows = site.deployment.rows(
        "select id from approvals_proposal where tenant_id = %s and status = 'pending' and risk_band like %s "
        "and decide_by > now() + interval '2 hours' order by md5(id::text) limit %s",
        place.tenant.pk,
        band or "%",
        PICKED,
    )
    return [proposal_id for (proposal_id,) in rows]


def responses(site: Site, place: Place, *, seconds: float) -> Iterator[Row]:
    """Ask from eight connections at once, each request after the answer to the one before; one kind at a time."""
    kinds = asks(pick(site, place), _second_page(site, place))
    cookies = [cookie_of(user) for user in place.operators]
    floor = _measure(lambda: Visitor(site.floor_url), lambda rng: "/", {}, seconds / 2)
    beneath = quantile(floor, 0.95)
    yield Row("server", f"floor page, {AT_ONCE} at once, p95", beneath, "ms", note=f"{len(floor)} requests")
    for ask in kinds:
        number = iter(range(1000))

        def visitor(number: Iterator[int] = number) -> Visitor:
            return Visitor(site.url, cookies[next(number) % len(cookies)])

        def path(rng: random.Random, ask: Ask = ask) -> str:
            return site.path(place, ask.path(rng))

        _measure(visitor, path, ask.headers, seconds / 5)
        alone = _measure(visitor, path, ask.headers, seconds / 3, at_once=1)
        spent = _measure(visitor, path, ask.headers, seconds)
        told = f"one alone p50 {quantile(alone, 0.5):.0f} ms; {len(spent) / seconds:.0f} a second on {CORES} cores"
        p95 = quantile(spent, 0.95)
        yield Row("server", f"{ask.name}, {AT_ONCE} at once, p95", p95, "ms", p95 / beneath, f"<= {TARGET_MS}", told)
    yield _decisions(site, place, cookies, seconds)


def _second_page(site: Site, place: Place) -> str:
    status, body = Visitor(site.url, cookie_of(place.operators[0])).get(site.path(place, "queue"))
    found = re.search(r'href="[^"]*/(queue\?[^"]*after=[^"]*)"', body.decode())
    assert status == 200, body.decode()[:500]
    return found[1].replace("&amp;", "&") if found else "queue"


def _measure(
    visitor: Callable[[], Visitor],
    path: Callable[[random.Random], str],
    headers: dict[str, str],
    seconds: float,
    *,
    at_once: int = AT_ONCE,
) -> list[float]:
    """Return how long each answer took, in milliseconds."""

    def one(who: Visitor, rng: random.Random) -> float:
        asked = path(rng)
        began = time.perf_counter()
        status, body = who.get(asked, **headers)
        spent = time.perf_counter() - began
        assert status == 200, f"{asked}: {status} {body.decode(errors='replace')[:300]}"
        return spent * 1000

    return together(visitor, one, seconds, at_once)


def together(
    visitor: Callable[[], Visitor], act: Callable[[Visitor, random.Random], float | None], seconds: float, at_once: int
) -> list[float]:
    """Let so many visitors act again and again for some seconds; return what the acts returned, without None."""
    found: list[float] = []
    failed: list[BaseException] = []
    until = time.monotonic() + seconds

    def visit(number: int, who: Visitor) -> None:
        rng = random.Random(number)
        try:
            while time.monotonic() < until and not failed:
                if (spent := act(who, rng)) is not None:
                    found.append(spent)
        except BaseException as error:  # noqa: BLE001  raised again below, in the thread that waits
            failed.append(error)
        finally:
            who.close()

    threads = [threading.Thread(target=visit, args=(number, visitor())) for number in range(at_once)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return found


def _decisions(site: Site, place: Place, cookies: Sequence[str], seconds: float) -> Row:
    """Approve low proposals from eight connections: the card is read first, the decision alone is timed."""
    left = pick(site, place, "low")
    lock = threading.Lock()

    def one(who: Visitor, rng: random.Random) -> float | None:
        with lock:
            if not left:
                return None
            proposal = site.path(place, f"proposals/{left.pop()}")
        status, body = who.get(proposal, HX_Request="true", HX_Target="card")
        form = Page(proposal, status, body.decode()).form_with("decision", "approve")
        assert form is not None, f"{proposal}: {status} {body.decode()[:300]}"
        queue = f"{site.url}{site.path(place, 'queue')}"
        more = {"HX_Request": "true", "HX_Target": "card", "HX_Current_URL": queue, "Referer": queue}
        began = time.perf_counter()
        status, body = who.post(proposal + "/decide", form.values | {"decision": "approve"}, **more)
        spent = time.perf_counter() - began
        assert status in (200, 202), f"{proposal}: {status} {body.decode()[:1000]}"
        return spent * 1000

    number = iter(range(1000))
    spent = together(lambda: Visitor(site.url, cookies[next(number) % len(cookies)]), one, seconds, AT_ONCE)
    told = f"{len(spent)} decisions with the next card; p50 {quantile(spent, 0.5):.0f} ms"
    return Row(
        "server", f"decision, {AT_ONCE} at once, p95", quantile(spent, 0.95), "ms", None, f"<= {TARGET_MS}", told
    )


# --- statements -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement with how long the database took for it, in milliseconds."""

    sql: str
    ms: float


def statements(site: Site, place: Place) -> Iterator[Row]:
    """Count the statements of each kind of request, and look for what grows with the length of the queue."""
    client = signed_in(place.operators[0])
    bad: set[str] = set()
    for ask in asks(pick(site, place), _second_page(site, place)):
        asked = site.path(place, ask.path(random.Random(1)))
        headers = {name.replace("_", "-"): value for name, value in ask.headers.items()}
        heard: list[Statement] = []
        for _ in range(3):
            heard = listen(lambda asked=asked, headers=headers: client.get(asked, headers=headers))  # type: ignore[misc]
        own = [one for one in heard if not SESSION.search(one.sql)]
        bad |= {one.sql for one in own if unbounded(one.sql)}
        slowest = max(own, key=lambda one: one.ms)
        told = f"{len(heard) - len(own)} more name person and tenant; {sum(one.ms for one in heard):.1f} ms of SQL"
        if slowest.ms > SLOW_MS:
            told += f", of which {slowest.ms:.1f} ms: {slowest.sql[:80]}"
        yield Row("statements", ask.name, len(own), "", target=f"<= {STATEMENTS}", note=told)
    yield Row("statements", "with OFFSET or a COUNT without a limit", len(bad), "", target="0", note=str(*bad)[:200])


def listen(act: Callable[[], Any]) -> list[Statement]:
    """Return every statement that an act of this process sends."""
    heard: list[Statement] = []

    def hear(execute: Any, sql: str, *more: Any) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, *more)
        finally:
            heard.append(Statement(str(sql), (time.perf_counter() - began) * 1000))

    with connection.execute_wrapper(hear):
        answer = act()
    assert answer.status_code == 200, answer.content.decode()[:500]
    return heard


def unbounded(sql: str) -> bool:
    """Whether a statement skips over rows, or counts them without a limit."""
    counts = re.search(r"count\(\*\)", sql, re.IGNORECASE) and "LIMIT" not in sql.upper()
    return bool(re.search(r"\boffset\b", sql, re.IGNORECASE) or counts)
