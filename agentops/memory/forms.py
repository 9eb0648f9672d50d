"""What people send to the memory pages: filters in the address, and verdicts."""

from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms

from agentops.guardrails.text import surface
from agentops.memory.models import MAX_STATEMENT, Fact, FactStatus
from agentops.memory.services import MAX_NOTE
from agentops.runs.models import TaskType

EVERY = ("", "Every kind of task")


class FactFilter(forms.Form):
    """The filters of the list as they stand in the address."""

    status = forms.ChoiceField(required=False, choices=[("", "any"), *FactStatus.choices])
    task_type = forms.SlugField(required=False, max_length=64)
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class WaitingFilter(forms.Form):
    """Where the curation queue goes on."""

    after = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class VerdictForm(forms.Form):
    """A curator's verdict. `confirmed` is the explicit yes to a statement that outsiders may have written."""

    VERDICTS = (
        ("approve", "Approve"),
        ("edit", "Edit and approve"),
        ("reject", "Reject"),
        ("revoke", "Revoke"),
    )
    verdict = forms.ChoiceField(choices=VERDICTS)
    confirmed = forms.BooleanField(required=False)
    note = forms.CharField(required=False, max_length=MAX_NOTE)


class EditForm(forms.Form):
    """What a curator may change about a fact: statement, the kind of task that recalls it, its last day (UTC).

    Hidden characters stand in the statement by name: what is approved is what a person could read.
    """

    statement = forms.CharField(max_length=MAX_STATEMENT, widget=forms.Textarea(attrs={"rows": 3}))
    task_type = forms.ChoiceField(required=False, choices=[EVERY], label="Recalled by")
    last_day = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), label="Until (UTC)")

    def __init__(self, fact: Fact, task_types: Iterable[TaskType], data: Any = None) -> None:
        self.fact = fact
        self.task_types = {one.slug: one for one in task_types}
        initial = {
            "statement": surface(fact.statement),
            "task_type": fact.task_type.slug if fact.task_type is not None else "",
            "last_day": _last_day(fact.expires_at),
        }
        super().__init__(data, initial=initial)
        scope = self.fields["task_type"]
        assert isinstance(scope, forms.ChoiceField)
        scope.choices = [EVERY, *((slug, one.name) for slug, one in self.task_types.items())]

    def clean_statement(self) -> str:
        """Take the line ends of a browser back, so that an untouched statement is no edit, and let nothing hide."""
        return surface(str(self.cleaned_data["statement"]).replace("\r\n", "\n"))

    @property
    def scope(self) -> TaskType | None:
        """The chosen task type; None for every kind. Call after validation."""
        return self.task_types.get(self.cleaned_data["task_type"])

    @property
    def expires_at(self) -> datetime:
        """The end of the last day, or the exact moment the fact has already when the day was left as it is."""
        day = self.cleaned_data["last_day"]
        if day == _last_day(self.fact.expires_at):
            return self.fact.expires_at
        return datetime.combine(day, time(), UTC) + timedelta(days=1)


def _last_day(expires_at: datetime) -> Any:
    """Return the last day (UTC) that a fact is remembered on."""
    return (expires_at.astimezone(UTC) - timedelta(microseconds=1)).date()
