"""Rows of the run side: what a tenant allows (TaskType, Playbook) and what happened (Run, ToolCall).

The events of a run's stream are the truth; Run and ToolCall are their projection, written in the same transaction.
"""

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q

from agentops.engine.limits import Limits
from agentops.engine.transitions import CallState, Phase, RunState
from agentops.prompts.models import Prompt
from agentops.tenancy.scope import TenantForeignKey, TenantModel
from agentops.wire.ids import uuid7


class PlannerKind(models.TextChoices):
    """Who makes the plan. `auto` uses the model where one is configured and the playbook otherwise."""

    PLAYBOOK = "playbook", "Playbook"
    MODEL = "model", "Model"
    AUTO = "auto", "Model if configured, else playbook"


class Planning(models.TextChoices):
    """When the model plans: once before any untrusted text is read, or one step at a time."""

    PLAN_FIRST = "plan_first", "Plan first (the default wherever untrusted content is read)"
    REACTIVE = "reactive", "Reactive (one step at a time, everything after untrusted text is tainted)"


class Origin(models.TextChoices):
    """Why a run exists."""

    SUBMITTED = "submitted", "Submitted in the browser"
    API = "api", "API"
    SCHEDULE = "schedule", "Schedule"
    REGRESSION = "regression", "Regression"
    REPLAY = "replay", "Replay"
    FORK = "fork", "Fork"


class Playbook(TenantModel):
    """One immutable version of a deterministic planner; saving an edit makes the next version."""

    slug = models.SlugField(max_length=64)
    version = models.PositiveIntegerField()
    body = models.TextField(help_text="JSON: steps with tools, arguments, conditions (CEL) and answers.")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("slug", "-version")
        constraints = (models.UniqueConstraint(fields=("tenant", "slug", "version"), name="playbook_version_unique"),)

    def __str__(self) -> str:
        return f"{self.slug} v{self.version}"


def default_limits() -> dict[str, int]:
    return Limits().to_json()


class TaskType(TenantModel):
    """A kind of work a tenant allows: planner, limits, stop criteria, deadlines."""

    slug = models.SlugField(max_length=64)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True, max_length=2000)
    planner = models.CharField(max_length=16, choices=PlannerKind.choices, default=PlannerKind.PLAYBOOK)
    planning = models.CharField(max_length=16, choices=Planning.choices, default=Planning.PLAN_FIRST)
    playbook = models.ForeignKey(Playbook, null=True, blank=True, on_delete=models.PROTECT, related_name="task_types")
    instructions = models.TextField(blank=True, max_length=8000, help_text="What the model planner is told to do.")
    prompt = models.ForeignKey(
        Prompt,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="task_types",
        help_text="Version of the template the model is told; empty: the built-in one for the way of planning.",
    )
    model_names = models.TextField(
        blank=True,
        max_length=1000,
        help_text="One model a line, <provider>:<model>, in the order they are tried. Empty: those of the environment.",
    )
    model_parameters = models.JSONField(
        default=dict,
        blank=True,
        help_text="JSON object: temperature, top_p, seed, max_tokens, deadline_s, timeout_s.",
    )
    input_schema = models.JSONField(help_text="Strict JSON Schema 2020-12 of a task of this type.")
    limits = models.JSONField(default=default_limits, help_text="Checked before the spend.")
    stop_when = models.TextField(blank=True, max_length=2000, help_text="CEL; the run ends well as soon as it holds.")
    success_when = models.TextField(
        blank=True, max_length=2000, help_text="CEL; if it does not hold at the end, the run failed."
    )
    decide_within_s = models.PositiveIntegerField(default=24 * 3600, help_text="Seconds; silence denies.")
    execute_within_s = models.PositiveIntegerField(default=3600, help_text="Seconds from the decision to execution.")
    priority = models.SmallIntegerField(
        default=0,
        validators=(MinValueValidator(-100), MaxValueValidator(100)),
        help_text="Workers take runs of higher priority first, within the tenant; -100 to 100.",
    )
    critical = models.BooleanField(
        default=False,
        help_text="Its runs have to come through: a fallback playbook takes over when the planner fails.",
    )
    fallback = models.ForeignKey(
        Playbook,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="fallback_of",
        help_text="Takes over when a tool keeps failing, the planner gives no usable plan, or the model's budget is "
        "used up. It goes on from what is done already.",
    )
    output_policy = models.JSONField(
        default=dict,
        blank=True,
        help_text="JSON object: actions, personal, hosts. What may stand in answers and in what calls send out; where "
        "the tenant has rules as well, the stricter one counts.",
    )
    allow_self_approval = models.BooleanField(
        default=False, help_text="May the person who submitted a task approve its proposals?"
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("tenant", "slug"), name="task_type_slug_unique"),)

    def __str__(self) -> str:
        return self.name


class OutputRules(TenantModel):
    """The tenant's own output policy, which holds for all of its task types. At most one row."""

    rules = models.JSONField(default=dict, blank=True, help_text="JSON object: actions, personal, hosts.")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "output policy"
        verbose_name_plural = "output policy"
        constraints = (models.UniqueConstraint(fields=("tenant",), name="output_rules_once"),)

    def __str__(self) -> str:
        return "Output policy"


