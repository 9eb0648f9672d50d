"""What `make demo` starts with: two tenants, their people, task types, allowlists, mailboxes, and tasks to decide."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agentops.runs.models import Origin, PlannerKind, Playbook, Run, TaskType
from agentops.runs.services import InvalidTask, save_playbook, submit
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Environment, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import create_tenant
from agentops.wire.parse import JSONObject
from agentops.worker.demo import facts, rules
from agentops.worker.demo.people import ENZO, OLGA, acting, add_people
from agentops.worker.demo.people import LOGINS as LOGINS
from agentops.worker.demo.people import PASSWORD as PASSWORD
from agentops.worker.demo.people import PEOPLE as PEOPLE
from tools.allowing import seed_rules
from tools.allowlist import AllowlistState
from tools.backoffice.models import Order, OrderStatus
from tools.backoffice.seed import seed_clinic, seed_shop

MAILBOX: Final = Actor("system", "mailbox", "Mailbox", SYSTEM.roles)

AUTO, GATED = AllowlistState.AUTO, AllowlistState.GATED
MESSAGE_INPUT: Final[JSONObject] = {
    "type": "object",
    "properties": {
        "message_id": {
            "type": "string",
            "title": "Message",
            "description": "Reference in the inbox, such as M-0001.",
            "pattern": "^M-[0-9]{4}$",
            "maxLength": 20,
        }
    },
    "required": ["message_id"],
    "additionalProperties": False,
}


def _object(**properties: JSONObject) -> JSONObject:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _text(title: str, length: int, **more: str) -> JSONObject:
    return {"type": "string", "title": title, "minLength": 1, "maxLength": length, **more}


_EMAIL: Final = _text("E-mail address of the customer", 254)
_ORDER: Final = _text("Order number", 20, pattern="^[A-Z]{1,3}-[0-9]{3,6}$", description="Such as A-1093.")
_AMOUNT: Final[JSONObject] = {
    "type": "integer",
    "title": "Amount in minor units",
    "description": "4990 is 49.90.",
    "minimum": 1,
    "maximum": 10_000_000,
}
_REASON: Final = _text("Reason", 300)


@dataclass(frozen=True, slots=True)
class Kind:
    """One task type of the demonstration; the playbook is a file beside this module."""

    slug: str
    name: str
    description: str
    playbook: str
    input_schema: JSONObject
    allow: dict[str, AllowlistState]
    planner: PlannerKind = PlannerKind.PLAYBOOK
    instructions: str = ""


INBOX_TOOLS: Final = {
    "mail.read": AUTO,
    "mail.triage": AUTO,
    "shop.find_customer": AUTO,
    "create_ticket": AUTO,
    "mail.send": GATED,
    "customer.erase": GATED,
}
SHOP: Final = (
    Kind(
        "support-email",
        "Answer a support e-mail",
        "Reads one message, finds out what the customer wants, and proposes what should be done.",
        "support-email",
        MESSAGE_INPUT,
        INBOX_TOOLS | {"shop.find_order": AUTO, "shop.issue_refund": GATED},
        PlannerKind.AUTO,
        "You plan the work of a shop's support desk. Read the message, classify it, look the customer and the order "
        "up, and propose a refund only for an order of the customer who wrote. Create a ticket for everything that "
        "needs a colleague.",
    ),
    Kind(
        "goodwill-refund",
        "Refund an order",
        "A colleague asks for a refund of a known order.",
        "goodwill-refund",
        _object(order_ref=_ORDER, amount_minor=_AMOUNT, reason=_REASON),
        {"shop.find_order": AUTO, "shop.issue_refund": GATED},
    ),
    Kind(
        "customer-letter",
        "Write to a customer",
        "Sends one e-mail to a customer we know.",
        "letter",
        _object(email=_EMAIL, subject=_text("Subject", 120), body=_text("Text", 4000)),
        {"shop.find_customer": AUTO, "mail.send": GATED},
    ),
    Kind(
        "access-request",
        "Give a colleague access",
        "Grants a role in one of our systems.",
        "access-request",
        _object(
            system=_text("System", 60),
            account=_text("Account of the colleague", 254),
            role=_text("Role", 60),
            reason=_REASON,
        ),
        {"access.grant_role": GATED, "create_ticket": AUTO},
    ),
)
REMEMBERED: Final = (
    Kind(
        facts.NOTE,
        "Remember a rule of the house",
        "A colleague says what agents should know in general; it waits for a curator.",
        "house-note",
        _object(statement=_text("What holds in general", 500)),
        {"memory.recall": AUTO, "memory.propose_fact": AUTO},
    ),
    Kind(
        facts.SENDER,
        "Remember who writes",
        "Proposes to remember the name under which a known customer writes.",
        "known-sender",
        MESSAGE_INPUT,
        {"mail.read": AUTO, "shop.find_customer": AUTO, "memory.propose_fact": AUTO},
    ),
)
CLINIC: Final = (
    Kind(
        "reception-inbox",
        "Answer a patient's e-mail",
        "Reads one message, confirms that it has arrived, and hands it to reception.",
        "reception-inbox",
        MESSAGE_INPUT,
        INBOX_TOOLS,
    ),
    Kind(
        "invoice-correction",
        "Correct an invoice",
        "Pays back what a patient was charged too much.",
        "goodwill-refund",
        _object(order_ref=_ORDER, amount_minor=_AMOUNT, reason=_REASON),
        {"shop.find_order": AUTO, "shop.issue_refund": GATED},
    ),
    Kind(
        "staff-access",
        "Give a colleague access",
        "Grants a role in one of the clinic's systems.",
        "access-request",
        SHOP[3].input_schema,
        {"access.grant_role": GATED, "create_ticket": AUTO},
    ),
)


def seed() -> None:
    """Load the demonstration; what is there already stays as it is. One transaction per tenant.

    The runs that propose facts are driven here, so that some of the facts are decided on at the start.
    """
    with transaction.atomic():
        shop = _tenant("harbor-shop", "Harbor Outfitters", Environment.PRODUCTION)
        clinic = _tenant("lumen-clinic", "Lumen Dental Clinic", Environment.TEST)
    with transaction.atomic(), tenant_scope(shop):
        messages = seed_shop(shop)
        load_kinds((*SHOP, *REMEMBERED))
        told: list[UUID] = []
        if not Run.objects.exists():
            rules.seed_budgets()
            rules.seed_prompts()
            _submit_messages("support-email", messages)
            rules.seed_hold(_submit_shop_tasks())
            told = [_submit(one.kind, one.task, one.title, acting(ENZO)).pk for one in facts.TOLD]
            rules.seed_changes(timezone.now())
    with transaction.atomic(), tenant_scope(clinic):
        messages = seed_clinic(clinic)
        load_kinds(CLINIC)
        if not Run.objects.exists():
            _submit_messages("reception-inbox", messages)
            _submit_clinic_tasks()
    with tenant_scope(shop):
        facts.judge(told, shop.pk)


def _tenant(slug: str, name: str, environment: Environment) -> Tenant:
    tenant = Tenant.objects.filter(slug=slug).first()
    if tenant is None:
        tenant = create_tenant(slug=slug, name=name, actor=SYSTEM, environment=environment)
    add_people(tenant)
    return tenant


def load_kinds(kinds: Iterable[Kind]) -> None:
    """Create the task types, playbooks and allowlists that are missing in the open tenant scope."""
    for kind in kinds:
        if TaskType.objects.filter(slug=kind.slug).exists():
            continue
        task_type = TaskType.objects.create(
            slug=kind.slug,
            name=kind.name,
            description=kind.description,
            planner=kind.planner,
            playbook=_playbook(kind.playbook),
            instructions=kind.instructions,
            input_schema=kind.input_schema,
            limits={"steps": 8, "calls_per_step": 4, "wall_time_s": 900},
        )
        seed_rules(task_type.pk, kind.allow)


def _playbook(slug: str) -> Playbook:
    found = Playbook.objects.filter(slug=slug).order_by("-version").first()
    if found is not None:
        return found
    body = (Path(__file__).parent / "playbooks" / f"{slug}.json").read_text("utf-8")
    saved = save_playbook(slug=slug, body=body, actor=SYSTEM)
    if isinstance(saved, InvalidTask):
        raise ValueError(f"playbook {slug}: {saved.issues}")
    return saved


def _submit_messages(slug: str, messages: Iterable[str]) -> None:
    for message in messages:
        _submit(slug, {"message_id": message}, f"Message {message}", MAILBOX)


def _submit_shop_tasks() -> Run:
    """Ask for what colleagues ask for; return the run of the large refund."""
    enzo, olga = acting(ENZO), acting(OLGA)
    paid = list(Order.objects.filter(status=OrderStatus.SHIPPED, refunds__isnull=True).order_by("total_minor")[:40])
    small, medium = paid[5], paid[-1]
    _submit(
        "goodwill-refund",
        {"order_ref": small.ref, "amount_minor": 500, "reason": "Late delivery, goodwill"},
        f"Goodwill for {small.ref}",
        enzo,
    )
    returned = _submit(
        "goodwill-refund",
        {
            "order_ref": medium.ref,
            "amount_minor": medium.total_minor,
            "reason": "Returned unused, received in the warehouse",
        },
        f"Return of {medium.ref}",
        olga,
    )
    _submit(
        "customer-letter",
        {
            "email": small.customer.email,
            "subject": "Your order is on its way again",
            "body": "Hello,\n\nthe parcel that came back to us left the warehouse again this morning.\n\nKind regards\n"
            "Harbor Outfitters",
        },
        f"Letter to {small.customer.name}",
        enzo,
    )
    _submit(
        "access-request",
        {
            "system": "warehouse",
            "account": "mika@harbor.example",
            "role": "stock viewer",
            "reason": "New in the returns team since Monday",
        },
        "Access for Mika",
        enzo,
    )
    return returned


def _submit_clinic_tasks() -> None:
    order = Order.objects.filter(refunds__isnull=True, total_minor__gt=2000).order_by("ref").first()
    if order is not None:
        _submit(
            "invoice-correction",
            {"order_ref": order.ref, "amount_minor": 1500, "reason": "Charged twice for the same X-ray"},
            f"Correction of {order.ref}",
            MAILBOX,
        )


def _submit(slug: str, task: JSONObject, title: str, actor: Actor) -> Run:
    run = submit(
        task_type=TaskType.objects.get(slug=slug),
        input=task,
        actor=actor,
        origin=Origin.SUBMITTED,
        title=title,
        now=timezone.now() - timedelta(seconds=1),
    )
    if isinstance(run, InvalidTask):
        raise ValueError(f"{slug}: {run.issues}")
    return run
