"""The filters of the audit list, as they stand in the address."""

import re
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from django import forms
from django.core.exceptions import ValidationError

from agentops.audit.terms import DIGEST, KEYS, term

MOST_TERMS = 6
_PARTS = re.compile(r'(?:[^\s"]|"[^"]*")+')


def _one_uuid(value: str) -> UUID | None:
    if not value:
        return None
    try:
        return UUID(value.removeprefix("run:"))
    except ValueError:
        raise ValidationError("This is not an id; copy it from the run or the proposal.") from None


class _Moment(forms.DateTimeField):
    """A time that exists in UTC, where a database compares it."""

    def to_python(self, value: Any) -> datetime | None:
        """Refuse a time that an offset moves out of the calendar."""
        try:
            read = super().to_python(value)
            return read.astimezone(UTC) if read else None
        except OverflowError:
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class AuditFilter(forms.Form):
    """Exact terms; a type ending in a dot or `*` means everything that begins so. All are optional."""

    type = forms.CharField(
        required=False, max_length=64, help_text="For example proposal.decided, or run. for everything about runs"
    )
    actor = forms.CharField(required=False, max_length=150, help_text="User name, worker, system, or token:<id>")
    tool = forms.CharField(required=False, max_length=128)
    run = forms.CharField(required=False, max_length=64, label="Run id")
    proposal = forms.CharField(required=False, max_length=64, label="Proposal id")
    subject = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput)
    terms = forms.CharField(
        required=False,
        max_length=300,
        widget=forms.TextInput(attrs={"placeholder": "decision:approve band:high"}),
        help_text="decision:approve band:high policy:sensitive.financial task: role: outcome: digest: ref: taint:yes "
        "has:note is:orphan is:self; all of them must hold",
    )
    since = _Moment(required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    until = _Moment(required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}))
    before = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)
    after = forms.IntegerField(required=False, min_value=1, max_value=2**63 - 1, widget=forms.HiddenInput)

    def clean_run(self) -> UUID | None:
        """Accept a run id with or without dashes, or a stream name."""
        return _one_uuid(self.cleaned_data["run"])

    def clean_proposal(self) -> UUID | None:
        """Accept a proposal id with or without dashes."""
        return _one_uuid(self.cleaned_data["proposal"])

    def clean_terms(self) -> tuple[str, ...]:
        """Read `key:value` pairs, values with spaces in quotes; name what is none."""
        found: list[str] = []
        for part in _PARTS.findall(self.cleaned_data["terms"]):
            key, _, value = part.partition(":")
            value = value.strip('"').strip()
            if key not in KEYS or not value:
                near = get_close_matches(key, KEYS, 1)
                hint = f" Did you mean {near[0]}:?" if near and key not in KEYS else ""
                raise ValidationError(f"There is no term {part[:40]!r}; terms are {', '.join(KEYS)}.{hint}")
            if key == "digest" and len(value.removeprefix("sha256:")) < DIGEST:
                raise ValidationError(f"Of a digest at least {DIGEST} digits are needed.")
            found.append(term(key, value))
        if len(found) > MOST_TERMS:
            raise ValidationError(f"At most {MOST_TERMS} terms.")
        return tuple(dict.fromkeys(found))

    def clean(self) -> dict[str, Any]:
        """Refuse an empty span of time."""
        cleaned = super().clean() or self.cleaned_data
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and since >= until:
            self.add_error("until", "The end lies before the beginning.")
        return cleaned