class Run(TenantModel):
    """One execution of a task. `lease_owner`, `lease_until` and `fence` say which worker may write its events."""

    # Every index is written anew when a run changes its state, so there are none that only a foreign key would want.
    tenant = TenantForeignKey(db_index=False)
    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task_type = models.ForeignKey(TaskType, on_delete=models.PROTECT, related_name="runs", db_index=False)
    origin = models.CharField(max_length=16, choices=Origin.choices, default=Origin.SUBMITTED)
    title = models.CharField(max_length=200, blank=True)
    state = models.CharField(
        max_length=24, choices=[(s.value, s.value) for s in RunState], default=RunState.QUEUED.value
    )
    phase = models.CharField(max_length=12, choices=[(p.value, p.value) for p in Phase], default=Phase.PLAN.value)
    input = models.TextField(help_text="Canonical JSON of the validated task.")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    requested_by_token = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    lease_owner = models.CharField(max_length=64, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    fence = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    not_before = models.DateTimeField(null=True, blank=True)
    priority = models.SmallIntegerField(default=0, help_text="That of its task type when it was submitted.")
    rung_at = models.DateTimeField(null=True, blank=True, help_text="When a worker was last told to look.")
    paused_at = models.DateTimeField(null=True, blank=True, help_text="Since when nothing new starts.")
    halt = models.ForeignKey(
        "halts.Halt",
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text="The stop that holds it; empty for a pause of a person's own.",
    )
    claimable = models.GeneratedField(
        expression=Q(state__in=[s.value for s in RunState if s.claimable], paused_at__isnull=True),  # type: ignore[arg-type]  # the stubs leave Q out
        output_field=models.BooleanField(),
        db_persist=True,
    )
    """Whether a worker may take it up, once it is due and nobody else has it. The database says so."""
    last_error = models.CharField(max_length=300, blank=True, help_text="When, what kind, where and on which worker.")
    last_owner = models.CharField(max_length=64, blank=True, help_text="Whose lease ended before this one began.")
    steps_used = models.PositiveIntegerField(default=0)
    calls_used = models.PositiveIntegerField(default=0)
    denied_calls = models.PositiveIntegerField(default=0)
    failure_code = models.CharField(max_length=40, blank=True)
    failure_message = models.TextField(blank=True)
    answer = models.TextField(blank=True)

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(state__in=[s.value for s in RunState]), name="run_state_known"),
            models.CheckConstraint(
                condition=Q(state__in=[s.value for s in RunState if s.terminal], ended_at__isnull=False)
                | Q(state__in=[s.value for s in RunState if not s.terminal], ended_at__isnull=True),
                name="run_ended_when_terminal",
            ),
            models.CheckConstraint(
                condition=Q(halt__isnull=True) | Q(paused_at__isnull=False), name="run_halted_is_paused"
            ),
        )
        indexes = (
            models.Index(fields=("tenant", "-created_at", "-id"), name="run_newest"),
            # Without the lease and the state, which change all the time: a row that only changes there stays where it
            # is, and no index hears of it.
            models.Index(fields=("tenant", "-priority", "not_before"), condition=Q(claimable=True), name="run_due"),
            models.Index(fields=("tenant", "halt"), condition=Q(halt__isnull=False), name="run_by_halt"),
            models.Index(
                fields=("tenant", "-created_at", "-id"),
                condition=Q(failure_code="dead_letter"),
                name="run_dead_letters",
            ),
        )

    def __str__(self) -> str:
        return f"{self.title or self.task_type_id} ({self.id})"

    @property
    def agent(self) -> str:
        """Who asked for it, as a stop of the line names agents: `token:<id>`, `user:<id>` or empty."""
        return agent_of(self.requested_by_id, self.requested_by_token)


def agent_of(person: int | None, token: str) -> str:
    """Return `Run.agent` of a run that this person or token asked for."""
    if token:
        return f"token:{token}"
    return f"user:{person}" if person is not None else ""


class Submission(TenantModel):
    """A form that a person has sent, by the one-time key it was given: the same form sent twice starts one run.

    `form` is SHA-256 over that key and everything that was typed, so a form that was changed and sent again is another.
    """

    submitted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    form = models.CharField(max_length=64)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    submitted_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "submitted_by", "form"), name="submission_once_per_form"),
        )
        indexes = (models.Index(fields=("tenant", "submitted_at"), name="submission_age"),)

    def __str__(self) -> str:
        return f"{self.form[:12]} by {self.submitted_by_id}"


class ToolCall(TenantModel):
    """One invocation, projected from the events of its run, which alone hold its arguments and keys.

    No index speaks of the state: a row that goes from its intent to its outcome stays where it is, and no index hears
    of it.
    """

    # Every step writes calls, in the statement that changes the row of their run: nothing has to be looked up for that.
    tenant = TenantForeignKey(db_index=False, db_constraint=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="calls", db_index=False, db_constraint=False)
    call_id = models.CharField(max_length=64)
    step_id = models.CharField(max_length=64)
    tool = models.CharField(max_length=64)
    version = models.CharField(max_length=32)
    effect = models.CharField(max_length=20, blank=True)
    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in CallState])
    code = models.CharField(max_length=40, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    hook_asked = models.BooleanField(default=False, help_text="The tool was asked what became of it, and cannot tell.")
    unsettled = models.BooleanField(
        default=False, help_text="No worker will find out what became of it: the sweeper has to, or a person."
    )
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "run", "call_id"), name="tool_call_unique"),
            models.CheckConstraint(condition=Q(state__in=[s.value for s in CallState]), name="tool_call_state_known"),
        )
        indexes = (models.Index(fields=("tenant", "id"), condition=Q(unsettled=True), name="tool_call_unsettled"),)

    def __str__(self) -> str:
        return f"{self.tool} {self.call_id}"
