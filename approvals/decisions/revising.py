"""Other arguments that the agent wants after a person's question: a new version, put before people anew.

They pass the schema, the gate and the risk assessment like the first ones. What changed counts as written by the model,
tainted if untrusted text was in the question. Approvals given so far were for another version, and count no more.
"""

from dataclasses import dataclass
from datetime import datetime

from agentops.guardrails.provenance import SourceKind, provenance
from agentops.wire.parse import JSONObject
from approvals.decisions.editing import AFTER_QUESTION, after_edit, checked
from approvals.models import Proposal, Status, values_of
from approvals.proposals.outcomes import Invalid
from approvals.proposals.proposing import Frozen
from approvals.values.patch import diff


class ProposalChanged(Exception):
    """The proposal is not the version any more that was asked about; nothing was written."""


@dataclass(frozen=True, slots=True)
class Revision:
    """The next version of a proposal, frozen and not yet written."""

    proposal: Proposal
    frozen: Frozen
    at: datetime

    @property
    def version(self) -> int:
        """The version it becomes."""
        return self.proposal.version + 1

    @property
    def arguments(self) -> JSONObject:
        """The new arguments, parsed."""
        return values_of(self.frozen.arguments)

    @property
    def provenance(self) -> dict[str, JSONObject]:
        """Where each leaf of them comes from, as events and rows carry it."""
        return {path: one.to_json() for path, one in self.frozen.provenance.items()}

    @property
    def patch(self) -> list[JSONObject]:
        """JSON Patch (RFC 6902) from the arguments that were asked about."""
        return diff(self.proposal.argument_values, self.arguments)

    def keep(self) -> None:
        """Make it the version that people see, under the lock of the run's stream. Raises ProposalChanged."""
        asked = self.proposal
        pending = Proposal.objects.filter(pk=asked.pk, status=Status.PENDING)
        written = pending.filter(version=asked.version, digest=asked.digest).update(
            **self.frozen.columns(),
            **self.frozen.sooner(asked, self.at),
            original_arguments=self.frozen.arguments,
            version=self.version,
            handled=asked.handled + 1,
        )
        if not written:
            raise ProposalChanged


def revised_by_agent(
    proposal: Proposal, changes: JSONObject, *, planner: str, question: int, tainted: bool, now: datetime
) -> Revision | str:
    """Return the version with the agent's changes, or why there is none.

    `changes`: top-level argument -> new value, as `planner` wants them since the `question`th question.
    """
    wanted: JSONObject = {**proposal.argument_values, **changes}
    if wanted == proposal.argument_values:
        return "It wants the arguments that the call has already."
    writer = f"{planner}{AFTER_QUESTION}{question}"
    written = after_edit(proposal, wanted, lambda path: provenance(SourceKind.MODEL, writer, path, untrusted=tainted))
    frozen = checked(proposal, wanted, written, now=now)
    if isinstance(frozen, Invalid):
        told = "; ".join(f"{issue.path or 'the arguments'}: {issue.message}" for issue in frozen.issues)
        return f"They were refused: {told}"[:1000]
    if frozen.digest == proposal.digest:
        return "It wants the arguments that the call has already."
    return Revision(proposal, frozen, now)
