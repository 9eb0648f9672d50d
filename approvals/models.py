"""Rows of the human side: what waits for a person, what the person said, and what that allows once."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.changes.models import Change, ChangeStatus, one_in_force, one_waits, two_admins
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


class Verdict(models.TextChoices):
    """What a person can say about a proposal. An edit approves what the person changed it to."""

    APPROVE = "approve", "Approved"
    EDIT = "edit", "Edited and approved"
    REJECT = "reject", "Rejected"


class RejectReason(models.TextChoices):
    """Why a person says no; the agent is told the label and the note."""

    WRONG_TARGET = "wrong_target", "Wrong target"
    WRONG_AMOUNT = "wrong_amount", "Wrong amount"
    NOT_PERMITTED = "not_permitted", "Not permitted"
    NOT_ENOUGH_EVIDENCE = "not_enough_evidence", "Not enough evidence"
    SUSPECTED_INJECTION = "suspected_injection", "Suspected injection"
    DUPLICATE = "duplicate", "Duplicate"
    WRONG_TIME = "wrong_time", "Wrong time"
    WRONG_TOOL = "wrong_tool", "Wrong tool"
    EXPOSES_DATA = "exposes_data", "Exposes data"
    OTHER = "other", "Other"


class RejectScope(models.TextChoices):
    """How far a rejection reaches (`engine.refusals`)."""

    CALL = "call", "This call only: the plan goes on without it"
    STEP = "step", "This step: the agent plans again"
    RUN = "run", "The run: it ends here"


class SkipReason(models.TextChoices):
    """Why a person gives back what the queue has served them."""

    NOT_MINE = "not_mine", "Somebody else should judge it"
    WAITING = "waiting", "I am waiting for an answer"
    CONFLICT = "conflict", "I have a conflict of interest"
    OTHER = "other", "Other"


class GrantSource(models.TextChoices):
    """Who gave the permission."""

    POLICY = "policy", "Policy"
    PROPOSAL = "proposal", "A person"


_BANDS = (("low", "Low"), ("medium", "Medium"), ("high", "High"), ("critical", "Critical"))
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
    risk_band = models.CharField(max_length=10, choices=_BANDS)
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
    terms = models.JSONField(default=list, help_text="What it is found by (`approvals.search`).")
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


class Decision(TenantModel):
    """One person's verdict on one version of a proposal, by the digest of what they saw.

    `final` is the one that closed the proposal; where several people have to approve, the earlier ones are not. One
    that was taken back stays, with the moment.
    """

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="decisions", db_index=False)
    version = models.PositiveIntegerField()
    verdict = models.CharField(max_length=10, choices=Verdict)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    reason_code = models.CharField(max_length=40, choices=RejectReason, blank=True)
    scope = models.CharField(
        max_length=4,
        choices=RejectScope,
        blank=True,
        default="",
        db_default="",
        help_text="How far a rejection reaches.",
    )
    retry = models.BooleanField(
        null=True, blank=True, help_text="Whether the agent may try again in another way, after a rejection."
    )
    note = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    patch = models.JSONField(default=list, help_text="JSON Patch (RFC 6902) from the agent's arguments to these.")
    at = models.DateTimeField()
    final = models.BooleanField(default=True, db_default=True)
    view = models.UUIDField(null=True, blank=True, help_text="The card it was given on; each card serves once.")
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("proposal",), condition=Q(final=True, undone_at__isnull=True), name="decision_once"
            ),
            models.UniqueConstraint(
                fields=("proposal", "version", "user"),
                condition=Q(undone_at__isnull=True),
                name="decision_once_each",
            ),
            models.UniqueConstraint(fields=("proposal", "view"), name="decision_one_per_card"),
            models.CheckConstraint(condition=Q(verdict__in=Verdict.values), name="decision_verdict_known"),
            models.CheckConstraint(
                condition=Q(verdict=Verdict.REJECT, reason_code__in=RejectReason.values)
                | (~Q(verdict=Verdict.REJECT) & Q(reason_code="")),
                name="decision_reason_iff_rejected",
            ),
            models.CheckConstraint(
                condition=Q(verdict=Verdict.REJECT, scope__in=RejectScope.values, retry__isnull=False)
                | Q(scope="", retry__isnull=True),
                name="decision_scope_only_rejected",
            ),
        )
        indexes = (models.Index(fields=("tenant", "user", "-at"), name="decision_by_person"),)

    def __str__(self) -> str:
        return f"{self.get_verdict_display()} ({self.proposal_id})"


class Grant(TenantModel):
    """The permission to execute exactly one digest for one call, once."""

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey("runs.Run", on_delete=models.PROTECT, related_name="grants", db_index=False)
    call_id = models.CharField(max_length=64)
    proposal = models.OneToOneField(Proposal, null=True, blank=True, on_delete=models.PROTECT, related_name="grant")
    source = models.CharField(max_length=10, choices=GrantSource)
    tool = models.CharField(max_length=100)
    contract_version = models.CharField(max_length=32)
    contract_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    not_before = models.DateTimeField(null=True, blank=True, help_text="Its decision can be taken back until then.")
    policy_version = models.PositiveIntegerField(
        default=0, db_default=0, help_text="The version of the policy that let it be; 0 where there was none."
    )
    policy_rule = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="The rule, or the scoped trust, behind it."
    )
    consumed_at = models.DateTimeField(null=True, blank=True)
    thawed_to = models.DateTimeField(
        null=True, blank=True, help_text="Stops and pauses up to this moment have moved `expires_at` already."
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "run", "call_id"), name="grant_once_per_call"),
            models.CheckConstraint(
                condition=Q(source=GrantSource.PROPOSAL, proposal__isnull=False)
                | Q(source=GrantSource.POLICY, proposal__isnull=True),
                name="grant_has_its_source",
            ),
        )

    def __str__(self) -> str:
        return f"{self.tool} {self.call_id} ({self.source})"


class RiskWeights(Change):
    """One version of what a tenant weighs (`approvals.weights`): proposed by one admin, decided by another.

    Versions are never changed and never deleted: a proposal names the one that it was assessed with.
    """

    body = models.JSONField(help_text="Weights in per cent, thresholds, working hours.")

    class Meta:
        verbose_name_plural = "risk weights"
        constraints = (*two_admins("weights"), one_waits("weights"), one_in_force("weights"))


class PolicyVersion(Change):
    """One version of a tenant's policy (`approvals.policy`): proposed by one admin, published by another.

    Of the published ones, the highest version whose moment has come is in force (`approvals.policies`).
    """

    body = models.JSONField(help_text="The rules, in the words of the file.")
    effective_at = models.DateTimeField(help_text="From when it counts; never before it was published.")

    class Meta:
        constraints = (*two_admins("policy"), one_waits("policy"))
        indexes = (
            models.Index(
                fields=("tenant", "-version"),
                condition=Q(status__in=(ChangeStatus.ACTIVE, ChangeStatus.RETIRED)),
                name="policy_published",
            ),
        )


class RuleUse(TenantModel):
    """The calls that a rule of the policy has let run lately, of those that one of its rates counts together.

    Written by `approvals.rates` alone.
    """

    tenant = TenantForeignKey(db_index=False)
    key = models.CharField(max_length=64, help_text="What is counted (`approvals.policy.Rate.key`).")
    uses = models.JSONField(help_text="[seconds since 1970, run and call], the oldest first.")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant", "key"), name="rule_use_once"),)

    def __str__(self) -> str:
        return self.key


class ScopedTrust(TenantModel):
    """A senior's word that calls like an approved one need no person again: same tool, same authority arguments.

    For one run, or until a moment; ended by whoever revokes it. Nothing of it lifts what a sensitive class or a rule of
    the policy asks for.
    """

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.PROTECT, related_name="trusts", db_index=False)
    task_type = models.ForeignKey("runs.TaskType", on_delete=models.PROTECT, related_name="+", db_index=False)
    run = models.ForeignKey(
        "runs.Run", null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    tool = models.CharField(max_length=100)
    contract_digest = models.CharField(max_length=64)
    authority = models.TextField(help_text="Canonical JSON of the authority arguments that it covers.")
    given_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    given_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("proposal",), name="trust_once_per_proposal"),
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("given_at")), name="trust_has_a_length"),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=True, revoked_by__isnull=True)
                | Q(revoked_at__isnull=False, revoked_by__isnull=False),
                name="trust_revoked_by_somebody",
            ),
        )
        indexes = (
            models.Index(fields=("tenant", "ends_at"), condition=Q(revoked_at__isnull=True), name="trust_in_force"),
        )

    def __str__(self) -> str:
        return f"{self.tool} until {self.ends_at:%Y-%m-%d %H:%M}"


class ProposalTerm(TenantModel):
    """One thing that a waiting proposal is found by.

    The database keeps it: triggers on the proposals write what stands in `Proposal.terms` and take it out again when
    the proposal is closed (`approvals.search`). It is a table, because row security lets PostgreSQL use an index only
    for comparisons that cannot leak, and those of its text search can. PostgreSQL may lose it as a whole
    (`approvals.term_index`).
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

    PostgreSQL loses it together with the index. Written by `approvals.term_index` alone.
    """

    tenant = TenantForeignKey(db_index=False)
    upto_run = models.UUIDField()
    upto_call = models.CharField(max_length=64)
    whole = models.BooleanField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("tenant",), name="term_index_once"),)

    def __str__(self) -> str:
        return "whole" if self.whole else f"up to {self.upto_run}"


class Skip(TenantModel):
    """Somebody was served a proposal and gave it back; it is not served to them again."""

    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="skips", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    reason = models.CharField(max_length=20, choices=SkipReason)
    note = models.CharField(max_length=300, blank=True)
    at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("proposal", "user"), name="skip_once"),
            models.CheckConstraint(condition=Q(reason__in=SkipReason.values), name="skip_reason_known"),
        )

    def __str__(self) -> str:
        return f"{self.get_reason_display()} ({self.proposal_id})"


class SavedView(TenantModel):
    """A filter of the queue with a name: one person's, or everybody's in the tenant when it has no owner."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    name = models.CharField(max_length=40)
    query = models.CharField(max_length=400)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    created_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "owner", "name"), name="saved_view_once"),
            models.UniqueConstraint(
                fields=("tenant", "name"), condition=Q(owner__isnull=True), name="saved_view_once_for_all"
            ),
        )

    def __str__(self) -> str:
        return self.name


