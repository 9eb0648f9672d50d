"""What admins type: an endpoint."""

from typing import Any

from django import forms

from agentops.runs.models import TaskType
from agentops.webhooks.models import Endpoint, Kind
from agentops.webhooks.posting import Refused, checked
from agentops.webhooks.services import Wanted


class EndpointForm(forms.Form):
    """Refuses addresses that nothing is posted to; whether the name is a public one is looked up when it is used."""

    name = forms.CharField(max_length=80, widget=forms.TextInput(attrs={"autocomplete": "off"}))
    url = forms.CharField(
        max_length=500,
        label="Address",
        help_text="https:// and public. Redirects are not followed.",
        widget=forms.URLInput(attrs={"autocomplete": "off"}),
    )
    kinds = forms.MultipleChoiceField(choices=Kind.choices, label="Tell of", widget=forms.CheckboxSelectMultiple)
    task_type = forms.ChoiceField(required=False, label="Only for")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        types = TaskType.objects.order_by("name").values_list("slug", "name")
        chosen = self.initial.get("task_type", "")
        found = [("", "Every kind of task"), *types]
        if chosen and chosen not in dict(found):
            found.append((chosen, chosen))
        self.fields["task_type"].choices = found  # type: ignore[attr-defined]  # a choice field

    def clean_url(self) -> str:
        """Check the form of the address."""
        url = str(self.cleaned_data["url"])
        try:
            checked(url)
        except Refused as error:
            raise forms.ValidationError(str(error), code="refused") from None
        return url

    def wanted(self) -> Wanted:
        """Return what was asked for."""
        return Wanted(**self.cleaned_data)


def form_of(endpoint: Endpoint) -> EndpointForm:
    """Return the form of an endpoint that is there."""
    columns = ("name", "url", "kinds", "task_type")
    return EndpointForm(initial={name: getattr(endpoint, name) for name in columns})
