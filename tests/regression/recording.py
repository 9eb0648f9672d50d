"""Records the suites of the demonstration: `python -m tests.regression.recording [SUITE ...]` writes them anew.

Every case is a real run of the demonstration's data, decided as its name says, and promoted. Look at what changed
before committing it: a suite that is written anew says that what runs do now is right.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.test.utils import setup_databases, teardown_databases

import tests.conftest
from agentops.regression.cases import Case, write_suite
from agentops.regression.planning import SHIPPED
from agentops.regression.promoting import case_of_run
from agentops.runs.recording import load
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import create_tenant
from agentops.wire.parse import JSONObject
from agentops.worker.demo import CLINIC, SHOP, load_kinds
from tests.regression.conftest import Shop
from tools.backoffice.models import Order
from tools.backoffice.seed import seed_clinic, seed_shop


@dataclass(frozen=True)
class Told:
    """One case to record: its id, its title, the task, and what people say, in their order."""

    id: str
    title: str
    task: JSONObject
    verdicts: tuple[str, ...] = ()


def mail(ref: str, name: str, title: str, *verdicts: str) -> Told:
    return Told(f"{ref.lower()}-{name}", title, {"message_id": ref}, verdicts)


def refunds() -> list[Told]:
    order = Order.objects.filter(refunds__isnull=True, total_minor__gt=2000).order_by("ref")[0]
    task: JSONObject = {"order_ref": order.ref, "amount_minor": 500, "reason": "Late delivery, goodwill"}
    return [
        Told("approved", "A person approves the refund", task),
        Told("edited", "A person changes the reason and approves", task, ("edit",)),
        Told("rejected", "A person rejects the refund", task, ("reject",)),
        Told("unanswered", "Nobody answers, so nothing is paid", task, ("expire",)),
        Told("unknown-order", "There is no such order", {**task, "order_ref": "A-999999"}),
    ]


def letters() -> list[Told]:
    order = Order.objects.select_related("customer").order_by("ref")[0]
    task: JSONObject = {"email": order.customer.email, "subject": "Your parcel", "body": "Hello,\n\nit is on its way."}
    return [
        Told("approved", "A person approves the letter", task),
        Told("rejected", "A person rejects the letter", task, ("reject",)),
        Told("stranger", "We write to nobody we do not know", {**task, "email": "stranger@example.com"}),
    ]


def accesses() -> list[Told]:
    task: JSONObject = {"system": "wiki", "account": "mika@harbor.example", "role": "editor", "reason": "New here"}
    return [
        Told("approved", "A person approves the role", task),
        Told("rejected", "A person rejects the role, and a ticket says so", task, ("reject",)),
    ]


def support() -> list[Told]:
    return [
        mail("M-0001", "approved", "The first message, everything approved"),
        mail("M-0001", "rejected", "The first message, everything rejected", *["reject"] * 4),
        *(mail(f"M-{n:04}", "approved", f"Message M-{n:04}, everything approved") for n in range(2, 15)),
    ]


def reception() -> list[Told]:
    return [mail(f"M-{n:04}", "approved", f"Message M-{n:04}, everything approved") for n in range(1, 7)]


SHOP_SUITES: Final = {
    "support-email": support,
    "goodwill-refund": refunds,
    "customer-letter": letters,
    "access-request": accesses,
}
CLINIC_SUITES: Final = {"reception-inbox": reception, "invoice-correction": refunds, "staff-access": accesses}


@contextmanager
def undone() -> Iterator[None]:
    """Take back what happens inside. Marked as Django marks those of its test cases, so that tools may commit in it."""
    atomic = transaction.atomic()
    atomic._from_testcase = True  # type: ignore[attr-defined]
    with atomic:
        yield
        transaction.set_rollback(True)


def record(wanted: Iterable[str]) -> None:
    """Write the suites that are wanted, all of them by default."""
    names = set(wanted) or {*SHOP_SUITES, *CLINIC_SUITES}
    SHIPPED.mkdir(exist_ok=True)
    for slug, seed, kinds, suites in (
        ("harbor-shop", seed_shop, SHOP, SHOP_SUITES),
        ("lumen-clinic", seed_clinic, CLINIC, CLINIC_SUITES),
    ):
        for suite, told in suites.items():
            if suite not in names:
                continue
            cases = []
            with undone():
                tenant = create_tenant(slug=slug, name=slug, actor=SYSTEM, environment="test")
                with tenant_scope(tenant):
                    seed(tenant)
                    load_kinds(kinds)
                    bob = Actor.user(tests.conftest.person("bob", tenant, "senior"), ["senior"])
                    sam = Actor.user(tests.conftest.person("sam", tenant, "senior"), ["senior"])
                    cases = [one_case(tenant, bob, sam, suite, one) for one in told()]
            (SHIPPED / f"{suite}.yaml").write_text(write_suite(suite, suite, cases), "utf-8")


def one_case(tenant: Tenant, bob: Actor, sam: Actor, suite: str, told: Told) -> Case:
    """Record one case; what it did is gone before the next one."""
    with undone():
        run = Shop(tenant, bob, second=sam).run(suite, told.task, *told.verdicts)
        case = case_of_run(load(run.id), case_id=told.id, title=told.title)
        if run.state == "failed":
            failed = {"state": "failed", "failure_code": run.failure_code}
            case = Case.model_validate({**case.written(), "expect": failed})
    return case


if __name__ == "__main__":
    before = setup_databases(verbosity=0, interactive=False)
    try:
        record(sys.argv[1:])
    finally:
        teardown_databases(before, verbosity=0)
