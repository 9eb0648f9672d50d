"""What the desk is measured on: tenants with people and records, and in each a few runs that got there by themselves.

The runs are what `seeding` copies: some wait for a person, some were decided, executed, rejected, or never answered.
Needs Django.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.utils import timezone

from agentops.runs.models import Playbook, Run, TaskType
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import add_member, create_tenant
from agentops.wire.canonical import canonical
from agentops.wire.money import format_money
from agentops.wire.parse import JSONObject
from agentops.worker.demo import SHOP, load_kinds
from agentops.worker.sweeper import sweep_tenant
from approvals.models import Proposal, Status
from tests.bench.copies import Template, Values, Vary, read_template
from tests.bench_ui.people import PASSWORD, decide, signed_in
from tests.proof.processes import eventually
from tests.shop import drive, receive, start
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.backoffice.models import Colleague, Customer, Mailbox, Order, SystemRole
from tools.builtin.shapes import closed, text

OPERATORS = ("olga", "otto", "odil")
NOTE_KIND = "team-note"
WILMA = ("wilma@example.com", "Wilma Brook", "C-100001")
MAIL = """From: Wilma Brook <wilma@example.com>
To: support@harbor.example
Subject: {subject}
Date: Fri, 20 Nov 2026 09:00:00 +0000

{text}
Wilma
"""


@dataclass(frozen=True, slots=True)
class Sort:
    """A kind of order: the letter of its numbers, its total, what is asked back of it (minor units), and its band."""

    letter: str
    total: int
    asked: tuple[int, int]
    band: str


SMALL = Sort("A", 48_000, (800, 47_900), "medium")
LARGE = Sort("L", 490_000, (52_000, 488_000), "high")
HUGE = Sort("H", 950_000, (510_000, 940_000), "critical")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a template shows: how it starts, how it goes on, what a copy changes, and which band it has.

    `share` is how often it is copied, in percent of what waits or of what was decided.
    """

    name: str
    band: str
    share: int
    task_type: str
    task: JSONObject
    vary: Callable[["Place"], Vary]
    verdicts: tuple[str, ...] = ()
    """Nothing: it waits. Else what people say to one proposal after the other, or `silence`."""


@dataclass
class Place:
    """One tenant, with the numbers of its records and its templates by scene."""

    tenant: Tenant
    operators: list[User]
    records: int
    templates: dict[str, Template] = field(default_factory=dict)

    def order(self, sort: Sort, number: int) -> str:
        return f"{sort.letter}-{100_001 + number}"


# --- what copies change ---------------------------------------------------------------------------------------------


def _refund(sort: Sort, minor: int) -> Callable[[Place], Vary]:
    def shown(amount: int) -> str:
        return format_money(amount, "EUR").removeprefix("EUR ")

    def of(place: Place) -> Vary:
        def vary(rng: random.Random) -> Values:
            asked = rng.randint(*sort.asked)
            return {
                place.order(sort, 0): place.order(sort, rng.randrange(place.records)),
                str(minor): str(asked),
                shown(minor): shown(asked),
                # What is left of the order stands in the preview, which is asked for again when somebody decides.
                shown(sort.total - minor): shown(sort.total - asked),
            }

        return vary

    return of


def _order_only(place: Place) -> Vary:
    return lambda rng: {place.order(SMALL, 0): place.order(SMALL, rng.randrange(place.records))}


def _customer(place: Place) -> Vary:
    def vary(rng: random.Random) -> Values:
        number = rng.randrange(1, place.records)
        return dict(
            zip(WILMA, (f"customer{number}@example.com", f"Customer {number}", f"C-{100_001 + number}"), strict=True)
        )

    return vary


def _account(place: Place) -> Vary:
    def vary(rng: random.Random) -> Values:
        number = rng.randrange(20)
        return {"mika0@harbor.example": f"mika{number}@harbor.example", "Mika 0": f"Mika {number}"}

    return vary


def _parcel(place: Place) -> Vary:
    return lambda rng: {"parcel 3481729": f"parcel {rng.randrange(1_000_000, 9_999_999)}"}


