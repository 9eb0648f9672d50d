"""What people send to the queue and to a proposal: filters in the address, and decisions."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict

from agentops.proving import UNPROVED, Proved
from approvals.assessing.ladder import SECTIONS
from approvals.cards.bar import ATTEST
from approvals.decisions.friction import Evidence
from approvals.models import RejectReason, RejectScope, SkipReason
from approvals.queue.selectors import Place


class QueueFilter(forms.Form):
    """What stands in the address of the queue: the filter line `q`, `after` to continue a list, `open` to show one."""

    q = forms.CharField(required=False, max_length=2_000, strip=True)
    after = forms.CharField(required=False, max_length=80)
    open = forms.CharField(required=False, max_length=40)

    def clean_after(self) -> Place | None:
        """Read the place the previous page ended at."""
        text = self.cleaned_data["after"]
        if not text:
            return None
        try:
            return Place.parse(text)
        except ValueError:
            raise ValidationError("This page address is damaged; start from the first page.") from None

    def clean_open(self) -> UUID | int | None:
        """Read what is to be shown beside the list: the id of a proposal, or `call-<id>` of an unknown effect."""
        text = self.cleaned_data["open"]
        if not text:
            return None
        number = text.removeprefix("call-")
        if number != text and number.isdecimal() and len(number) <= 18:
            return int(number)
        try:
            return UUID(text)
        except ValueError:
            raise ValidationError("There is nothing of that name.") from None

    @property
    def opened(self) -> UUID | None:
        """The proposal to show beside the list."""
        found = self.cleaned_data.get("open")
        return found if isinstance(found, UUID) else None

    @property
    def opened_call(self) -> int | None:
        """The unknown effect to show beside the list."""
        found = self.cleaned_data.get("open")
        return found if isinstance(found, int) else None


class DecisionForm(forms.Form):
    """A verdict on what the person saw: version and digest of the proposal come back with it."""

    DECISIONS = (("approve", "Approve"), ("edit", "Edit and approve"), ("reject", "Reject"))
    decision = forms.ChoiceField(choices=DECISIONS)
    version = forms.IntegerField(min_value=1, max_value=2**31 - 1)
    args_digest = forms.RegexField(r"\A[0-9a-f]{64}\Z")
    reason_code = forms.CharField(required=False, max_length=40)
    scope = forms.CharField(required=False, max_length=10, empty_value=RejectScope.STEP)
    retry = forms.ChoiceField(required=False, choices=[("yes", "Yes"), ("no", "No")])
    note = forms.CharField(required=False, max_length=20_000)
    view_token = forms.CharField(required=False, max_length=1_000)


class QuestionForm(forms.Form):
    """A question to the agent about what the person saw. The service says what a question has to be."""

    version = forms.IntegerField(min_value=1, max_value=2**31 - 1)
    args_digest = forms.RegexField(r"\A[0-9a-f]{64}\Z")
    question = forms.CharField(required=False, max_length=20_000)


class SeenForm(forms.Form):
    """Which section of which card somebody has opened."""

    section = forms.ChoiceField(choices=[(name, name) for name in SECTIONS])
    view_token = forms.CharField(max_length=1_000)


class StepUpForm(forms.Form):
    """A verdict that waits for its person's password: signed by the server, so that nothing of it is typed again."""

    intent = forms.CharField(max_length=1_000_000)


class ReasonForm(forms.Form):
    """Why a proposal is escalated, or gets `minutes` more. The service says what a reason has to be."""

    reason = forms.CharField(required=False, max_length=20_000)
    minutes = forms.IntegerField(required=False, min_value=1, max_value=10_000)


class ManyForm(forms.Form):
    """One reason for many rejections; the rows are `chosen` (`bulk.Chosen`)."""

    reason_code = forms.ChoiceField(choices=RejectReason.choices, error_messages={"required": "Choose a reason."})
    scope = forms.CharField(required=False, max_length=10, empty_value=RejectScope.STEP)
    retry = forms.ChoiceField(required=False, choices=[("yes", "Yes"), ("no", "No")])
    note = forms.CharField(required=False, max_length=2_000)


