"""Long texts stand beside the record, once, under the hash of what they say."""

import hashlib
import json
import zlib

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from agentops.audit.guards import lifted
from agentops.audit.models import Event
from agentops.audit.services import NewEvent, append
from agentops.audit.verify import verify_tenant
from agentops.payloads.models import Payload
from agentops.payloads.references import HEAD, INLINE, reference, references, slim, slim_event
from agentops.payloads.services import PayloadDamaged, PayloadMissing, keep, read, resolve, store
from agentops.tenancy.access import WORKER
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.wire.canonical import canonical
from agentops.wire.parse import JSON, JSONObject
from tests.approvals.threads import at_once
from tests.payloads.losing import lose_texts

LONG: JSONObject = {"messages": ["é" * 10_000, {"deep": [1, 2.5, None, True]}]}
SHORT: JSONObject = {"answer": "x"}


def exchange(**more: JSON) -> JSONObject:
    return {"model": "stub", "status": 200, "request": LONG, "response": SHORT, **more}


# --- what is kept beside an event ------------------------------------------------------------------------------------


def test_only_what_is_long_leaves_the_event_and_the_head_of_it_stays() -> None:
    lean, kept = slim(exchange())
    text = canonical(LONG)
    assert lean["response"] == SHORT
    assert lean["request"] == {
        "payload": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
        "bytes": len(text.encode()),
        "head": text[:HEAD],
    }
    [one] = kept
    assert zlib.decompress(one.body).decode() == text


@pytest.mark.parametrize(("size", "leaves"), [(INLINE - 2, False), (INLINE - 1, True)])
def test_the_limit_is_eight_kibibytes_of_canonical_text(size: int, leaves: bool) -> None:
    _, kept = slim({"request": "x" * size})
    assert bool(kept) is leaves


def test_earlier_attempts_are_slimmed_too() -> None:
    lean, kept = slim(exchange(earlier=[exchange(code="model_timeout"), {"model": "m2", "code": "model_resting"}]))
    assert len(kept) == 2
    assert len({one.sha256 for one in kept}) == 1, "the same request to two models is one text"
    assert references({"exchange": lean}) == [kept[0].sha256] * 2


def test_an_event_without_an_exchange_comes_back_as_it_is() -> None:
    data: JSONObject = {"call_id": "1", "output": LONG}
    assert slim_event(data) == (data, [])
    assert slim_event(data)[0] is data


def test_a_text_that_imitates_a_reference_is_kept_like_a_long_one() -> None:
    forged: JSONObject = {"payload": "sha256:" + "0" * 64, "bytes": 1, "head": "x"}
    lean, kept = slim({"request": forged})
    assert len(kept) == 1
    assert reference(lean["request"]) == kept[0].sha256


@pytest.mark.django_db
@given(st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=50), st.lists, max_leaves=5))
def test_whatever_is_kept_reads_back_as_it_was(value: JSON) -> None:
    from agentops.tenancy.access import SYSTEM
    from agentops.tenancy.services import create_tenant

    with transaction.atomic():
        tenant = create_tenant(slug="round-trip", name="x", actor=SYSTEM)
        big: JSONObject = {"value": value, "filler": "x" * INLINE}
        with tenant_scope(tenant):
            [lean] = keep([{"exchange": {"request": big}}])
            assert isinstance(lean["exchange"], dict)
            assert resolve(lean["exchange"]["request"]) == big
        transaction.set_rollback(True)


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_same_text_is_stored_once(scoped: Tenant) -> None:
    data: list[JSONObject] = [{"exchange": exchange()}, {"exchange": exchange(status=500)}]
    keep(data)
    keep(data)
    assert Payload.objects.count() == 1


def test_nothing_long_costs_no_query(scoped: Tenant, django_assert_num_queries: object) -> None:
    with django_assert_num_queries(0):  # type: ignore[operator]
        keep([{"call_id": "1"}, {"exchange": {"request": "short"}}])


def test_texts_of_another_tenant_are_not_there(acme: Tenant, globex: Tenant) -> None:
    _, kept = slim(exchange())
    with tenant_scope(acme):
        store(kept)
    with tenant_scope(globex), pytest.raises(PayloadMissing):
        read(kept[0].sha256)


def test_a_stored_text_cannot_be_changed(scoped: Tenant) -> None:
    _, kept = slim(exchange())
    store(kept)
    with pytest.raises(DatabaseError, match="refused"), transaction.atomic():
        Payload.objects.update(size=1)


@pytest.mark.parametrize(
    "forged", [b"", b"no zlib", zlib.compress(b'"other"'), zlib.compress(canonical(LONG).encode())[:-4]]
)
def test_a_text_that_is_not_the_recorded_one_is_never_shown_and_the_verifier_names_its_event(
    scoped: Tenant, forged: bytes
) -> None:
    [lean] = keep([{"exchange": exchange()}])
    with transaction.atomic():
        append("run:x", [NewEvent("plan.made", lean)], actor=WORKER)
    assert not verify_tenant().findings
    forge(body=forged)
    with pytest.raises(PayloadDamaged):
        read(references(lean)[0])
    [finding] = verify_tenant().findings
    assert (finding.stream, finding.reason) == ("run:x", "payload")


def test_a_text_that_is_gone_is_found_by_the_verifier(scoped: Tenant) -> None:
    [lean] = keep([{"exchange": exchange()}])
    with transaction.atomic():
        append("run:x", [NewEvent("plan.made", lean)], actor=WORKER)
    lose_texts()
    [finding] = verify_tenant().findings
    assert finding.reason == "payload"


def forge(**columns: object) -> None:
    """Change rows as the owner of the table could."""
    with lifted(connection):
        Payload.objects.update(**columns)


def test_an_auditor_reads_the_text_on_the_page_of_its_event(acme: Tenant, ann: User, client: Client) -> None:
    with tenant_scope(acme):
        [lean] = keep([{"exchange": exchange(request={"secret-word": "swordfish", "filler": "x" * INLINE})}])
        with transaction.atomic():
            append("run:x", [NewEvent("plan.made", lean)], actor=WORKER)
        event = Event.objects.get(type="plan.made")
    client.force_login(ann, backend="allauth.account.auth_backends.AuthenticationBackend")
    page = client.get(f"/t/acme/audit/events/{event.pk}").content.decode()
    assert "swordfish" in page
    assert references(json.loads(event.body)["data"])[0] in page


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer at a time")
@pytest.mark.django_db(transaction=True)
def test_two_runs_that_keep_the_same_texts_at_once_keep_them_once(acme: Tenant) -> None:
    def write() -> None:
        with tenant_scope(acme), transaction.atomic():
            keep([{"exchange": exchange(response="y" * (INLINE + n))} for n in range(20)])

    at_once([write, write, write])
    with tenant_scope(acme):
        assert Payload.objects.count() == 21
