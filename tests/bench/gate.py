"""What one decision of the gate takes: alone, and with everything the database is asked for. Django is set up by then.

The call is a letter of a thousand characters, some of them untrusted: every rule of the gate and every detector of the
output policy looks at it.
"""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from django.utils import timezone

from agentops.engine.decide import Candidate
from agentops.engine.folding import fold
from agentops.engine.state import State
from agentops.guardrails.output.policy import DEFAULT
from agentops.guardrails.provenance import SourceKind, provenance
from agentops.runs.models import Playbook, Run, TaskType
from agentops.runs.recording import load
from agentops.runs.services import InvalidTask, submit
from agentops.tenancy.scope import tenant_scope
from agentops.wire.canonical import canonical
from agentops.worker.snapshot import Snapshot
from approvals.gating.gate import Gate
from approvals.gating.judging import judged
from approvals.services import draft_proposal
from tests.bench.report import Row
from tests.bench.workload import AGENT
from tools.allowlist import AllowlistRule, AllowlistState
from tools.builtin.mail import SEND
from tools.builtin.shapes import closed
from tools.contracts import ToolContract
from tools.models import AllowlistEntry
from tools.registry import registry

if TYPE_CHECKING:
    from tests.bench.scenarios import Site

_SENTENCE: Final = "Your parcel arrived late and we are sorry; the shop at https://shop.example/orders answers. "
TEXT: Final = (_SENTENCE * 12)[:1000]
LETTER: Final = Candidate(
    call_id="1.send.0",
    step_id="send",
    tool=SEND.name,
    arguments={"to": "mia@example.com", "subject": "Your order", "body": TEXT},
    provenance={
        "/to": provenance(SourceKind.OPERATOR, "user:1", "/input/to"),
        "/subject": provenance(SourceKind.CONSTANT, "playbook:letters@1"),
        "/body": provenance(SourceKind.TOOL, "mail.read:1.read.0", "/text", untrusted=True),
    },
    planned=True,
    why="They asked for it.",
)
RULE: Final = AllowlistRule(SEND.name, AllowlistState.GATED)


def decisions(site: "Site") -> Iterator[Row]:
    """The gate alone, and the gate with the rules, signals and weights of a tenant and the card it makes."""
    with tenant_scope(site.bench.tenant):
        run = _letters()
        state = fold(load(run.id))
        yield from _rows("without database", "<= 2 ms", _times(lambda: _alone(state), site.sizes.gate))
        count = site.sizes.gate // 4
        yield from _rows("with database", "<= 15 ms", _times(lambda: _decided(run, state), count))
        yield from _rows("and its card", "", _times(lambda: _whole(run, state), count))


def _letters() -> Run:
    """Make a kind of task that writes letters, and one task of it."""
    step = {"id": "send", "tool": SEND.name, "arguments": LETTER.arguments}
    playbook = Playbook.objects.create(slug="letters", version=1, body=canonical({"steps": [step]}))
    kind = TaskType.objects.create(slug="letters", name="Letters", playbook=playbook, input_schema=closed())
    AllowlistEntry.objects.create(task_type=kind, tool=SEND.name, state=AllowlistState.GATED)
    run = submit(task_type=kind, input={}, actor=AGENT)
    if isinstance(run, InvalidTask):
        raise AssertionError(run.issues)
    # Nobody works on it: only its decision is timed.
    Run.objects.filter(pk=run.pk).update(not_before=timezone.now() + timedelta(days=1))
    return run


def _alone(state: State) -> None:
    _, _, verdict = judged(
        state, LETTER, find=registry.get, allow=RULE, policy=DEFAULT, idempotency_key="k", tenant_id=1
    )
    assert isinstance(verdict, Gate), verdict


def _decided(run: Run, state: State) -> tuple[ToolContract, Gate]:
    """Read the rules of the tenant afresh, and decide."""
    rules = Snapshot()
    _, contract, verdict = judged(
        state,
        LETTER,
        find=registry.get,
        allow=rules.rule(run.task_type_id, SEND.name),
        policy=rules.output_policy(run.task_type),
        idempotency_key="k",
        tenant_id=run.tenant_id,
        rules=lambda contract, arguments: {"policy": rules.policy(), "surroundings": None, "trust": ""},
    )
    assert isinstance(verdict, Gate), verdict
    assert contract is not None
    return contract, verdict


def _whole(run: Run, state: State) -> None:
    """Decide, and work out everything the card shows: the tool's preview, signals of our records, risk."""
    contract, verdict = _decided(run, state)
    draft_proposal(
        run=run,
        call_id=LETTER.call_id,
        step_id=LETTER.step_id,
        contract=contract,
        arguments=LETTER.arguments,
        provenance=LETTER.provenance,
        gate=verdict,
        explanation=LETTER.why,
        now=timezone.now(),
    )


def _times(act: Callable[[], object], count: int) -> list[float]:
    """Return how long each of `count` decisions took, in milliseconds, the shortest first."""
    for _ in range(max(5, count // 20)):
        act()
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        act()
        taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)


def _rows(name: str, target: str, taken: list[float]) -> Iterator[Row]:
    yield Row("gate decision", f"{name}, p50", taken[len(taken) // 2], "ms", note=f"{len(taken)} decisions")
    yield Row("gate decision", f"{name}, p99", taken[int(len(taken) * 0.99)], "ms", target=target)
