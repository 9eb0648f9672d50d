"""Forms of the run side: the filters of the list, the typed form of a task, and why a run is cancelled."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core.exceptions import ValidationError

from agentops.engine.transitions import RunState
from agentops.runs.fields import CURRENCY, SchemaField, UnreadableValue, schema_fields
from agentops.runs.models import TaskType
from agentops.wire.parse import JSONObject, WireError, guard
from tools.contracts import ContractError
from tools.schema import compile as compile_schema

STATES: tuple[tuple[str, str], ...] = (
    (RunState.QUEUED, "queued"),
    (RunState.RUNNING, "running"),
    (RunState.WAITING_RETRY, "retries soon"),
    (RunState.AWAITING_APPROVAL, "waits for a person"),
    (RunState.AWAITING_RECONCILIATION, "outcome unknown"),
    (RunState.SUCCEEDED, "succeeded"),
    (RunState.FAILED, "failed"),
    (RunState.CANCELLED, "cancelled"),
)


ONLY: tuple[tuple[str, str], ...] = (("dead_letter", "dead letters"), ("paused", "paused or stopped"))
PREFIX = "task:"


class RunFilter(forms.Form):
    """The filters of the run list as they stand in the address. `before` continues a list (`<RFC 3339>~<run id>`)."""

    state = forms.ChoiceField(required=False, choices=[("", "any"), *STATES])
    task_type = forms.SlugField(required=False, max_length=64)
    only = forms.ChoiceField(required=False, choices=[("", "any"), *ONLY])
    before = forms.CharField(required=False, max_length=80)

    def clean_before(self) -> tuple[datetime, UUID] | None:
        """Read the place the previous page ended at."""
        text = self.cleaned_data["before"]
        if not text:
            return None
        moment, _, run_id = text.partition("~")
        try:
            at = datetime.fromisoformat(moment)
            if at.tzinfo is None:
                raise ValueError("a place has its time zone")
            return at.astimezone(UTC), UUID(run_id)
        except (ValueError, OverflowError):
            raise ValidationError("This page address is damaged; start from the first page.") from None


class ArtifactForm(forms.Form):
    """Which value of a run's task memory, as it stands in the address; `part` is the page of a long one."""

    call = forms.CharField(max_length=64)
    name = forms.CharField(required=False, max_length=1_000, strip=False)
    part = forms.IntegerField(required=False, min_value=1, max_value=10_000)


class OneTimeKey(forms.UUIDField):
    """The key of one page; None where there is none to read, as on a page that somebody wrote by hand."""

    widget = forms.HiddenInput

    def clean(self, value: Any) -> UUID | None:
        """Return the key; a bad one is no reason to lose what was typed."""
        try:
            return super().clean(value)  # type: ignore[no-any-return]
        except ValidationError:
            return None


class TaskForm(forms.Form):
    """The task of one type, field by field as its input schema says.

    After validation `task` is the JSON object for `services.submit`. What cannot be read, and what the schema refuses,
    is an error of its field; everything typed stays in the form.
    """

    def __init__(self, task_type: TaskType, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, initial={"once": str(uuid4())})
        self.task_type = task_type
        self.task: JSONObject = {}
        self.members = schema_fields(task_type.input_schema)
        for member in self.members:
            self.fields[_key(member)] = _django_field(member)
        self.fields["title"] = forms.CharField(
            required=False,
            max_length=200,
            label="Title of the run",
            help_text="What this run is called in lists. Optional.",
            widget=forms.TextInput(attrs={"autocomplete": "off"}),
        )
        # Lets the same form, sent twice, start one run. A page that is too old or was made by hand has none.
        self.fields["once"] = OneTimeKey(required=False)

    def clean(self) -> dict[str, Any]:
        """Read every field, then ask the schema."""
        cleaned = super().clean() or self.cleaned_data
        currency = str(cleaned.get(f"{PREFIX}{CURRENCY}") or "")
        for member in self.members:
            if _key(member) in self.errors:
                continue
            try:
                self.task[member.name] = member.read(str(cleaned.get(_key(member)) or ""), currency)
            except UnreadableValue as problem:
                self.add_error(_key(member), str(problem))
        if not self.errors:
            self._ask_schema(self.task)
        return cleaned

    def _ask_schema(self, task: JSONObject) -> None:
        try:
            guard(task)
            issues = compile_schema(self.task_type.input_schema).validate(task)
        except WireError as problem:
            self.add_issues([(problem.path, problem.message)])
        except ContractError as problem:
            self.add_error(None, f"This task type cannot be used: {problem}")
        else:
            self.add_issues((issue.path, issue.message) for issue in issues)

    def add_issues(self, issues: Iterable[tuple[str, str]]) -> None:
        """Show what is wrong beside the fields it is about; `issues` are (JSON pointer or field name, sentence)."""
        pointers = {member.pointer: _key(member) for member in self.members}
        for path, message in issues:
            top = "/" + path.split("/")[1] if path.startswith("/") else path
            self.add_error(pointers.get(top), message)


class CancelForm(forms.Form):
    """Why a run is stopped."""

    reason = forms.CharField(required=False, max_length=500)


def _key(member: SchemaField) -> str:
    """Name a member's form field so that no member can be taken for another field of the form."""
    return f"{PREFIX}{member.name}"


def _django_field(member: SchemaField) -> forms.Field:
    common: dict[str, Any] = {
        "label": member.label,
        "help_text": _help(member),
        "required": not member.may_be_empty,
    }
    if member.kind == "select":
        choices = member.choices if "" in member.keys else (("", "Choose"), *member.choices)
        return forms.ChoiceField(choices=choices, **common)
    widget = forms.Textarea(attrs={"rows": 6}) if member.long else forms.TextInput(attrs={"autocomplete": "off"})
    if member.kind in ("number", "money"):
        widget.attrs["inputmode"] = "decimal"
    return forms.CharField(widget=widget, strip=False, max_length=member.max_length, **common)


def _help(member: SchemaField) -> str:
    parts = [member.description] if member.description and member.kind != "money" else []
    if member.kind == "json":
        parts.append("Written as JSON.")
    if member.nullable:
        parts.append("Optional.")
    if member.kind == "money":
        parts.append("The amount, such as 12.50, in the currency given beside it.")
    return " ".join(parts)
