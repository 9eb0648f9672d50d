"""What somebody writes into the address of an admin page is never an error of ours: a page, a way back, or a 4xx."""

from collections.abc import Callable
from urllib.parse import quote

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import models
from django.test import Client

from agentops.tenancy.models import Tenant
from tests.tenancy.test_matrix import build

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label_lower)
ABSURD = ["abc", "9" * 30, "", "\0", "1\x002"]
MORE = [*ABSURD, "-1", "\ud800", "1,2", "nan", "1e999", "%", "'", "x" * 5_000]
NAMES = [
    "id__exact",
    "pk",
    "id__in",
    "pk__gt",
    "p",
    "o",
    "q",
    "_to_field",
    "id__isnull",
    "tenant__id__exact",
    "nope__x",
]


@pytest.fixture
def client(acme: Tenant, alice: User, signed_in: Callable[[User], Client]) -> Client:
    build(acme)
    client = signed_in(alice)
    client.raise_request_exception = False
    return client


def parameters(model: type[models.Model]) -> list[str]:
    page = admin.site._registry[model]
    fields = [field for field in page.list_filter if isinstance(field, str)]
    own = [f"{name}__exact" for name in fields] + [f"{name}__id__exact" for name in fields]
    dates = [f"{field.name}__gte" for field in model._meta.concrete_fields if "Date" in type(field).__name__]
    return [*NAMES, *own, *dates[:1]]


def list_of(model: type[models.Model]) -> str:
    return f"/t/acme/admin/{model._meta.app_label}/{model._meta.model_name}/"


def encoded(value: str) -> str:
    return quote(value.encode("utf-8", "surrogatepass"), safe="")


def test_no_filter_in_the_address_of_a_list_breaks_it(client: Client) -> None:
    wrong = []
    for model in MODELS:
        assert client.get(list_of(model)).status_code == 200, model
        for name in parameters(model):
            for value in ABSURD:
                status = client.get(f"{list_of(model)}?{encoded(name)}={encoded(value)}").status_code
                if status not in (200, 302, 400, 403):
                    wrong.append(f"{list_of(model)} {name}={value[:20]!r}: {status}")
    assert wrong == []


def test_no_id_in_an_address_breaks_a_page(client: Client) -> None:
    wrong = []
    for model in MODELS:
        for page, values in (("change", MORE), ("delete", ABSURD), ("history", ABSURD)):
            for value in values:
                if value:
                    status = client.get(f"{list_of(model)}{encoded(value)}/{page}/").status_code
                    if status not in (302, 400, 403, 404):
                        wrong.append(f"{list_of(model)} {page} {value[:20]!r}: {status}")
    assert wrong == []


def test_no_selection_breaks_an_action(client: Client) -> None:
    wrong = []
    for model in MODELS:
        page = admin.site._registry[model]
        actions = [action if isinstance(action, str) else action.__name__ for action in page.actions or ()]
        for action in ["delete_selected", "nope", *actions]:
            for value in ABSURD:
                posted = {"action": action, "_selected_action": value.encode("utf-8", "replace").decode(), "index": "0"}
                status = client.post(list_of(model), posted).status_code
                if status not in (200, 302, 400, 403, 405):
                    wrong.append(f"{list_of(model)} {action} {value[:20]!r}: {status}")
    assert wrong == []
