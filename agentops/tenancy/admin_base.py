"""What every admin page of a tenant's rows has in common: the tenant's rows only, and an event for every change."""

import hashlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DataError, models, transaction
from django.forms.fields import InvalidJSONInput, JSONString
from django.forms.models import BaseInlineFormSet
from django.forms.utils import pretty_name
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.crypto import salted_hmac
from django.utils.html import conditional_escape
from django.utils.http import urlencode
from django.utils.text import capfirst

from agentops.tenancy.access import Actor, can
from agentops.tenancy.journal import record
from agentops.tenancy.people import called
from agentops.tenancy.scope import TenantModel, current_tenant_id
from agentops.wire.parse import JSON, JSONObject, WireError, clean, parse_json

# The stubs make these generic; at run time they are not.
if TYPE_CHECKING:
    _Form = forms.ModelForm[Any]
    _Options = admin.options.BaseModelAdmin[Any]
    _Inline = admin.TabularInline[Any, Any]
    _Page = admin.ModelAdmin[Any]
    _Formset = BaseInlineFormSet[Any, Any, Any]
    _Choice = forms.ModelChoiceField[Any]
else:
    _Form, _Options = forms.ModelForm, admin.options.BaseModelAdmin
    _Inline, _Page = admin.TabularInline, admin.ModelAdmin
    _Formset = BaseInlineFormSet
    _Choice = forms.ModelChoiceField


def actor_of(request: HttpRequest) -> Actor:
    """Return the acting person that `TenantMiddleware` found."""
    actor = getattr(request, "actor", None)
    assert isinstance(actor, Actor)
    return actor


def snapshot(row: models.Model, *, secret: tuple[str, ...] = (), address: tuple[str, ...] = ()) -> JSONObject:
    """Return the column values of a row as JSON for an event.

    Of `secret` columns only that there is something; of `address` columns only the host (`host_of_address`).
    """
    values: JSONObject = {}
    for field in row._meta.concrete_fields:
        value = field.value_from_object(row)
        if field.name == "tenant" or field.primary_key:
            continue
        if field.name in secret and value:
            values[field.name] = "(hidden)"
        elif field.name in address and value:
            values[field.name] = host_of_address(str(value))
        else:
            values[field.name] = _json(field, row, value)
    return values


def host_of_address(url: str) -> str:
    """Return the host of a URL, and a mark by which another URL is told from it; the rest may carry secrets."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        host = ""
    mark = salted_hmac("tenancy.admin.address", url, algorithm="sha256").hexdigest()[:8]
    return f"{host or '(no host)'} (the rest hidden, {mark})"


def _json(field: "models.Field[Any, Any]", row: models.Model, value: object) -> JSON:
    if isinstance(value, bytes | memoryview):
        return f"sha256:{hashlib.sha256(bytes(value)).hexdigest()}"
    try:
        return clean(value)
    except WireError:
        return clean(field.value_to_string(row))


def record_row(row: models.Model, change: str, *, before: JSONObject, after: JSONObject, actor: Actor) -> None:
    """Write the event of a row that was added, changed or deleted, with the values that differ (`snapshot`)."""
    data: JSONObject = {
        "model": row._meta.label_lower,
        "object": str(row),
        "change": change,
        "before": before,
        "after": after,
    }
    record("admin.changed", data, subject=(str(row._meta.model_name), str(row.pk)), actor=actor)


class StrictJSONField(forms.JSONField):
    """A JSON column in a form, read as strictly as everything else from outside; what was typed stays in the form."""

    def to_python(self, value: Any) -> Any:
        """Parse the text; raise `ValidationError` with a code of `WireCode` and the place."""
        if self.disabled or value in self.empty_values or isinstance(value, list | dict | int | float | JSONString):
            return super().to_python(value)
        try:
            parsed = parse_json(str(value))
        except WireError as error:
            raise ValidationError(str(error), code=str(error.code)) from None
        return JSONString(parsed) if isinstance(parsed, str) else parsed

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what was typed, as data where it can be read and as the text that it is where not."""
        if self.disabled:
            return initial
        try:
            return None if data is None else parse_json(str(data))
        except WireError:
            return InvalidJSONInput(data)


