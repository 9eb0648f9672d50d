"""Rows of replay and regression: imported records, cases, and what suites have shown, release after release."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.audit.packing import PackedTextField
from agentops.runs.models import Origin
from agentops.tenancy.scope import TenantModel
from agentops.wire.ids import uuid7


class ImportedRun(TenantModel):
    """A record that came as a file. It is no run: nothing takes it up, and none of its events stand in our trail."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    origin = models.CharField(max_length=16, choices=Origin.choices, default=Origin.REPLAY)
    digest = models.CharField(max_length=64)
    title = models.CharField(max_length=200, blank=True)
    task_type = models.CharField(max_length=64, blank=True)
    source = models.CharField(max_length=120, blank=True, help_text="Tenant and id it claims to come from.")
    body = PackedTextField()
    imported_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    imported_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "digest"), name="imported_run_once"),
            models.CheckConstraint(condition=Q(origin=Origin.REPLAY), name="imported_run_is_a_replay"),
        )
        indexes = (models.Index(fields=("tenant", "-imported_at"), name="imported_run_newest"),)

    def __str__(self) -> str:
        return f"{self.title or self.task_type} ({self.source})"


class Rules(TenantModel):
    """The rules that cases are decided by: the policy and the allowlist of a task type as they were. Never changes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    task_type = models.SlugField(max_length=64)
    policy_version = models.PositiveIntegerField(help_text="0 where no policy was published.")
    policy = models.JSONField(help_text="The rules of that version, as they are stored.")
    allowlist_version = models.PositiveIntegerField(help_text="Of the newest change of the allowlist; 0 for none.")
    allowlist = models.JSONField(help_text="Rule by tool.")
    digest = models.CharField(max_length=64, help_text="SHA-256 of all that but the versions.")
    made_at = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("tenant", "digest", "policy_version", "allowlist_version"), name="rules_once"
            ),
        )

    def __str__(self) -> str:
        return f"policy {self.policy_version}, allowlist {self.allowlist_version}"


class CaseSource(models.TextChoices):
    """Where a case came from."""

    RUN = "run", "Promoted from a run"
    REJECTION = "rejection", "Made from a rejection"
    FILE = "file", "Taken from a file"


class Case(TenantModel):
    """One regression case of a tenant. `body` is its written form (`cases.Case`), canonical JSON; it never changes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    suite = models.SlugField(max_length=64)
    slug = models.SlugField(max_length=80)
    task_type = models.SlugField(max_length=64)
    title = models.CharField(max_length=200)
    body = models.TextField()
    source = models.CharField(max_length=12, choices=CaseSource)
    source_run = models.UUIDField(null=True, blank=True)
    source_proposal = models.UUIDField(null=True, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField()
    rules = models.ForeignKey(
        Rules,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text="What it is decided by; empty for the rules of the day.",
    )
    retired_at = models.DateTimeField(null=True, blank=True, help_text="Since when it is not run any more.")
    quarantined_until = models.DateTimeField(null=True, blank=True, help_text="Until then a failure fails nothing.")
    quarantine_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "suite", "slug"), name="case_slug_once"),
            models.CheckConstraint(condition=Q(source__in=CaseSource.values), name="case_source_known"),
            models.CheckConstraint(
                condition=Q(quarantined_until__isnull=True) | ~Q(quarantine_reason=""), name="case_quarantined_why"
            ),
        )
        indexes = (
            models.Index(fields=("tenant", "source_run"), name="case_by_run"),
            models.Index(fields=("tenant", "source_proposal"), name="case_by_proposal"),
        )

    def __str__(self) -> str:
        return f"{self.suite}/{self.slug}"


class Verdict(models.TextChoices):
    """What a suite has shown."""

    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"


class SuiteRun(TenantModel):
    """One suite, run once on one release: `repeat` trials of every case. Append-only by use: nothing changes a row."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    suite = models.SlugField(max_length=64)
    release = models.CharField(max_length=120)
    repeat = models.PositiveSmallIntegerField()
    verdict = models.CharField(max_length=8, choices=Verdict)
    baseline = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="What it is compared with."
    )
    summary = models.JSONField(help_text="pass^k, counts, and the comparison with the baseline (`reports.summary`).")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(verdict__in=Verdict.values), name="suite_run_verdict_known"),
            models.CheckConstraint(condition=Q(repeat__gte=1), name="suite_run_repeats"),
        )
        indexes = (
            models.Index(fields=("tenant", "-started_at", "-id"), name="suite_run_newest"),
            models.Index(fields=("tenant", "suite", "-started_at"), name="suite_run_by_suite"),
        )

    def __str__(self) -> str:
        return f"{self.suite} on {self.release}: {self.verdict}"


class CaseResult(TenantModel):
    """How one case came out in one run of its suite. `record` is the first trial that failed, as a file."""

    suite_run = models.ForeignKey(SuiteRun, on_delete=models.CASCADE, related_name="results", db_index=False)
    slug = models.SlugField(max_length=80)
    title = models.CharField(max_length=200)
    passes = models.PositiveSmallIntegerField()
    trials = models.PositiveSmallIntegerField()
    quarantined = models.BooleanField(default=False)
    problems = models.JSONField(default=list, help_text="What the first failing trial did wrong: {code, message} each.")
    steps = models.PositiveIntegerField(default=0)
    calls = models.PositiveIntegerField(default=0)
    duration_ms = models.PositiveIntegerField(default=0)
    record = PackedTextField(default="", blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("tenant", "suite_run", "slug"), name="case_result_once"),
            models.CheckConstraint(condition=Q(passes__lte=models.F("trials")), name="case_result_passes_bounded"),
        )

    def __str__(self) -> str:
        return f"{self.slug}: {self.passes} of {self.trials}"


class RehearsalState(models.TextChoices):
    """The life of a request to run a suite."""

    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Could not be run"


UNDER_WAY = (RehearsalState.WAITING, RehearsalState.RUNNING)


class Rehearsal(TenantModel):
    """A suite that somebody wants to be run, from the site: the worker takes it up (`rehearsing`)."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    suite = models.SlugField(max_length=64)
    release = models.CharField(max_length=120)
    repeat = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=10, choices=RehearsalState, default=RehearsalState.WAITING)
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    asked_at = models.DateTimeField()
    trials = models.PositiveIntegerField(help_text="How many there are to run.")
    done = models.PositiveIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="How often a worker has begun.")
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=300, blank=True)
    suite_run = models.ForeignKey(
        SuiteRun, null=True, blank=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )

    class Meta:
        constraints = (
            models.CheckConstraint(condition=Q(state__in=RehearsalState.values), name="rehearsal_state_known"),
            models.CheckConstraint(
                condition=Q(state__in=UNDER_WAY, ended_at__isnull=True)
                | (~Q(state__in=UNDER_WAY) & Q(ended_at__isnull=False)),
                name="rehearsal_ended_once",
            ),
            models.CheckConstraint(
                condition=(~Q(state="done") & Q(suite_run__isnull=True)) | Q(state="done", suite_run__isnull=False),
                name="rehearsal_done_has_shown",
            ),
            models.UniqueConstraint(
                fields=("tenant", "suite"), condition=Q(state__in=UNDER_WAY), name="rehearsal_one_under_way"
            ),
        )
        indexes = (models.Index(fields=("tenant", "-asked_at"), name="rehearsal_newest"),)

    def __str__(self) -> str:
        return f"{self.suite} on {self.release}: {self.state}"
