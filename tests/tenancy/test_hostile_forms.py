"""Every field of every form on every page, filled with what no form sends: an answer, and never an error of ours.

The forms are those that the pages of a full tenant print, so a new one is tested as soon as it exists.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import quote, urljoin, urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpResponseBase
from django.test import Client

from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import add_member
from tests.tenancy.test_matrix import TENANT_ROUTES, World, build, sample, values_of

pytestmark = pytest.mark.django_db

NOTHING = "\0"
HOSTILE = ("\udcff", "9" * 40, "x" * 70_000, "=1+1\u202e<b>" + "{" * 300)
"""What a column, a number, a key or a parser may not be able to hold. `\\udcff` is sent as a byte that is no text.

Every field gets the character that PostgreSQL cannot store, and one of these in turn.
"""

LEFT_OUT = ("/sign-out", "/theme")
PASSED = frozenset({200, 201, 204, 302, 400, 403, 404, 405, 409, 410, 413, 415, 422, 423, 428, 429})


@dataclass
class Form:
    """One form as a page prints it: where it goes, how, and every field with what stands in it."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)


class Forms(HTMLParser):
    """Read the forms of a page."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.found: list[Form] = []
        self._open: Form | None = None
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = Form(urljoin(self.address, given.get("action") or self.address), given.get("method", "get"))
            self.found.append(self._open)
        if self._open is None:
            return
        name = given.get("name", "")
        if tag == "option" and self._select and "selected" in given:
            self._open.fields.append((self._select, given.get("value", "")))
        elif tag == "select":
            self._select = name
            self._open.fields.append((name, ""))
        elif tag in {"input", "textarea", "button"} and name:
            self._open.fields.append((name, given.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = ""


def pages(world: World) -> Iterator[str]:
    for route in TENANT_ROUTES:
        model = sample(route)
        if route.parameters and (model is None or model not in world.rows):
            continue
        if route.template.startswith("admin/"):
            continue  # test_admin_addresses, and Django's own form fields
        row = world.rows[model] if model is not None else None
        yield f"/t/{world.tenant.slug}/{route.path(**values_of(route, row))}"


def forms(client: Client, world: World) -> Iterator[Form]:
    """Yield each form once, however many pages print it."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for address in pages(world):
        with transaction.atomic():
            answer = client.get(address)
            transaction.set_rollback(True)
        if answer.status_code != 200 or not answer.get("Content-Type", "").startswith("text/html"):
            continue
        reader = Forms(address)
        reader.feed(b"".join(answer).decode() if answer.streaming else answer.content.decode())
        for form in reader.found:
            names = tuple(sorted({name for name, _ in form.fields}))
            if (form.action, names) not in seen and urlsplit(form.action).path not in LEFT_OUT:
                seen.add((form.action, names))
                yield form


def encoded(fields: list[tuple[str, str]]) -> str:
    return "&".join(
        f"{quote(name)}={quote(value.encode('utf-8', 'surrogateescape'), safe='')}" for name, value in fields
    )


def send(client: Client, form: Form, name: str, value: str) -> HttpResponseBase:
    """Send a form with one field changed, and undo whatever that did."""
    fields = [(key, value if key == name else held) for key, held in form.fields]
    address = form.action.partition("?")[0]
    with transaction.atomic():
        if form.method.lower() == "post":
            answer: HttpResponseBase = client.post(
                form.action, encoded(fields), content_type="application/x-www-form-urlencoded"
            )
        else:
            answer = client.get(f"{address}?{encoded(fields)}")
        transaction.set_rollback(True)
    return answer


def test_no_text_in_a_field_is_an_error_of_ours(
    acme: Tenant, alice: User, bob: User, signed_in: Callable[[User], Client]
) -> None:
    world = build(acme)
    with tenant_scope(acme):
        add_member(tenant=acme, user=alice, role="senior", actor=SYSTEM)
    client = signed_in(alice)
    client.raise_request_exception = False
    wrong, sent = [], 0
    for form in forms(client, world):
        for name in dict.fromkeys(name for name, _ in form.fields):
            if name == "csrfmiddlewaretoken":
                continue
            for value in (NOTHING, HOSTILE[sent % len(HOSTILE)]):
                sent += 1
                answer = send(client, form, name, value)
                if answer.status_code not in PASSED:
                    wrong.append(f"{form.method} {form.action} {name}={value[:12]!r}: {answer.status_code}")
    assert wrong == []
    assert sent > 200, sent
