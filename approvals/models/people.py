"""Who is served, told and reminded, and what each person wants."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from agentops.tenancy.scope import TenantModel
from approvals.models.proposals import Proposal


class SkipReason(models.TextChoices):
    """Why a person gives back what the queue has served them."""

    NOT_MINE = "not_mine", "Somebody else should judge it"
    WAITING = "waiting", "I am waiting for an answer"
    CONFLICT = "conflict", "I have a conflict of interest"
    OTHER = "other", "Other"


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
