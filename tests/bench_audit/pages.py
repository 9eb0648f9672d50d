"""Must show 1, the pages: every filter of the record alone and together, at its newest and deep down; the dashboard."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from urllib.parse import urlencode

from django.db import connection

from agentops.audit.views import QUESTIONS
from tests.bench.report import Row
from tests.bench_ui.people import cookie_of, signed_in
from tests.bench_ui.server import SESSION, unbounded
from tests.bench_ui.site import Site, Visitor, quantile
from tests.bench_ui.world import Place

TARGET_MS = 150
PAINT_MS = 500
STATEMENTS = 16
SCAN = re.compile(r"Seq Scan on (?:audit_event|audit_eventterm|audit_stream|metrics_rollup|metrics_runfact|runs_run)\b")


@dataclass(frozen=True, slots=True)
class Ask:
    """One page below a tenant. `group` is what a row of the table stands for; `deep`: not its newest page."""

    group: str
    name: str
    path: str
    deep: bool = False


def asks(deployment: Any, place: Place) -> list[Ask]:
    """Return every page that is measured, of filters that find something in this tenant where anything does."""
    filters = _filters(deployment, place)
    # A place in the list with nine tenths of the tenant's events behind it.
    [(first, last)] = deployment.rows(
        "select min(id), max(id) from audit_event where tenant_id = %s and run_id is not null", place.tenant.pk
    )
    deep = first + (last - first) // 10
    found = []
    for name, query in filters:
        page = urlencode(query)
        found.append(Ask("filters", name, f"audit?{page}"))
        found.append(Ask("filters", f"{name}, deep", f"audit?{urlencode({**query, 'before': deep})}", deep=True))
    found.append(Ask("filters", "everything, back from deep", f"audit?after={deep}", deep=True))
    found += [Ask("questions", words, f"audit?{query}") for words, query in QUESTIONS]
    [(newest,)] = deployment.rows("select max(id) from audit_event where tenant_id = %s", place.tenant.pk)
    found.append(Ask("event", "the newest event", f"audit/events/{newest}"))
    for window in ("24h", "7d", "28d"):
        found.append(Ask("dashboard", window, f"metrics?window={window}"))
    found.append(Ask("dashboard", "one task type", "metrics?window=28d&task_type=goodwill-refund"))
    for name, query in (
        ("runs behind a point", {}),
        ("failed ones", {"outcome": "failed"}),
        ("overridden ones of a task type", {"only": "overrides", "task_type": "access-request"}),
        ("with tool errors", {"only": "tool_errors"}),
    ):
        found.append(Ask("dashboard", name, f"metrics/runs?{urlencode(query)}"))
    return found


def _filters(deployment: Any, place: Place) -> list[tuple[str, dict[str, str]]]:
    tenant = place.tenant.pk

    def one(query: str) -> str:
        rows = deployment.rows(query, tenant)
        return str(rows[0][0]) if rows else "none"

    def known(key: str) -> str:
        """Return a term of this key, or one that nothing has."""
        found = one(
            "select t.term from audit_eventterm t where t.tenant_id = %s "
            f"and t.term like '{key}:%%' order by t.event_id offset 20 limit 1"
        )
        return found if found != "none" else f"{key}:none"

    since = one("select (max(at) - interval '20 days')::date from audit_event where tenant_id = %s")
    until = one("select (max(at) - interval '19 days')::date from audit_event where tenant_id = %s")
    run = one("select run_id from audit_event where tenant_id = %s and run_id is not null limit 1")
    proposal = known("proposal").partition(":")[2]
    person = place.operators[0].username
    terms = {
        key: known(key)
        for key in ("band", "decision", "digest", "grant", "outcome", "policy", "ref", "role", "task", "taint")
    }
    filters: list[tuple[str, dict[str, str]]] = [("everything", {})]
    filters += [(f"type {name}", {"type": name}) for name in ("call.succeeded", "proposal.decided", "policy.changed")]
    prefixes = ("run.", "call.", "proposal.", "policy.", "allowlist.", "trust.", "host.", "nothing.")
    filters += [(f"type {name}", {"type": name}) for name in prefixes]
    actors = (person, "worker", "system", "token:1", f"user:{place.operators[1].pk}")
    filters += [(f"actor {name.partition('@')[0]}", {"actor": name}) for name in actors]
    filters += [(f"tool {name}", {"tool": name}) for name in ("shop.issue_refund", "create_ticket")]
    filters += [("run", {"run": run}), ("proposal", {"proposal": proposal}), ("subject", {"subject": "tasktype:7"})]
    filters += [(f"term {key}", {"terms": value}) for key, value in terms.items()]
    filters += [(f"term {term}", {"terms": term}) for term in ("has:note", "is:self", "is:orphan", "decision:edit")]
    filters += [("since", {"since": since}), ("until", {"until": since}), ("one day", {"since": since, "until": until})]
    many = "decision:approve band:low", "decision:reject band:high", "decision:approve role:admin"
    filters += [(f"terms {both}", {"terms": both}) for both in many]
    filters += [
        ("terms decision:reject band:low (nothing)", {"terms": "decision:reject band:low"}),
        ("a person's rejections", {"actor": person, "terms": "decision:reject"}),
        ("a person's settings", {"actor": person, "type": "admin.changed"}),
        ("a person and proposal.", {"actor": person, "type": "proposal."}),
        ("a tool's failures", {"tool": "shop.issue_refund", "type": "call.failed"}),
        ("a tool on one day", {"tool": "shop.issue_refund", "since": since, "until": until}),
        ("worker and policy. (nothing)", {"actor": "worker", "type": "policy."}),
        ("settings on one day (nothing)", {"type": "admin.changed", "since": since, "until": until}),
        ("decisions on one day", {"type": "proposal.decided", "since": since, "until": until}),
        ("a band's decisions of one day", {"terms": "decision:approve band:medium", "since": since, "until": until}),
        ("call. of a task type", {"type": "call.", "terms": terms["task"]}),
        ("policy. since", {"type": "policy.", "since": since}),
    ]
    return filters


# --- how fast ---------------------------------------------------------------------------------------------------------


def responses(site: Site, place: Place, asked: Sequence[Ask], *, times: int) -> Iterator[Row]:
    """Ask for each page again and again, one request after the other, in turns."""
    visitor = Visitor(site.url, cookie_of(place.operators[0]))
    spent: dict[Ask, list[float]] = {ask: [] for ask in asked}
    beneath: list[float] = []
    rng = random.Random(1)
    for _ in range(times):
        # The server ends connections on which nothing happens.
        floor = Visitor(site.floor_url)
        beneath += [_time(floor, "/") for _ in range(5)]
        floor.close()
        for ask in rng.sample(list(asked), len(asked)):
            spent[ask].append(_time(visitor, site.path(place, ask.path)))
    visitor.close()
    base = quantile(beneath, 0.95)
    yield Row("pages", "floor page, p95", base, "ms")
    slow = []
    for ask, found in spent.items():
        p95 = quantile(found, 0.95)
        told = f"p50 {quantile(found, 0.5):.0f} ms"
        yield Row(ask.group, f"{ask.name}, p95", p95, "ms", target=f"<= {TARGET_MS}", note=told)
        slow += [ask.name] if p95 > TARGET_MS else []
    for group in ("filters", "questions", "dashboard"):
        together = [one for ask, found in spent.items() if ask.group == group for one in found]
        if together:
            p95 = quantile(together, 0.95)
            yield Row("pages", f"{group} together, p95", p95, "ms", p95 / base, f"<= {TARGET_MS}")
    yield Row("pages", f"of {len(spent)} slower than {TARGET_MS} ms", len(slow), "", target="0", note="; ".join(slow))


def _time(who: Visitor, path: str) -> float:
    began = perf_counter()
    status, body = who.get(path)
    spent = perf_counter() - began
    assert status == 200, f"{path}: {status} {body.decode(errors='replace')[:300]}"
    return spent * 1000


# --- with which statements --------------------------------------------------------------------------------------------


def statements(site: Site, place: Place, asked: Sequence[Ask]) -> Iterator[Row]:
    """Count the statements of each page, and ask the database how it would answer them."""
    client = signed_in(place.operators[0])
    most: dict[str, tuple[int, float, str]] = {}
    bad: dict[str, str] = {}
    for ask in asked:
        path = site.path(place, ask.path)
        client.get(path)  # what somebody looks for is noted the first time only
        heard = _heard(client, path)
        own = [one for one in heard if not SESSION.search(one[0])]
        for sql, values, _ in own:
            if unbounded(sql):
                bad.setdefault(f"{ask.name}: counts or skips", sql)
            if sql.lstrip().upper().startswith(("SELECT", "WITH", "(")) and SCAN.search(_plan(place, sql, values)):
                bad.setdefault(f"{ask.name}: reads a whole table", sql)
        sum_ms = sum(ms for _, _, ms in own)
        count, worst, name = most.get(ask.group, (0, 0.0, ""))
        most[ask.group] = (max(count, len(own)), max(worst, sum_ms), ask.name if sum_ms > worst else name)
    for group, (count, worst, name) in most.items():
        told = f"at most {worst:.1f} ms of SQL, for {name}"
        yield Row("statements", f"{group}, most of one page", count, "", target=f"<= {STATEMENTS}", note=told)
    told = "; ".join(f"{name}: {sql[:300]}" for name, sql in list(bad.items())[:4])
    yield Row("statements", "that scan, skip or count without a limit", len(bad), "", target="0", note=told)


def _heard(client: Any, path: str) -> list[tuple[str, Any, float]]:
    heard: list[tuple[str, Any, float]] = []

    def hear(execute: Any, sql: str, params: Any, *more: Any) -> Any:
        began = perf_counter()
        try:
            return execute(sql, params, *more)
        finally:
            heard.append((str(sql), params, (perf_counter() - began) * 1000))

    with connection.execute_wrapper(hear):
        answer = client.get(path)
    assert answer.status_code == 200, f"{path}: {answer.content.decode()[:500]}"
    return heard


def _plan(place: Place, sql: str, values: Any) -> str:
    from agentops.tenancy.scope import tenant_scope

    with tenant_scope(place.tenant), connection.cursor() as cursor:
        cursor.execute(f"explain {sql}", values)
        return "\n".join(line for (line,) in cursor.fetchall())


# --- in a browser -----------------------------------------------------------------------------------------------------


def first_paint(browser: Any, site: Site, place: Place, contexts: int) -> Iterator[Row]:
    """Open dashboard, record and floor page."""
    from tests.bench_ui import painting

    pages = {
        "dashboard": site.path(place, "metrics"),
        "dashboard, 28 days": site.path(place, "metrics?window=28d"),
        "record": site.path(place, "audit"),
    }
    above = {name: PAINT_MS for name in pages if name.startswith("dashboard")}
    yield from painting.first_paint(browser, site, place, pages, contexts=contexts, above=above)