# --- what a tenant's people agreed on ---------------------------------------------------------------------------------


class StepUp(models.TextChoices):
    """When somebody has to say again who they are."""

    NEVER = "never", "Never"
    RECENT = "recent", "When they last did more than 30 minutes ago"
    ALWAYS = "always", "For every decision"
    FACTOR = "factor", "For every decision, with a passkey or a code"


class BandRule(TenantModel):
    """What a tenant changes about the friction of a band (`approvals.ladder`). Empty keeps the default.

    Only the release delay may be shorter than the default; everything else only gets stricter.
    """

    band = models.CharField(max_length=10, choices=_BANDS)
    release_s = models.PositiveSmallIntegerField(
        "release delay", null=True, blank=True, help_text="Seconds in which an approval can be taken back, 0 to 900."
    )
    reading_s = models.PositiveSmallIntegerField(
        "reading window", null=True, blank=True, help_text="Seconds from opening the card to the earliest approval."
    )
    rationale_chars = models.PositiveSmallIntegerField(
        "reason", null=True, blank=True, help_text="Characters of a reason that an approval needs."
    )
    attestations = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="How many values have to be picked out of near misses."
    )
    approvers = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="How many people have to approve; none of them sees what the others said."
    )
    step_up = models.CharField("sign in again", max_length=10, choices=StepUp, blank=True)

    class Meta:
        verbose_name = "friction of a band"
        verbose_name_plural = "friction of bands"
        constraints = (
            models.UniqueConstraint(fields=("tenant", "band"), name="bandrule_once"),
            models.CheckConstraint(
                condition=Q(release_s__isnull=True) | Q(release_s__lte=900), name="bandrule_release_bounded"
            ),
        )

    def __str__(self) -> str:
        return f"Friction of {self.get_band_display()}"


