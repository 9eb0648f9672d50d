"""What people send: a place in a record, what to hide in an export, a file, a quarantine."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from agentops.regression.recordings import MAX_BYTES
from agentops.regression.rehearsing import MOST_REPEAT

MASKS = (
    ("all", "secrets and personal data"),
    ("personal", "personal data"),
    ("secrets", "secrets"),
    ("none", "nothing"),
)
MAX_QUARANTINE = timedelta(days=90)


class PlaceForm(forms.Form):
    """`at` is the position of an event in its record, from 1."""

    at = forms.IntegerField(required=False, min_value=1, max_value=1_000_000)


class ExportForm(forms.Form):
    """What to hide in the file."""

    mask = forms.ChoiceField(label="Hide", choices=MASKS, initial="all")


class ImportForm(forms.Form):
    """A file that somebody exported."""

    file = forms.FileField(label="Exported run", help_text="JSON, as a run page or run_export writes it.")

    def clean_file(self) -> bytes:
        """Read the file, if it is not too large."""
        found = self.cleaned_data["file"]
        if found.size > MAX_BYTES:
            raise ValidationError(f"The file has {found.size} bytes; {MAX_BYTES} are read.")
        raw: bytes = found.read()
        return raw


class RehearsalForm(forms.Form):
    """Which suite is to be run, as which release, and how often each case."""

    suite = forms.SlugField(max_length=64, widget=forms.HiddenInput)
    release = forms.CharField(label="Release", required=False, max_length=120)
    repeat = forms.IntegerField(label="Trials of each case", min_value=1, max_value=MOST_REPEAT, initial=1)


class SuiteForm(forms.Form):
    """A suite by its name."""

    suite = forms.SlugField(max_length=64)


class CompareForm(forms.Form):
    """Two runs of one suite."""

    before = forms.UUIDField(required=False)
    after = forms.UUIDField(required=False)


class QuarantineForm(forms.Form):
    """Until which day (the end of it, UTC) failures do not count, and why; an empty day ends a quarantine."""

    until = forms.DateField(label="Last day", required=False, widget=forms.DateInput(attrs={"type": "date"}))
    reason = forms.CharField(label="Why", required=False, max_length=300)

    def clean(self) -> dict[str, Any]:
        """A quarantine has an end that can be seen from here, and a reason."""
        found: dict[str, Any] = super().clean() or {}
        day = found.get("until")
        if day is None:
            return found
        found["until"] = datetime.combine(day, time.max, UTC)
        today = datetime.now(UTC)
        if not today < found["until"] <= today + MAX_QUARANTINE:
            self.add_error("until", f"Choose a day within the next {MAX_QUARANTINE.days} days.")
        if not found.get("reason", "").strip():
            self.add_error("reason", "Say why: a quarantine without a reason is never lifted.")
        return found
