"""What stands in the address of the metrics pages, and the form that resets an alarm."""

from datetime import UTC, datetime

from django import forms
from django.core.exceptions import ValidationError

from agentops.metrics.dashboard import WINDOWS


class MetricsFilter(forms.Form):
    """Which window, and which task type (empty: all)."""

    window = forms.ChoiceField(required=False, choices=[(w.name, w.words) for w in WINDOWS.values()])
    task_type = forms.SlugField(required=False, max_length=64)

    def clean_window(self) -> str:
        """Look back seven days unless told otherwise."""
        return self.cleaned_data["window"] or "7d"


class FactFilter(forms.Form):
    """The runs behind a point. `before` continues a list (`<RFC 3339>~<number>`)."""

    task_type = forms.SlugField(required=False, max_length=64)
    outcome = forms.ChoiceField(
        required=False,
        choices=[("", "any"), ("succeeded", "succeeded"), ("failed", "failed"), ("cancelled", "cancelled")],
    )
    only = forms.ChoiceField(
        required=False, choices=[("", "any"), ("tool_errors", "tool errors"), ("overrides", "overridden")]
    )
    since = forms.CharField(required=False, max_length=40)
    until = forms.CharField(required=False, max_length=40)
    before = forms.CharField(required=False, max_length=80)

    def clean_since(self) -> datetime | None:
        """Read the beginning."""
        return _moment(self.cleaned_data["since"])

    def clean_until(self) -> datetime | None:
        """Read the end."""
        return _moment(self.cleaned_data["until"])

    def clean_before(self) -> tuple[datetime, int] | None:
        """Read the place the previous page ended at."""
        text = self.cleaned_data["before"]
        if not text:
            return None
        moment, _, number = text.partition("~")
        at = _moment(moment)
        if at is None or not number.isascii() or not number.isdecimal() or len(number) > 18:
            raise ValidationError("This page address is damaged; start from the first page.")
        return at, int(number)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise ValueError("a moment has its time zone")
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValidationError("This is no moment, as in 2026-11-22T09:00:00+00:00.") from None