class PersonField(_Choice):
    """A choice of people, called as on every page."""

    def label_from_instance(self, obj: Any) -> str:
        """Return what the person is called."""
        return called(obj)


class TenantModelForm(_Form):
    """A form whose new row already belongs to the open tenant, so that unique constraints are checked before saving."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.tenant_id is None:
            self.instance.tenant_id = current_tenant_id()

    def _get_validation_exclusions(self) -> set[str]:
        # Django leaves fields out of the checks that are not in the form; the tenant never is, and always matters.
        return super()._get_validation_exclusions() - {"tenant"}  # type: ignore[misc,no-any-return]


class _TenantOptions(_Options):
    """The part that pages and inlines share: rights, and choices of this tenant only."""

    action_right = "admin.manage"
    form = TenantModelForm
    formfield_overrides = {models.JSONField: {"form_class": StrictJSONField}}

    def _allowed(self, request: HttpRequest) -> bool:
        actor = getattr(request, "actor", None)
        return isinstance(actor, Actor) and can(actor, self.action_right)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow whoever may manage the tenant."""
        return self._allowed(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow whoever may manage the tenant."""
        return self._allowed(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow whoever may manage the tenant."""
        return self._allowed(request)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Allow whoever may manage the tenant."""
        return self._allowed(request)

    def get_exclude(self, request: HttpRequest, obj: Any = None) -> Any:
        """Never ask for the tenant: it is the one in the path."""
        return (*(super().get_exclude(request, obj) or ()), "tenant")

    def formfield_for_dbfield(self, db_field: "models.Field[Any, Any]", request: HttpRequest, **kwargs: Any) -> Any:
        """Print the field's help as it is written: to Django it is HTML, where a `<name>` is an element nobody sees.

        What is counted in seconds says so.
        """
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None:
            field.help_text = conditional_escape(field.help_text)
            if db_field.name.endswith("_s"):
                field.label = f"{capfirst(str(db_field.verbose_name).removesuffix(' s'))}, in seconds"
        return field

    def formfield_for_foreignkey(
        self, db_field: "models.ForeignKey[Any, Any]", request: HttpRequest, **kwargs: Any
    ) -> Any:
        """Offer rows of this tenant, and people who are members of it."""
        related = db_field.related_model
        if related is get_user_model():
            people = get_user_model()._default_manager.filter(memberships__tenant_id=current_tenant_id())
            kwargs.setdefault("queryset", people.distinct())
            kwargs.setdefault("form_class", PersonField)
        elif issubclass(related, TenantModel):
            kwargs.setdefault("queryset", related._default_manager.all())
        return super().formfield_for_foreignkey(db_field, request, **kwargs)


class NamedFields(_Formset):
    """Says in every field what stands above its column, for those who do not see the table."""

    def add_fields(self, form: Any, index: int | None) -> None:
        """Add Django's own fields, then name them all."""
        super().add_fields(form, index)
        for name, field in form.fields.items():
            field.widget.attrs.setdefault("aria-label", str(field.label or pretty_name(name)))


class TenantTabularInline(_TenantOptions, _Inline):  # type: ignore[misc]  # the stub's `form` is invariant
    """Rows of this tenant inside the page of their parent."""

    extra = 0
    formset = NamedFields


class _ForgivingList(ChangeList):
    """A list whose address somebody has written by hand: what no column can hold leads back to the plain list.

    Its title is what is listed, as in the way that leads there.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = capfirst(str(self.opts.verbose_name_plural))

    def get_results(self, request: HttpRequest) -> None:
        """Look the rows up; raise `IncorrectLookupParameters`, as Django does for what it notices itself."""
        try:
            # A refusal by the database would end a surrounding transaction.
            with transaction.atomic():
                super().get_results(request)
        except (ValueError, TypeError, OverflowError, DataError) as error:
            raise IncorrectLookupParameters(error) from error


def _called(model: type[models.Model], column: Any) -> Any:
    """Return a column of a list: what people are called where it names people, and itself otherwise."""
    names = {field.name: field for field in model._meta.fields if field.related_model is get_user_model()}
    if column not in names:
        return column

    @admin.display(description=names[column].verbose_name, ordering=column, empty_value="-")
    def shown(row: models.Model) -> str | None:
        return called(getattr(row, column)) or None

    shown.__name__ = column
    return shown


class TenantModelAdmin(_TenantOptions, _Page):
    """Base of every admin page of tenant rows.

    Adding, changing and deleting (inlines too) each append `admin.changed` to the stream "tenant" in the same
    transaction, with the values before and after of what differs: {"model", "object", "change":
    added|changed|deleted, "before", "after"}. Columns named in `secret_fields` appear as "(hidden)", those named in
    `address_fields` by their host. Django's own log entries are not written; the history page is the audit list.
    """

    secret_fields: tuple[str, ...] = ()
    address_fields: tuple[str, ...] = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Allow whoever may manage the tenant."""
        return self._allowed(request)

    def get_list_display(self, request: HttpRequest) -> Any:
        """Call people as every page does, not by their account."""
        return [_called(self.model, one) for one in super().get_list_display(request)]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Use the list that no address breaks."""
        return _ForgivingList

    def response_action(
        self, request: HttpRequest, queryset: models.QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Take the rows of the form that can be rows at all; the rest counts as not selected."""
        posted = request.POST.copy()
        chosen = [value for value in posted.getlist(ACTION_CHECKBOX_NAME) if self._could_be_a_key(value)]
        posted.setlist(ACTION_CHECKBOX_NAME, chosen)
        request.POST = posted  # type: ignore[assignment]  # the view reads it, and nobody else after it
        return super().response_action(request, queryset, *args, **kwargs)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Return the row, None also for what can be no key."""
        if from_field is None and not self._could_be_a_key(object_id):
            return None
        return super().get_object(request, object_id, from_field)

    def _could_be_a_key(self, text: str) -> bool:
        try:
            key = self.opts.pk.to_python(text)
        except ValidationError:
            return False
        return not isinstance(key, int) or -(2**63) <= key < 2**63

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save one row and its event."""
        self._save(request, obj, change=change)

    def save_formset(self, request: HttpRequest, form: Any, formset: _Formset, change: bool) -> None:
        """Save inline rows, each with its event."""
        rows = formset.save(commit=False)
        for gone in formset.deleted_objects:
            self._delete(request, gone)
        added = formset.new_objects
        for row in rows:
            self._save(request, row, change=not any(row is new for new in added))
        formset.save_m2m()

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete one row and write its event."""
        self._delete(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        """Delete the selected rows, all or none, each with its event."""
        with transaction.atomic():
            for row in queryset:
                self._delete(request, row)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write nothing: the event is the log."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Write nothing: the event is the log."""

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Write nothing: the event is the log."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        """Show the row's events in the audit list."""
        subject = f"{self.opts.model_name}:{unquote(object_id)}"
        return redirect(f"{reverse('audit')}?{urlencode({'subject': subject})}")

    def _get_obj_does_not_exist_redirect(self, request: HttpRequest, opts: Any, object_id: str) -> HttpResponse:
        # Django leads back to the index, which tells a stranger's row from a page that is not there.
        raise Http404

    def _save(self, request: HttpRequest, row: models.Model, *, change: bool) -> None:
        with transaction.atomic():
            before: JSONObject = {}
            if change:
                stored = type(row)._default_manager.select_for_update().get(pk=row.pk)
                before = self._values(stored)
            row.save()
            after = self._values(row)
            differing = [name for name in after if not change or before[name] != after[name]]
            if differing or not change:
                self._record(
                    request,
                    row,
                    "changed" if change else "added",
                    {name: before[name] for name in differing if change},
                    {name: after[name] for name in differing},
                )

    def _delete(self, request: HttpRequest, row: models.Model) -> None:
        with transaction.atomic():
            before, pk = self._values(row), row.pk
            row.delete()
            row.pk = pk
            self._record(request, row, "deleted", before, {})

    def _values(self, row: models.Model) -> JSONObject:
        return snapshot(row, secret=self.secret_fields, address=self.address_fields)

    def _record(
        self, request: HttpRequest, row: models.Model, change: str, before: JSONObject, after: JSONObject
    ) -> None:
        record_row(row, change, before=before, after=after, actor=actor_of(request))
