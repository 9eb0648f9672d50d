"""Other arguments than the agent proposed: checked, classified and assessed like the agent's own."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.engine.folding import fold
from agentops.engine.transitions import CallState
from agentops.guardrails.provenance import UNSCREENED, Provenance, SourceKind
from agentops.guardrails.provenance import provenance as single_provenance
from agentops.runs.models import ToolCall
from agentops.runs.output_policy import effective
from agentops.runs.recording import load
from agentops.tenancy.access import Actor
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, WireError, as_object, guard
from approvals.gating import gate as gates
from approvals.gating.gate import Candidate, Deny, Pin, classify
from approvals.gating.judging import output_context
from approvals.models import Handling, Proposal, values_of
from approvals.permits import policies
from approvals.proposals.ending import close
from approvals.proposals.opening import too_late
from approvals.proposals.outcomes import Invalid, Reconfirm, TooLate
from approvals.proposals.proposing import Frozen, freeze
from approvals.values.leaves import leaves
from approvals.values.patch import diff
from tools.allowlist import lookup
from tools.registry import registry
from tools.schema import Issue


def edited_by(proposal: Proposal, actor: Actor, arguments: JSON) -> Frozen | Invalid:
    """Send edited arguments through everything that the agent's went through."""
    try:
        wanted = guard(arguments)
    except WireError as error:
        return Invalid((Issue(error.path, str(error.code), error.message),))
    return checked(proposal, wanted, after_edit(proposal, wanted, typed_by(actor)), now=clock.now())


def as_it_stands(proposal: Proposal, *, now: datetime) -> Frozen | Invalid:
    """Put what a proposal says before the gate once more, under the rules as they are now; nothing is written."""
    known = {path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()}
    return checked(proposal, proposal.argument_values, known, now=now)


def checked(
    proposal: Proposal,
    wanted: JSON,
    provenance: Mapping[str, Provenance],
    *,
    now: datetime,
) -> Frozen | Invalid:
    """Put other arguments of a proposal before the gate, and freeze what a person would see of them.

    What the agent changed when it was asked raises the risk for as long as any of it stands.
    """
    contract = registry.get(proposal.tool, proposal.contract_version)
    policy, state = policies.in_force(), fold(load(proposal.run_id))
    verdict = classify(
        Candidate(
            contract=contract,
            pinned=Pin(proposal.contract_version, proposal.contract_digest),
            arguments=wanted,
            provenance=provenance,
            planned=True,
            allow=lookup(proposal.task_type_id, proposal.tool),
            calls_so_far=ToolCall.objects.filter(run_id=proposal.run_id, tool=proposal.tool)
            .exclude(call_id=proposal.call_id)
            .exclude(state__in=[CallState.DENIED.value, CallState.WITHDRAWN.value])
            .count(),
            policy=policy,
            surroundings=policies.surroundings(proposal.run, policies.place_of(proposal.tenant_id), now)
            if policy.rules
            else None,
            output=output_context(state, effective(proposal.task_type), registry.get),
            barred=registry.barred(proposal.tool, proposal.contract_version, wanted),
            unscreened=UNSCREENED in state.suspicion,
        )
    )
    if isinstance(verdict, Deny):
        return Invalid(verdict.issues or (Issue("", verdict.code, verdict.message),))
    if contract is None:
        return Invalid((Issue("", "unknown_tool", f"There is no tool {proposal.tool} any more."),))
    return freeze(
        tenant_id=proposal.tenant_id,
        contract=contract,
        arguments=as_object(wanted),
        provenance=provenance,
        verdict=verdict,
        task_type_id=proposal.task_type_id,
        now=now,
        changed_after_question=any(
            AFTER_QUESTION in source.ref
            for one in provenance.values()
            for source in one.sources
            if source.kind is SourceKind.MODEL
        ),
    )


AFTER_QUESTION: Final = "#question"
"""Stands in the source of what a model wrote in its answer to a person, behind the model's name."""

Writer = Callable[[str], Provenance]
"""Provenance of a leaf that somebody wrote, by its JSON pointer."""


def typed_by(actor: Actor) -> Writer:
    """Return the provenance of what a person typed."""
    return lambda path: single_provenance(SourceKind.OPERATOR, f"{actor.kind}:{actor.id}", path)


def after_edit(proposal: Proposal, arguments: JSON, writer: Writer) -> dict[str, Provenance]:
    """Leaves that stayed keep their provenance; those that changed are the writer's.

    A value that only moved within its argument, because a member of a list was taken out before it, has stayed.
    """
    before = {path: canonical(value) for path, value in leaves(proposal.argument_values)}
    known = {path: Provenance.from_json(raw) for path, raw in proposal.provenance.items()}
    # Of two places with the same value the untrusted one counts.
    moved = sorted(before, key=lambda path: known.get(path, gates.UNVOUCHED).untrusted)
    places = {(path.split("/")[1], before[path]): path for path in moved if path.count("/") > 1}
    after: dict[str, Provenance] = {}
    for path, value in leaves(arguments):
        text = canonical(value)
        was_at = path if before.get(path) == text else places.get((path.split("/")[1] if path else "", text))
        after[path] = writer(path) if was_at is None else known.get(was_at, gates.UNVOUCHED)
    return after


def changed_leaves(proposal: Proposal, edited: Frozen) -> tuple[str, ...]:
    """Return the pointers of the leaves that an edit changes."""
    before = {path: canonical(value) for path, value in leaves(proposal.argument_values)}
    now = {path: canonical(value) for path, value in leaves(values_of(edited.arguments))}
    return tuple(path for path in {**before, **now} if before.get(path) != now.get(path))


def revise(proposal: Proposal, actor: Actor, edited: Frozen, *, now: datetime) -> Reconfirm | TooLate:
    """Keep an edit as the next version, for a decision on what it is now: it is riskier, or others have to agree."""
    changes = {
        **edited.columns(),
        **edited.sooner(proposal, now),
        "version": proposal.version + 1,
        "handled": proposal.handled + 1,
    }
    if not close(proposal, changes):
        return too_late(proposal)
    Handling.objects.create(
        proposal=proposal, kind=Handling.Kind.EDIT, user_id=actor.user_id, version=proposal.version, at=now
    )
    record_in_tenant_stream(
        "proposal.revised",
        {
            "run": str(proposal.run_id),
            "call_id": proposal.call_id,
            "version": proposal.version,
            "digest": proposal.digest,
            "band": proposal.risk_band,
            "patch": list[JSON](diff(proposal.original_values, proposal.argument_values)),
        },
        subject=("proposal", str(proposal.pk)),
        actor=actor,
    )
    return Reconfirm(proposal.version, proposal.digest, edited.risk.band)