# --- scenes -----------------------------------------------------------------------------------------------------------


NOTE: JSONObject = {"title": "Look into parcel 3481729, which came back to us"}
LETTER: JSONObject = {
    "email": WILMA[0],
    "subject": "Your order is on its way again",
    "body": "Hello,\n\nthe parcel that came back to us left the warehouse again this morning.",
}
VIEWER: JSONObject = {
    "system": "warehouse",
    "account": "mika0@harbor.example",
    "role": "stock viewer",
    "reason": "New in the returns team",
}


def _ask_back(name: str, share: int, sort: Sort, minor: int, *verdicts: str) -> Scene:
    """Return the scene in which a colleague wants an amount of an order paid back."""
    task: JSONObject = {"order_ref": f"{sort.letter}-100001", "amount_minor": minor, "reason": "Returned unused"}
    return Scene(name, sort.band, share, "goodwill-refund", task, _refund(sort, minor), verdicts)


WAITING = (
    Scene("low note", "low", 55, NOTE_KIND, NOTE, _parcel),
    _ask_back("medium refund", 15, SMALL, 34_817),
    Scene("high access", "high", 3, "access-request", VIEWER, _account),
    _ask_back("critical refund", 2, HUGE, 823_459),
    Scene("medium letter", "medium", 13, "customer-letter", LETTER, _customer),
    _ask_back("high refund", 6, LARGE, 234_817),
    Scene("high mail refund", "high", 5, "support-email", {"message_id": "M-0001"}, _order_only),
    Scene("high erasure", "high", 1, "support-email", {"message_id": "M-0002"}, lambda place: lambda rng: {}),
)
DECIDED = (
    Scene("note approved", "low", 52, NOTE_KIND, NOTE, _parcel, ("approve",)),
    _ask_back("refund approved", 20, SMALL, 34_818, "approve"),
    Scene("access rejected", "high", 5, "access-request", VIEWER, _account, ("reject",)),
    Scene("letter approved", "medium", 12, "customer-letter", LETTER, _customer, ("approve",)),
    _ask_back("refund rejected", 6, LARGE, 234_818, "reject"),
    _ask_back("refund not answered", 5, SMALL, 34_819, "silence"),
)


_hashed = cache(make_password)

# --- making it --------------------------------------------------------------------------------------------------------


def open_place(number: int, records: int) -> Place:
    """Make a tenant with three operators, an admin, task types, customers and orders."""
    slug = f"bench-{number:03}"
    tenant = create_tenant(slug=slug, name=f"Bench {number}", environment="test", actor=SYSTEM)
    people = {}
    for name, role in (*((one, "operator") for one in OPERATORS), ("ada", "admin"), ("sven", "senior")):
        email = f"{name}@{slug}.example"
        people[name] = User.objects.create(
            username=email, email=email, first_name=name.title(), password=_hashed(PASSWORD)
        )
        add_member(tenant=tenant, user=people[name], role=role, actor=SYSTEM)
    place = Place(tenant, [people[name] for name in OPERATORS], records)
    with tenant_scope(tenant):
        load_kinds(SHOP)
        _note_kind()
        _records(place)
    return place


def another_place() -> Place:
    """Make one more tenant, in which nothing waits."""
    last = Tenant.objects.filter(slug__startswith="bench-").order_by("-slug").values_list("slug", flat=True).first()
    return open_place(int((last or "bench--1").removeprefix("bench-")) + 1, 60)


def find_place(number: int) -> Place:
    """Return what `open_place` made, in any process; without templates."""
    tenant = Tenant.objects.get(slug=f"bench-{number:03}")
    emails = [f"{name}@{tenant.slug}.example" for name in OPERATORS]
    with tenant_scope(tenant):
        records = Order.objects.filter(ref__startswith=SMALL.letter).count()
    return Place(tenant, [User.objects.get(email=email) for email in emails], records)


