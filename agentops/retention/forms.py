"""What people send: what a hold is to cover."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms

from agentops.retention.models import HoldKind
from agentops.retention.services import MAX_MATTER, Wanted


class HoldForm(forms.Form):
    """One hold; what its kind does not need is left alone."""

    kind = forms.ChoiceField(choices=HoldKind.choices, label="What is to be held")
    run_id = forms.UUIDField(required=False, label="Run")
    proposal_id = forms.UUIDField(required=False, label="Proposal")
    person = forms.CharField(required=False, max_length=150, label="Person", help_text="The name they sign in with.")
    since = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, label="Up to and including", widget=forms.DateInput(attrs={"type": "date"}))
    matter = forms.CharField(max_length=MAX_MATTER, label="Matter", help_text="Its reference, as counsel knows it.")
    reason = forms.CharField(max_length=2_000, label="Why", widget=forms.Textarea(attrs={"rows": 2}))

    def clean_until(self) -> date | None:
        """Refuse a day that nothing follows."""
        day: date | None = self.cleaned_data["until"]
        if day is not None and day == date.max:
            raise forms.ValidationError("Choose an earlier day.")
        return day

    def wanted(self) -> Wanted:
        """Return what was asked for; days are those of UTC."""
        found: dict[str, Any] = self.cleaned_data
        since, until = found["since"], found["until"]
        return Wanted(
            kind=found["kind"],
            run_id=found["run_id"],
            proposal_id=found["proposal_id"],
            person=found["person"].strip(),
            since=datetime.combine(since, time.min, UTC) if since else None,
            until=datetime.combine(until, time.min, UTC) + timedelta(days=1) if until else None,
        )
