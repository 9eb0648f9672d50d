"""After every test that recorded runs: what is stored folds to what the rows say, and replays to the same commands.

Loaded as a plugin by `tests/conftest.py`. A test that writes an impossible history on purpose says so with
`@pytest.mark.not_replayed("why")`; one that writes the events of the engine by hand names the run to `by_hand`.
"""

from collections.abc import Iterator
from uuid import UUID

import pytest

FAILED = pytest.StashKey[bool]()
BY_HAND: set[UUID] = set()


def by_hand(run_id: UUID) -> None:
    """Say that a test, and not the engine, chose what a run did: its rows are compared, its commands are not."""
    BY_HAND.add(run_id)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the way out."""
    config.addinivalue_line("markers", "not_replayed(reason): its runs have histories that the engine did not write")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember whether the test itself failed, which then is what matters."""
    report = yield
    if report.when == "call":  # type: ignore[attr-defined]  # a TestReport
        item.stash[FAILED] = report.failed  # type: ignore[attr-defined]
    return report


@pytest.fixture(autouse=True)
def _replayed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Replay what the test recorded, while it is still there."""
    touches = request.node.get_closest_marker("django_db") or {"db", "transactional_db"} & set(request.fixturenames)
    if touches:
        request.getfixturevalue("db")  # set up before this fixture, so taken down after it
    yield
    if not touches or request.node.stash.get(FAILED, True) or request.node.get_closest_marker("not_replayed"):
        return
    problems = list(problems_of_all())
    assert not problems, "\n".join(problems)


def problems_of_all() -> Iterator[str]:
    """Say what is wrong with any run of any tenant in the test database. One query where there are no runs."""
    from django.db import connection

    from agentops.runs.models import Run
    from agentops.tenancy.scope import tenant_scope

    if connection.in_atomic_block and connection.needs_rollback:
        return
    with connection.cursor() as cursor:
        cursor.execute(f"select tenant_id, id from {Run._meta.db_table} order by tenant_id, id")
        found = [(tenant_id, one if isinstance(one, UUID) else UUID(one)) for tenant_id, one in cursor.fetchall()]
    for tenant_id, run_id in found:
        with tenant_scope(tenant_id):
            yield from problems_of(run_id)


def problems_of(run_id: UUID) -> Iterator[str]:
    """Fold the stored text of one run twice, compare it with the rows, and derive its commands again."""
    from agentops.engine.folding import fold
    from agentops.engine.replay import Diverged, replay
    from agentops.engine.transitions import CallState
    from agentops.runs.models import Run, ToolCall
    from agentops.runs.recording import load

    stored = load(run_id)
    state = fold(stored)
    if state != fold(load(run_id)):
        yield f"run {run_id} folds to two different states"
    run = Run.objects.get(pk=run_id)
    said = {
        "state": state.state.value,
        "phase": state.phase.value,
        "steps_used": state.steps_used,
        "calls_used": state.calls_used,
        "denied_calls": state.denied_calls,
        "started_at": state.started_at,
        "failure_code": state.failure_code,
        "failure_message": state.failure_message[:2000],
        "answer": state.answer,
    }
    for name, value in said.items():
        if (found := getattr(run, name)) != value:
            yield f"run {run_id}: the row says {name} {found!r}, the record {value!r}"
    rows = {row.call_id: row for row in ToolCall.objects.filter(run_id=run_id)}
    if set(rows) != set(state.calls):
        yield f"run {run_id}: the rows know the calls {sorted(rows)}, the record {sorted(state.calls)}"
    for call_id, call in state.calls.items():
        row = rows.get(call_id)
        told = (call.state.value, call.tool, call.attempts, call.deferred or call.code)
        if row is not None and (row.state, row.tool, row.attempts, row.code) != told:
            yield f"run {run_id}: the row of {call_id} says {row.state} {row.code}, the record {told}"
        is_open = call.state in (CallState.EXECUTING, CallState.UNKNOWN)
        asked = call.state is CallState.UNKNOWN and call.hook_asked
        if row is not None and is_open and (asked or state.state.terminal or state.paused) and not row.unsettled:
            yield f"run {run_id}: nobody will find out what became of {call_id}"
        if row is not None and row.unsettled and not is_open:
            yield f"run {run_id}: what became of {call_id} is known, and yet looked for"
    verdict = None if run_id in BY_HAND else replay(stored)
    if isinstance(verdict, Diverged):
        yield (
            f"run {run_id}: event {verdict.seq} does not follow: expected {verdict.expected}, "
            f"recorded {verdict.recorded}; history {[s.event.type for s in stored]}"
        )
