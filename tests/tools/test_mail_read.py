"""mail.read through the executor: the parsed message as the contract promises it."""

import pytest

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tools.backoffice import seed
from tools.backoffice.models import InboxMessage
from tools.contracts import ErrorCode
from tools.executor import Failed, Succeeded, execute

from .conftest import Call, permit_any, request_for

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("load", [seed.seed_shop, seed.seed_clinic])
def test_every_demo_message_fits_the_contract(acme: Tenant, load: object) -> None:
    assert callable(load)
    for ref in load(acme):
        outcome = execute(request_for(acme, "mail.read", {"message_id": ref}), permit_any)
        assert isinstance(outcome, Succeeded)
        assert outcome.output["message_id"] == ref
        texts = {name: outcome.output[name] for name in ("subject", "text", "from_address")}
        assert isinstance(execute(request_for(acme, "mail.triage", texts), permit_any), Succeeded)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 1000,
        b"Subject: \x01\x02\n\n" + b"\x03" * 70_000,
        b"Content-Type: text/html\n\n" + b'<!-- & -->\\"' * 20_000,
        b"Subject: x\n\n" + "\u200b\U000e0041".encode() * 20_000,
        b"From: " + b"a@b, " * 5000 + b"\n\n",
    ],
    ids=range(6),
)
def test_the_worst_message_still_fits_the_contract(scoped: Tenant, call: Call, raw: bytes) -> None:
    row = seed.receive("M-1", raw)
    row.save()
    assert isinstance(call("mail.read", message_id="M-1"), Succeeded)


def test_an_unknown_message_is_not_found(call: Call) -> None:
    outcome = call("mail.read", message_id="M-404")
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.NOT_FOUND


def test_another_tenants_message_is_not_found(acme: Tenant, globex: Tenant) -> None:
    with tenant_scope(acme):
        seed.receive("M-1", b"Subject: secret\n\nx").save()
        assert InboxMessage.objects.count() == 1
    outcome = execute(request_for(globex, "mail.read", {"message_id": "M-1"}), permit_any)
    assert isinstance(outcome, Failed)
    assert outcome.code is ErrorCode.NOT_FOUND
