"""What a tenant may change about the friction of a band: stricter, and the release delay as it likes."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agentops.audit.models import Event
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from approvals.assessing.ladder import rung_of
from approvals.models import BandRule

ADD = "/t/acme/admin/approvals/bandrule/add/"


@pytest.fixture
def admin(alice: User, signed_in: Callable[[User], Client]) -> Client:
    return signed_in(alice)


def test_a_stricter_rule_counts_at_once_and_is_on_record(admin: Client, acme: Tenant) -> None:
    fields = {"band": "medium", "release_s": "0", "rationale_chars": "20", "approvers": "2", "step_up": "recent"}
    assert admin.post(ADD, fields).status_code == 302
    with tenant_scope(acme):
        rung = rung_of("medium")
        assert (rung.release_s, rung.rationale_chars, rung.approvers, rung.step_up) == (0, 20, 2, "recent")
        assert Event.objects.filter(type="admin.changed", subject_kind="bandrule").count() == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("reading_s", "5"), ("rationale_chars", "14"), ("attestations", "0"), ("step_up", "never")),
        *(("approvers", "9"), ("release_s", "901"), ("reading_s", "-1"), ("rationale_chars", "x")),
    ],
)
def test_a_laxer_or_senseless_rule_is_refused_beside_its_field(
    admin: Client, acme: Tenant, field: str, value: str
) -> None:
    answer = admin.post(ADD, {"band": "high", field: value})
    assert answer.status_code == 200
    assert answer.context["adminform"].form.errors.keys() == {field}
    with tenant_scope(acme):
        assert not BandRule.objects.exists()


def test_an_operator_does_not_change_it(bob: User, signed_in: Callable[[User], Client]) -> None:
    assert signed_in(bob).post(ADD, {"band": "low"}).status_code in (302, 403)


def test_a_shift_that_ends_before_it_begins_is_refused_beside_its_end(admin: Client, bob: User) -> None:
    posted = {"user": bob.pk, "starts_at_0": "2027-01-02", "starts_at_1": "10:00"}
    posted |= {"ends_at_0": "2027-01-02", "ends_at_1": "09:00"}
    page = admin.post("/t/acme/admin/approvals/shift/add/", posted).content.decode()
    assert "It has to end after it begins." in page
    assert "shift_has_a_length" not in page
    assert 'value="09:00"' in page


def test_a_second_rule_of_a_band_is_refused_in_words_about_the_band(admin: Client) -> None:
    answer, again = (
        admin.post("/t/acme/admin/approvals/bandrule/add/", {"band": "low", "release_s": "20"}) for _ in range(2)
    )
    assert answer.status_code == 302
    assert "Friction of a band with this Band already exists." in again.content.decode()