class PreferenceForm(forms.Form):
    """What a person wants for themselves."""

    undo_s = forms.TypedChoiceField(
        label="Time to take an approval back",
        coerce=int,
        choices=((0, "as long as the band has"), (30, "at least 30 s"), (60, "at least 60 s"), (120, "at least 120 s")),
    )
    reminders = forms.BooleanField(label="Send me e-mails about what waits too long", required=False)


class AbsenceForm(forms.Form):
    """When somebody is away (UTC), and who is reminded in their place."""

    starts_at = forms.DateTimeField(label="From (UTC)", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    ends_at = forms.DateTimeField(label="Until (UTC)", widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    delegate = forms.TypedChoiceField(label="In my place", coerce=int)

    def __init__(self, *args: Any, people: Sequence[tuple[int, str]] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["delegate"] = forms.TypedChoiceField(
            label="In my place", coerce=int, choices=[("", "Choose somebody"), *people]
        )

    def clean(self) -> dict[str, Any]:
        """The end comes after the beginning."""
        cleaned = super().clean() or self.cleaned_data
        starts, ends = cleaned.get("starts_at"), cleaned.get("ends_at")
        if starts is not None and ends is not None and ends <= starts:
            self.add_error("ends_at", "The end comes after the beginning.")
        return cleaned


class ServeForm(forms.Form):
    """Ask for the next proposal of a filter, and say why the last one is given back."""

    q = forms.CharField(required=False, max_length=2_000)
    skip_reason = forms.ChoiceField(required=False, choices=[("", ""), *SkipReason.choices])
    note = forms.CharField(required=False, max_length=2_000)


class HoldForm(forms.Form):
    """Put a proposal off by some minutes, with a reason. The service says what a reason has to be."""

    minutes = forms.IntegerField(
        min_value=1, max_value=24 * 60, error_messages={"required": "Say for how long.", "invalid": "Say for how long."}
    )
    reason = forms.CharField(required=False, max_length=2_000)


class AssignForm(forms.Form):
    """Whose a proposal is to be, by user name, and why."""

    to = forms.CharField(max_length=150, error_messages={"required": "Choose somebody."})
    reason = forms.CharField(required=False, max_length=2_000)


class SaveViewForm(forms.Form):
    """A filter line with a name; `shared` makes it everybody's."""

    name = forms.CharField(required=False, max_length=200)
    q = forms.CharField(required=False, max_length=2_000)
    shared = forms.BooleanField(required=False)


class AnswerForm(forms.Form):
    """What a person found out about an effect of which nobody knew whether it happened."""

    VERDICTS = (("happened", ""), ("did_not_happen", ""), ("gave_up", ""))
    attempt = forms.IntegerField(min_value=0, max_value=2**31 - 1)
    verdict = forms.ChoiceField(
        choices=VERDICTS,
        error_messages={"required": "Say what you found out.", "invalid_choice": "Choose one of these."},
    )
    note = forms.CharField(required=False, max_length=20_000)
    reference = forms.CharField(required=False, max_length=1_000)


class PauseForm(forms.Form):
    """Why a run is paused, resumed or tried again. The service says what a reason has to be."""

    reason = forms.CharField(required=False, max_length=20_000)


class StopForm(forms.Form):
    """What is stopped (`scope:target`) and why."""

    what = forms.CharField(required=False, max_length=140)
    reason = forms.CharField(required=False, max_length=20_000)


def brought(posted: QueryDict, proved: Proved = UNPROVED) -> Evidence:
    """Return what came back with a verdict besides the verdict itself."""
    return Evidence(
        token=str(posted.get("view_token", "")),
        answers={name.removeprefix(ATTEST): str(posted[name]) for name in posted if name.startswith(ATTEST)},
        facts=tuple(str(one) for one in posted.getlist("fact")[:50]),
        proved=proved,
    )
