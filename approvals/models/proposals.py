"""What waits for a person: the tool call, frozen, and what it is found by while it waits."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantForeignKey, TenantModel
from agentops.wire.ids import uuid7
from agentops.wire.parse import MAX_BYTES, JSONObject, as_object, parse_json


class Status(models.TextChoices):
    """The life of a proposal; everything but pending is final."""

    PENDING = "pending", "Waiting"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    EXPIRED = "expired", "Expired"
    WITHDRAWN = "withdrawn", "Withdrawn"


BANDS = (("low", "Low"), ("medium", "Medium"), ("high", "High"), ("critical", "Critical"))
"""The bands of risk, with their names."""

_BY_PEOPLE = (Status.APPROVED, Status.REJECTED)
_BY_TIME = (Status.EXPIRED, Status.WITHDRAWN)
_PENDING = Q(status=Status.PENDING)
_ORDER = ("-band_rank", "created_at", "id", "decide_by")
# Arguments were bounded before they were frozen; escapes make their canonical text longer.
_MAX_TEXT = 8 * MAX_BYTES


class Proposal(TenantModel):
    """A tool call frozen for a person.

    `arguments` and `original_arguments` are canonical JSON text, because a database may rewrite its own JSON type and
    the digest covers the exact text. `version` counts edits. Every other text a reviewer sees was written by this
    system from `arguments`; `explanation` alone is the agent's own and is never trusted.
    """

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey("runs.Run", on_delete=models.PROTECT, related_name="proposals")
    call_id = models.CharField(max_length=64)
    step_id = models.CharField(max_length=64)
    task_type = models.ForeignKey("runs.TaskType", on_delete=models.PROTECT, related_name="+", db_index=False)
    tool = models.CharField(max_length=100)
    contract_version = models.CharField(max_length=32)
    contract_digest = models.CharField(max_length=64)
    arguments = models.TextField()
    original_arguments = models.TextField()
    digest = models.CharField(max_length=64)
    provenance = models.JSONField(help_text="JSON pointer of an argument leaf -> where it came from.")
    sentence = models.JSONField()
    consequence = models.JSONField()
    risk_score = models.PositiveSmallIntegerField()
    risk_band = models.CharField(max_length=10, choices=BANDS)
    band_rank = models.PositiveSmallIntegerField(help_text="0 low, 1 medium, 2 high, 3 critical.")
    risk = models.JSONField()
    sensitivity = models.JSONField(default=list)
    policy_rule = models.CharField(max_length=64)
    policy_version = models.PositiveIntegerField(
        default=0, db_default=0, help_text="The version of the policy that it was judged by; 0 where there was none."
    )
    quorum = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many people a rule of the policy asks for; the band may ask for more."
    )
    reasons = models.JSONField(default=list, help_text="Why a person is asked, in sentences.")
    attacked = models.JSONField(default=list, help_text="JSON pointers of arguments that untrusted text chose.")
    explanation = models.TextField(blank=True, help_text="The agent's own words; untrusted.")
    tainted = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    version = models.PositiveIntegerField(default=1)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    decide_by = models.DateTimeField()
    execute_by = models.DateTimeField(help_text="The latest moment at which the call may start.")
    created_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    closing_note = models.CharField(max_length=200, blank=True, help_text="Why it was withdrawn.")
    amount_e4 = models.BigIntegerField(
        null=True, blank=True, help_text="Money it moves, in ten-thousandths of the unit of its currency."
    )
    terms = models.JSONField(default=list, help_text="What it is found by (`approvals.proposals.search`).")
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    leased_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    leased_until = models.DateTimeField(null=True, blank=True, help_text="Until then nobody else decides it.")
    served_at = models.DateTimeField(null=True, blank=True, help_text="When the queue chose it for `leased_by`.")
    held_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    held_until = models.DateTimeField(null=True, blank=True, help_text="Until then the queue does not show it.")
    held_note = models.CharField(max_length=300, blank=True)
    thawed_to = models.DateTimeField(
        null=True, blank=True, help_text="Stops and pauses up to this moment have moved the deadlines already."
    )
    release_at = models.DateTimeField(
        null=True, blank=True, help_text="Until this moment an approval can be taken back, and nothing starts."
    )
    needs_role = models.CharField(
        max_length=16, blank=True, default="", db_default="", help_text="Only people with this role decide it now."
    )
    votes = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many verdicts were given on it, whatever became of them."
    )
    handled = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How often somebody escalated, extended, edited or asked about it."
    )
    remind_at = models.DateTimeField(null=True, blank=True, help_text="When the next rung of reminders is due.")
    reminded = models.PositiveSmallIntegerField(
        default=0, db_default=0, help_text="How many rungs of reminders and escalation it has been through."
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "run", "call_id"),
                condition=Q(status=Status.PENDING),
                name="proposal_one_open_per_call",
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="proposal_status_known"),
            models.CheckConstraint(
                condition=Q(risk_band="low", band_rank=0)
                | Q(risk_band="medium", band_rank=1)
                | Q(risk_band="high", band_rank=2)
                | Q(risk_band="critical", band_rank=3),
                name="proposal_band_known",
            ),
            models.CheckConstraint(condition=Q(risk_score__lte=100), name="proposal_score_bounded"),
            models.CheckConstraint(
                condition=Q(status=Status.PENDING, decided_at__isnull=True, decided_by__isnull=True)
                | Q(status__in=_BY_PEOPLE, decided_at__isnull=False, decided_by__isnull=False)
                | Q(status__in=_BY_TIME, decided_at__isnull=False, decided_by__isnull=True),
                name="proposal_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(leased_by__isnull=True, leased_until__isnull=True, served_at__isnull=True)
                | Q(leased_by__isnull=False, leased_until__isnull=False),
                name="proposal_leased_by_somebody",
            ),
            models.CheckConstraint(
                condition=Q(held_by__isnull=True, held_until__isnull=True, held_note="")
                | Q(held_by__isnull=False, held_until__isnull=False),
                name="proposal_held_by_somebody",
            ),
        )
        # What waits is read in the order of the queue, by each thing it can be narrowed to. The deadline stands at the
        # end of each index, so that those of another part of the queue are passed over without looking at the rows.
        indexes = (
            models.Index(fields=("tenant", "status", "decide_by"), name="proposal_deadline"),
            models.Index(
                fields=("tenant", "tool", "-decided_at"), name="proposal_past", condition=Q(status__in=_BY_PEOPLE)
            ),
            models.Index(fields=("tenant", *_ORDER), condition=_PENDING, name="proposal_queue"),
            models.Index(fields=("tenant", "tool", *_ORDER), condition=_PENDING, name="proposal_by_tool"),
            models.Index(fields=("tenant", "task_type", *_ORDER), condition=_PENDING, name="proposal_by_task_type"),
            models.Index(fields=("tenant", "tainted", *_ORDER), condition=_PENDING, name="proposal_by_taint"),
            models.Index(
                fields=("tenant", "amount_e4"),
                condition=_PENDING & Q(amount_e4__isnull=False),
                name="proposal_by_amount",
            ),
            models.Index(
                fields=("tenant", "assigned_to", *_ORDER),
                condition=_PENDING & Q(assigned_to__isnull=False),
                name="proposal_by_person",
            ),
            models.Index(
                fields=("tenant", "leased_by"),
                condition=_PENDING & Q(leased_by__isnull=False),
                name="proposal_by_lease",
            ),
            models.Index(
                fields=("tenant", "held_until"),
                condition=_PENDING & Q(held_until__isnull=False),
                name="proposal_by_hold",
            ),
            models.Index(
                fields=("tenant", "remind_at"),
                condition=Q(status=Status.PENDING, remind_at__isnull=False),
                name="proposal_reminder",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tool} ({self.id})"

    @property
    def argument_values(self) -> JSONObject:
        """The frozen arguments, parsed."""
        return values_of(self.arguments)

    @property
    def original_values(self) -> JSONObject:
        """The arguments as the agent proposed them, parsed."""
        return values_of(self.original_arguments)

    @property
    def edited(self) -> bool:
        """Whether a person has changed the arguments since the agent proposed them."""
        return self.arguments != self.original_arguments


def values_of(text: str) -> JSONObject:
    """Read the canonical text of frozen arguments."""
    return as_object(parse_json(text, max_bytes=_MAX_TEXT))


class ProposalTerm(TenantModel):
    """One thing that a waiting proposal is found by.

    The database keeps it: triggers on the proposals write what stands in `Proposal.terms` and take it out again when
    the proposal is closed (`proposals.search`). It is a table, because row security lets PostgreSQL use an index only
    for comparisons that cannot leak, and those of its text search can. PostgreSQL may lose it as a whole
    (`approvals.queue.term_index`).
    """

    pk = models.CompositePrimaryKey("tenant", "term", "proposal")
    tenant = TenantForeignKey(db_index=False)
    term = models.CharField(max_length=160)
    proposal = models.ForeignKey(
        Proposal, on_delete=models.CASCADE, related_name="found_by", db_constraint=False, db_index=False
    )

    def __str__(self) -> str:
        return self.term


class TermIndex(TenantModel):
    """Whether the index of a tenant (`ProposalTerm`) is whole, and if not, how far it has been made again.

    PostgreSQL loses it together with the index. Written by `approvals.queue.term_index` alone.
    """

    tenant = TenantForeignKey(db_index=False)
    upto_run = models.UUIDField()
    upto_call = models.CharField(max_length=64)
    whole = models.BooleanField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant",), name="term_index_once"),)

    def __str__(self) -> str:
        return "whole" if self.whole else f"up to {self.upto_run}"
