"""The closed forms of a card are printed once and filled in: they say what they would say if each were printed anew."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.template import Context, Engine
from django.test import Client
from django.urls import set_script_prefix, set_urlconf
from django.utils import timezone

from agentops.tenancy.links import tenant_urlconf
from agentops.tenancy.models import Tenant
from approvals.models import Proposal
from tests.approvals.conftest import Desk
from tests.conftest import person

CSRF = "c" * 64


@pytest.fixture
def client(bob: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(bob)


def found(client: Client, proposal: Proposal) -> Any:
    """Return the answer with the card as it was shown."""
    answer = client.get(f"/t/acme/proposals/{proposal.pk}")
    assert answer.status_code == 200
    return answer


def printed(answer: Any, *, csrf: str = CSRF, prefix: str = "/t/acme/", **changes: Any) -> str:
    values = {"request": answer.wsgi_request, "csrf_token": csrf, "together": changes.pop("together", False)}
    card = answer.context["card"] | changes
    set_urlconf(tenant_urlconf())
    set_script_prefix(prefix)
    try:
        page = Engine.get_default().get_template("approvals/_card.html")
        return str(page.render(Context({**values, "card": card})))
    finally:
        set_script_prefix("/")
        set_urlconf(None)


def same_both_ways(answer: Any, **changes: Any) -> str:
    filled_in, anew = printed(answer, untouched=True, **changes), printed(answer, untouched=False, **changes)
    assert filled_in.split() == anew.split()
    return filled_in


def panels(text: str) -> int:
    return text.count('<section class="draft"')


def change(proposal: Proposal, **columns: object) -> None:
    Proposal.objects.filter(pk=proposal.pk).update(**columns)


def test_each_state_of_a_card_is_printed_as_it_would_be_anew(desk: Desk, client: Client, acme: Tenant) -> None:
    ed, later = person("ed", acme, "operator"), timezone.now() + timedelta(minutes=9)
    proposal = desk.propose()
    assert panels(same_both_ways(found(client, proposal))) >= 5
    assert 'name="back"' in same_both_ways(found(client, proposal), together=True)
    change(proposal, leased_by=ed, leased_until=later)
    assert "(needed: somebody has it)" in same_both_ways(found(client, proposal))
    change(proposal, leased_by=None, leased_until=None, assigned_to=ed)
    assert "(needed: somebody has it)" in same_both_ways(found(client, proposal))
    change(proposal, assigned_to=None, held_by=ed, held_until=later, held_note="later")
    assert 'id="hold"' not in same_both_ways(found(client, proposal))
    change(proposal, held_by=None, held_until=None, held_note="", needs_role="senior")
    assert "Escalate to the seniors" not in same_both_ways(found(client, proposal))


def test_two_cards_share_a_form_and_nothing_of_one_is_on_the_other(desk: Desk, client: Client) -> None:
    one, other = desk.propose(), desk.propose(amount_minor=700)
    shown, again = found(client, one), found(client, other)
    first, second = printed(shown), printed(again, csrf="d" * 64)
    token, other_token = (answer.context["card"]["bar"]["token"] for answer in (shown, again))
    assert token != other_token
    for text in (str(one.pk), one.digest, token, CSRF):
        assert text in first
        assert text not in second
    for text in (str(other.pk), other.digest, other_token, "d" * 64):
        assert text in second
        assert text not in first


def test_a_new_version_is_bound_by_its_own_number_and_digest(desk: Desk, client: Client) -> None:
    proposal = desk.propose()
    printed(found(client, proposal))
    change(proposal, version=2, digest="e" * 64)
    text = printed(found(client, proposal))
    assert text.count('name="version" value="2"') == text.count('name="version"')
    assert text.count(f'name="args_digest" value="{"e" * 64}"') == text.count('name="args_digest"')


def test_what_was_typed_and_what_was_opened_is_shown(desk: Desk, client: Client) -> None:
    proposal = desk.propose()
    change(proposal, decide_by=timezone.now() + timedelta(days=1))
    printed(found(client, proposal))
    url = f"/t/acme/proposals/{proposal.pk}"
    opened = client.get(f"{url}?open=reject").content.decode()
    assert 'id="reject" aria-labelledby="reject-title" hidden' not in " ".join(opened.split())
    form = {"version": "1", "args_digest": proposal.digest, "decision": "reject", "reason_code": "", "note": "My words"}
    refused = client.post(f"{url}/decide", form)
    assert refused.status_code == 422
    assert ">My words</textarea>" in refused.content.decode()


def test_people_who_decide_in_one_tenant_are_offered_in_no_other(desk: Desk, client: Client, acme: Tenant) -> None:
    person("ed", acme, "operator")
    assert '<option value="ed"' in printed(found(client, desk.propose()))
    elsewhere = found(client, desk.propose())
    whose = elsewhere.context["card"]["whose"] | {"people": [("zoe", "Zoe")]}
    text = printed(elsewhere, whose=whose, prefix="/t/other/")
    assert '<option value="zoe"' in text
    assert '<option value="ed"' not in text
    form = text.partition('id="assign"')[2].partition("</form>")[0]
    assert 'action="/t/other/proposals/' in form
    assert "/t/acme/" not in form
