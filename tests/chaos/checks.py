"""What must hold after the chaos, read from the product's database and from the tools' own record. Needs Django."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from agentops.audit.verify import verify_tenant
from agentops.engine.events import CallReconciled, ProposalDecided, RunSubmitted
from agentops.runs.models import Run, ToolCall
from agentops.runs.recording import load, state_of
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.models import Grant
from tests.chaos.contracts import NOTE, PAY, Record
from tests.keys import key_of

HONEST_FAILURES = frozenset({"dead_letter"})
"""How a run may end besides succeeding: workers died on it too often."""


@dataclass
class Findings:
    """What was found, and everything that is wrong."""

    facts: dict[str, object] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def check(tenant: Tenant, submitted: Sequence[UUID], directory: Path) -> Findings:
    """Look at everything."""
    found = Findings()
    with tenant_scope(tenant):
        found.wrong += _runs(submitted, found.facts)
        found.wrong += _effects(directory, found.facts)
        found.wrong += _promises(directory, found.facts)
        found.wrong += _rows_and_records()
        report = verify_tenant()
        found.facts["events proven"] = report.events
        found.wrong += [str(finding) for finding in report.findings]
    return found


def _runs(submitted: Sequence[UUID], facts: dict[str, object]) -> Iterator[str]:
    runs = {run.pk: run for run in Run.objects.all()}
    facts["runs"] = len(runs)
    for run_id in submitted:
        if run_id not in runs:
            yield f"run {run_id} was promised and is not there"
    ends = Counter(f"{run.state} {run.failure_code}".strip() for run in runs.values())
    facts |= {f"ended: {name}": count for name, count in sorted(ends.items())}
    for run in runs.values():
        if run.ended_at is None:
            held = f"lease {run.lease_owner!r} until {run.lease_until}, due from {run.not_before}"
            yield f"run {run.pk} is still {run.state} ({held}, {run.attempts} attempts)"
        elif run.state == "failed" and run.failure_code not in HONEST_FAILURES:
            yield f"run {run.pk} failed: {run.failure_code} {run.failure_message}"


def _effects(directory: Path, facts: dict[str, object]) -> Iterator[str]:
    record = Record(directory)
    paid = record.effects(PAY.name)
    used = Grant.objects.filter(tool=PAY.name, consumed_at__isnull=False).values_list("run_id", "call_id")
    keys = {(one.run_id, one.call_id): key_of(one) for one in ToolCall.objects.filter(tool=PAY.name)}
    consumed = Counter(keys[grant] for grant in used)
    facts["unsafe effects"] = sum(paid.values())
    facts["grants consumed"] = sum(consumed.values())
    noted = record.effects(NOTE.name)
    facts["repeated under the same key (allowed)"] = sum(noted.values()) - len(noted)
    named = {key: run for (run, _), key in keys.items()}
    for key, times in paid.items():
        if times > 1:
            yield f"run {named.get(key)}: the unsafe effect happened {times} times"
        if key not in consumed:
            yield f"run {named.get(key)}: an unsafe effect without a consumed grant"
    for key in consumed:
        if key not in paid:
            yield f"run {named.get(key)}: a grant was consumed and nothing happened"


def _promises(directory: Path, facts: dict[str, object]) -> Iterator[str]:
    path = directory / "promises"
    lines = path.read_text().splitlines() if path.exists() else []
    promised = Counter(tuple(line.split("\t")) for line in lines)
    decided: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for run in Run.objects.all():
        events = [stamped.event for stamped in load(run.pk)]
        if not any(isinstance(event, RunSubmitted) for event in events):
            yield f"run {run.pk} has no record of being submitted"
        decided.update(event.proposal_id for event in events if isinstance(event, ProposalDecided))
        people = [e for e in events if isinstance(e, CallReconciled) and e.by != "hook"]
        answered.update({str(run.pk): len(people)} if people else {})
    facts["decisions"] = sum(decided.values())
    facts["reconciled by a person"] = sum(answered.values())
    for (kind, subject), times in promised.items():
        known = decided if kind == "decided" else answered
        if known[subject] < times:
            yield f"{kind} {subject} was promised {times} times and is recorded {known[subject]} times"
    for proposal, times in decided.items():
        if times > 1:
            yield f"proposal {proposal} was decided {times} times"


def _rows_and_records() -> Iterator[str]:
    for run in Run.objects.all():
        state = state_of(run.pk)
        if run.state != state.state.value:
            yield f"run {run.pk}: the row says {run.state}, the events say {state.state.value}"
        calls = dict(ToolCall.objects.filter(run=run).values_list("call_id", "state"))
        if calls != {call.call_id: call.state.value for call in state.calls.values()}:
            yield f"run {run.pk}: the rows of its calls are not what the events say"