def _note_kind() -> None:
    steps: list[JSONObject] = [
        {
            "id": "ticket",
            "tool": "create_ticket",
            "arguments": {"title": {"$ref": "input.title"}, "priority": "low"},
            "why": "Somebody of the team should know.",
        }
    ]
    body = canonical({"steps": [*steps], "answers": [{"text": "Noted."}]})
    kind = TaskType.objects.create(
        slug=NOTE_KIND,
        name="Leave the team a note",
        playbook=Playbook.objects.create(slug=NOTE_KIND, version=1, body=body),
        input_schema=closed(title=text(200, minimum=1)),
    )
    seed_rules(kind.pk, {"create_ticket": AllowlistState.GATED})


def _records(place: Place) -> None:
    Mailbox.objects.create(address="support@harbor.example", display_name="Harbor")
    email, name, ref = WILMA
    wilma = Customer.objects.create(ref=ref, name=name, email=email, language="en")
    Customer.objects.bulk_create(
        Customer(tenant=place.tenant, ref=f"C-{100_001 + n}", name=f"Customer {n}", email=f"customer{n}@example.com")
        for n in range(1, place.records)
    )
    placed = datetime(2026, 11, 1, tzinfo=UTC)
    Order.objects.bulk_create(
        Order(
            tenant=place.tenant,
            ref=place.order(sort, n),
            customer=wilma,
            summary="Tent",
            total_minor=sort.total,
            currency="EUR",
            card_last4="4421",
            placed_at=placed,
            status="delivered",
        )
        for sort in (SMALL, LARGE, HUGE)
        for n in range(place.records)
    )
    Colleague.objects.bulk_create(
        Colleague(tenant=place.tenant, account=f"mika{n}@harbor.example", name=f"Mika {n}", title="Returns")
        for n in range(20)
    )
    SystemRole.objects.create(system="warehouse", role="stock viewer", allows="See what is in stock.")
    receive(MAIL.format(subject="Refund for A-100001", text="Please refund my order A-100001, the tent arrived torn."))
    receive(MAIL.format(subject="My data", text="Please delete all my personal data."), "M-0002")


def play(place: Place, scenes: Sequence[Scene], connection: Any) -> None:
    """Let the runs of these scenes happen, people's part included, and keep them as templates of the place."""
    runs: dict[str, UUID] = {}
    people = [signed_in(user) for user in place.operators]
    with tenant_scope(place.tenant):
        for number, scene in enumerate(scenes):
            runs[scene.name] = _first_proposal(scene)
            for verdict in scene.verdicts:
                if verdict != "silence":
                    more = (
                        {} if verdict == "approve" else {"reason_code": "not_permitted", "note": "Not without a case."}
                    )
                    [asked] = Proposal.objects.filter(run_id=runs[scene.name], status=Status.PENDING)
                    decide(people[number % len(people)], place.tenant.slug, asked.pk, verdict, **more)
    ended = [runs[scene.name] for scene in scenes if scene.verdicts]
    with tenant_scope(place.tenant):
        eventually(lambda: _all_ended(place.tenant, ended), within_s=120, every_s=0.2)
    for scene in scenes:
        place.templates[scene.name] = read_template(connection, runs[scene.name], scene.vary(place))


def _first_proposal(scene: Scene) -> UUID:
    silence = "silence" in scene.verdicts
    kind = TaskType.objects.filter(slug=scene.task_type)
    usual = kind.values_list("decide_within_s", flat=True).get()
    kind.update(decide_within_s=1 if silence else usual)
    run_id = drive(start(scene.task_type, scene.task).id).pk
    kind.update(decide_within_s=usual)
    [asked] = Proposal.objects.filter(run_id=run_id)
    assert asked.risk_band == scene.band, f"{scene.name} is {asked.risk_band}"
    return run_id


def _all_ended(tenant: Tenant, runs: Sequence[UUID]) -> bool:
    """Drive what can go on; decisions may be released only some seconds after they were taken."""
    sweep_tenant(tenant, timezone.now())
    for run_id in Run.objects.filter(pk__in=runs, ended_at__isnull=True).values_list("pk", flat=True):
        drive(run_id)
    return not Run.objects.filter(pk__in=runs, ended_at__isnull=True).exists()
