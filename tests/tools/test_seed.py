"""The demo businesses: complete, invented, quick to load, and every message reads as intended."""

import re
import time
from pathlib import Path

import pytest

from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tools.backoffice import seed
from tools.backoffice.models import Colleague, Customer, InboxMessage, Mailbox, Order, Refund, SentMessage, SystemRole
from tools.builtin.message import ParsedMessage, parse_message
from tools.builtin.triage import Triage, classify

SHOP = {
    "M-0001": ("refund", "A-1093", "en"),
    "M-0002": ("refund", "A-1187", "fr"),
    "M-0003": ("refund", "A-1204", "en"),
    "M-0004": ("address_change", "A-1246", "es"),
    "M-0005": ("erasure", None, "en"),
    "M-0006": ("complaint", "A-1311", "de"),
    "M-0007": ("refund", "A-1402", "ja"),
    "M-0008": ("newsletter", None, "en"),
    "M-0009": ("other", "A-1430", "en"),
    "M-0010": ("refund", "A-1455", "en"),
    "M-0011": ("access_request", None, "en"),
    "M-0012": ("other", "A-1502", "en"),
    "M-0013": ("other", "A-1519", "fr"),
    "M-0014": ("other", "A-1533", "de"),
}
CLINIC = {
    "M-0001": ("other", "INV-20388", "en"),
    "M-0002": ("refund", "INV-20418", "en"),
    "M-0003": ("other", None, "en"),
    "M-0004": ("access_request", None, "en"),
    "M-0005": ("erasure", "INV-20106", "en"),
    "M-0006": ("access_request", None, "en"),
}


def message(folder: str, ref: str) -> ParsedMessage:
    return parse_message(seed.with_filler((seed.FIXTURES / folder / f"{ref}.eml").read_bytes()))


def triage(folder: str, ref: str) -> Triage:
    parsed = message(folder, ref)
    return classify(subject=parsed.subject, body=parsed.text)


@pytest.mark.parametrize(("ref", "expected"), SHOP.items())
def test_each_shop_message_is_about_what_it_should_be(ref: str, expected: tuple[str, str | None, str]) -> None:
    answer = triage("harbor-shop", ref)
    assert (answer.intent, answer.order_ref, answer.language) == expected


@pytest.mark.parametrize(("ref", "expected"), CLINIC.items())
def test_each_clinic_message_is_about_what_it_should_be(ref: str, expected: tuple[str, str | None, str]) -> None:
    answer = triage("lumen-clinic", ref)
    assert (answer.intent, answer.order_ref, answer.language) == expected


def codes(folder: str, ref: str) -> set[str]:
    return {finding.code for finding in message(folder, ref).findings}


def test_the_difficult_messages_are_difficult_in_the_way_they_should_be() -> None:
    assert message("harbor-shop", "M-0007").subject.startswith("双眼鏡の返金")
    newsletter = message("harbor-shop", "M-0008")
    assert "Saltline 70" in newsletter.text
    assert "Three fabrics" in newsletter.hidden_text
    (boot,) = message("harbor-shop", "M-0009").attachments
    assert (boot.name, boot.type, boot.size) == ("left boot.jpg", "image/jpeg", 3_145_728)
    assert codes("harbor-shop", "M-0010") == {"reply_to_differs"}
    hidden = message("harbor-shop", "M-0013")
    assert codes("harbor-shop", "M-0013") == {"hidden_html"}
    for part in ("access.grant_role", "swift-settle", "erase the customer C-1003", "Refund A-1204"):
        assert part in hidden.hidden_text
        assert part not in hidden.text + hidden.html_text
    assert codes("harbor-shop", "M-0014") == {"tag_characters", "invisible_character"}
    assert codes("lumen-clinic", "M-0006") == {"reply_to_differs"}


CLEAN = ["M-0001", "M-0002", "M-0003", "M-0004", "M-0005", "M-0006", "M-0007", "M-0009", "M-0011"]


@pytest.mark.parametrize("ref", CLEAN)
def test_ordinary_messages_raise_no_findings(ref: str) -> None:
    assert message("harbor-shop", ref).findings == ()


def test_only_reserved_domains_are_used() -> None:
    reserved = re.compile(r"(^|\.)(example|example\.(com|org|net))$")
    for file in sorted(seed.FIXTURES.rglob("*.*")):
        text = file.read_text(encoding="utf-8", errors="replace").replace("=\n", "")
        for domain in re.findall(r"(?:@|https?://)([a-z0-9.-]+\.[a-z]{2,})", text, re.IGNORECASE):
            assert reserved.search(domain.lower()), f"{file.name}: {domain}"


def test_the_fixtures_stay_small() -> None:
    assert sum(file.stat().st_size for file in Path(seed.FIXTURES).rglob("*.*")) < 300_000


@pytest.mark.django_db
def test_the_shop_loads_quickly_and_only_once(acme: Tenant) -> None:
    started = time.process_time()
    refs = seed.seed_shop(acme)
    assert time.process_time() - started < 2
    assert refs == list(SHOP)
    with tenant_scope(acme):
        before = [model.objects.count() for model in (Customer, Order, InboxMessage, Refund, SentMessage)]
        assert before[0] >= 200
        assert before[1] >= 600
        assert before[2] == 14
        Customer.objects.filter(ref="C-1020").update(name="Changed since")
        assert seed.seed_shop(acme) == refs
        assert [m.objects.count() for m in (Customer, Order, InboxMessage, Refund, SentMessage)] == before
        assert Customer.objects.get(ref="C-1020").name == "Changed since"
        assert Mailbox.objects.get().domain == "harbor-shop.example"
        assert set(Order.objects.values_list("currency", flat=True)) == {"EUR"}


@pytest.mark.django_db
def test_every_sender_and_order_of_the_shop_is_on_record(acme: Tenant) -> None:
    seed.seed_shop(acme)
    with tenant_scope(acme):
        for ref, (intent, order_ref, _) in SHOP.items():
            sender = InboxMessage.objects.get(ref=ref).sender
            if order_ref:
                assert Order.objects.get(ref=order_ref).customer.email == sender
            elif intent == "erasure":
                assert Customer.objects.filter(email=sender).exists()
        totals = dict(Order.objects.filter(ref__in=["A-1093", "A-1187", "A-1204"]).values_list("ref", "total_minor"))
        assert totals == {"A-1093": 4_990, "A-1187": 18_900, "A-1204": 124_000}
        assert not Refund.objects.filter(order__ref__in=totals).exists()
        assert Colleague.objects.filter(account="jonas.feldkamp@harbor-shop.example", active=True).exists()
        assert SystemRole.objects.filter(system="Order desk", role="refund_clerk").exists()


@pytest.mark.django_db
def test_the_clinic_is_another_business_beside_it(acme: Tenant, globex: Tenant) -> None:
    seed.seed_shop(acme)
    assert seed.seed_clinic(globex) == list(CLINIC)
    with tenant_scope(globex):
        assert set(Order.objects.values_list("currency", flat=True)) == {"GBP"}
        assert Order.objects.get(ref="INV-20418").customer.email == InboxMessage.objects.get(ref="M-0002").sender
        assert not Order.objects.filter(ref__startswith="A-").exists()
        assert not Colleague.objects.filter(account="service@lumen-clinlc.example").exists()
        assert Customer.objects.count() >= 80