class Viewing(TenantModel):
    """Which sections of one card, as it was served to one person, that person has opened: name -> when (RFC 3339).

    Needed until the verdict, whose event keeps it. PostgreSQL keeps no log of this table: after the server has crashed
    it is empty, and whoever had opened sections opens them again.
    """

    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, editable=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="viewings", db_index=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    version = models.PositiveIntegerField()
    opened = models.JSONField(default=dict)

    def __str__(self) -> str:
        return f"{self.user_id} on {self.proposal_id}"


class Reading(TenantModel):
    """Somebody has looked at a version of a proposal, for the first time at `at`.

    The audit trail is told by the sweeper (`approvals.readings`), at `recorded_at`.
    """

    tenant = TenantForeignKey(db_index=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="readings", db_index=False)
    version = models.PositiveIntegerField()
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("proposal", "version", "user"), name="reading_once"),)
        indexes = (
            models.Index(fields=("tenant", "id"), condition=Q(recorded_at__isnull=True), name="reading_to_record"),
        )

    def __str__(self) -> str:
        return f"{self.user_id} read version {self.version} of {self.proposal_id}"


class Handling(TenantModel):
    """What was done about an open proposal without deciding it. `user` is empty for what the ladder did by itself."""

    class Kind(models.TextChoices):
        """What it was."""

        ESCALATE = "escalate", "Escalated"
        EXTEND = "extend", "Deadline extended"
        EDIT = "edit", "Edited"
        REMIND = "remind", "Reminded"

    tenant = TenantForeignKey(db_index=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="handlings")
    kind = models.CharField(max_length=10, choices=Kind)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    version = models.PositiveIntegerField()
    at = models.DateTimeField()
    reason = models.TextField(blank=True)
    until = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = (models.Index(fields=("tenant", "kind", "-at"), name="handling_by_kind"),)
        constraints = (
            models.CheckConstraint(
                condition=Q(kind__in=("escalate", "extend", "edit", "remind")),
                name="handling_kind_known",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_kind_display()} ({self.proposal_id})"


# --- who is told, and instead of whom ---------------------------------------------------------------------------------


class Shift(TenantModel):
    """Somebody is on call: reminded first of what waits too long."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        verbose_name = "on-call shift"
        constraints = (
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("starts_at")), name="shift_has_a_length"),
        )
        indexes = (models.Index(fields=("tenant", "ends_at"), name="shift_by_end"),)

    def __str__(self) -> str:
        return f"{self.user} from {self.starts_at:%Y-%m-%d %H:%M}"


class Absence(TenantModel):
    """Somebody is away, and `delegate` is told in their place. It gives nobody a right they do not have."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    delegate = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("starts_at")), name="absence_has_a_length"),
            models.CheckConstraint(condition=~Q(user=models.F("delegate")), name="absence_by_somebody_else"),
        )
        indexes = (models.Index(fields=("tenant", "ends_at"), name="absence_by_end"),)

    def __str__(self) -> str:
        return f"{self.user} until {self.ends_at:%Y-%m-%d %H:%M}"


class Preference(TenantModel):
    """What one person wants in one tenant. No row means the defaults."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    undo_s = models.PositiveSmallIntegerField(
        default=0, help_text="Seconds in which my approvals can be taken back, if that is longer than the band's."
    )
    reminders = models.BooleanField(default=True, help_text="Send me e-mails about what waits too long.")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "user"), name="preference_once"),
            models.CheckConstraint(condition=Q(undo_s__lte=120), name="preference_undo_bounded"),
        )

    def __str__(self) -> str:
        return f"Preferences of {self.user}"


class Notification(TenantModel):
    """An e-mail to be sent: that something waits, with a link. It carries no decision and no arguments."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    proposal = models.ForeignKey(Proposal, on_delete=models.CASCADE, related_name="notifications", db_index=False)
    rung = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("proposal", "user", "rung"), name="notification_once"),)
        indexes = (
            models.Index(fields=("tenant", "id"), condition=Q(sent_at__isnull=True), name="notification_to_send"),
        )

    def __str__(self) -> str:
        return f"{self.user_id} about {self.proposal_id}"
