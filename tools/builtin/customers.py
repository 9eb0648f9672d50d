"""customer.erase: remove a customer's personal data and keep what the books need."""

from django.db.models import Q, QuerySet
from django.utils import timezone

from agentops.wire.parse import JSONObject
from tools.backoffice.models import Customer, Erasure, InboxMessage, Order, OrderStatus, SentMessage
from tools.contracts import (
    ArgumentRole,
    Blast,
    CallContext,
    Change,
    Confirmed,
    Consequence,
    Contradicted,
    DidNotHappen,
    Effect,
    ErrorCode,
    Fact,
    Happened,
    ReadBack,
    Reconciled,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    ToolError,
    Trust,
)
from tools.promises import Bounds, CountBound, Promises, Sink

from .effects import another_action, effect
from .shapes import CUSTOMER_REF, REASON, choice, closed, number, text

ERASE = ToolContract(
    name="customer.erase",
    version="1.0.0",
    title="Erase customer",
    description=(
        "Erase a customer's name, addresses, card digits and correspondence. Orders and refunds stay, without a name."
    ),
    input_schema=closed(
        customer_ref=text(20, pattern=CUSTOMER_REF, note="Such as C-1001."),
        reason=REASON,
    ),
    output_schema=closed(
        customer_ref=text(20),
        status=choice("erased"),
        orders_kept=number(0, 1_000_000),
        messages_erased=number(0, 1_000_000),
    ),
    effect=Effect.UNSAFE_WRITE,
    sensitivity=frozenset({Sensitivity.DATA_DELETION}),
    roles={"customer_ref": ArgumentRole.AUTHORITY, "reason": ArgumentRole.CONTENT},
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset({ErrorCode.NOT_FOUND, ErrorCode.CONFLICT, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE}),
    sentence="Erase the personal data of customer {customer_ref}",
    reversible=Reversibility(Reversal.IRREVERSIBLE, "Erased data cannot be brought back."),
    must_see=("customer_ref",),
    timeout_s=30.0,
    promises=Promises(sinks=frozenset({Sink.RECORDS}), bounds=Bounds(rows=CountBound(("customer_ref",), 1))),
)

_OPEN = (OrderStatus.PAID, OrderStatus.SHIPPED)


def erase(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Erase one customer under the row's lock, or return what this key already did."""
    ref = str(arguments["customer_ref"])
    with effect(ctx):
        customer = Customer.objects.select_for_update().filter(ref=ref).first()
        if customer is None:
            raise ToolError(ErrorCode.NOT_FOUND, f"There is no customer {ref}.")
        done = Erasure.objects.filter(idempotency_key=ctx.idempotency_key).first()
        if done is None:
            if customer.erased_at:
                raise ToolError(ErrorCode.CONFLICT, f"Customer {ref} was erased before.")
            done = _erase(customer, ctx, str(arguments["reason"]))
        elif done.customer_id != customer.pk:
            raise another_action()
    return _output(done)


def _erase(customer: Customer, ctx: CallContext, reason: str) -> Erasure:
    now = timezone.now()
    received, sent = _received_from(customer), _sent_to(customer)
    messages = received.count() + sent.count()
    received.update(raw=b"", sender="", reply_to="", subject="", erased_at=now)
    sent.update(to="", subject="", body="")
    orders = customer.orders.all()
    orders.update(card_last4="")
    customer.name = customer.email = customer.address = customer.language = ""
    customer.erased_at = now
    customer.save()
    return Erasure.objects.create(
        customer=customer,
        reason=reason,
        orders_kept=orders.count(),
        messages_erased=messages,
        idempotency_key=ctx.idempotency_key,
    )


def reconcile(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Look the erasure up by key."""
    done = Erasure.objects.select_related("customer").filter(idempotency_key=ctx.idempotency_key).first()
    return DidNotHappen() if done is None else Happened(_output(done))


def read_back(ctx: CallContext, arguments: JSONObject, output: JSONObject) -> ReadBack:
    """Look whether anything personal of the customer is left in the record."""
    customer = Customer.objects.filter(ref=str(arguments["customer_ref"])).first()
    if customer is None:
        return Contradicted("There is no such customer.")
    left = customer.name or customer.email or customer.address
    return Confirmed() if customer.erased_at and not left else Contradicted("Personal data is still there.")


def describe(arguments: JSONObject) -> Consequence:
    """Say whose data goes, how many records and messages are touched, and what is still open."""
    ref = str(arguments["customer_ref"])
    customer = Customer.objects.filter(ref=ref).first()
    if customer is None:
        return Consequence(
            "Erases nothing: there is no such customer",
            blast=(Blast("customers", 0),),
            warnings=(f"There is no customer {ref}; the call will fail.",),
        )
    orders = Order.objects.filter(customer=customer)
    unfinished = orders.filter(status__in=_OPEN).count()
    received, sent = _received_from(customer).count(), _sent_to(customer).count()
    warnings = []
    if customer.erased_at:
        warnings.append("This customer was erased before; the call will fail.")
    if unfinished:
        warnings.append(f"{unfinished} order(s) are still under way; delivering them needs the address.")
    return Consequence(
        f"Erases the name, addresses and correspondence of {customer.name or ref} for good",
        blast=(
            Blast("customers", 1, ref),
            Blast("orders kept without a name", orders.count()),
            Blast("messages erased", received + sent, f"{received} received, {sent} sent"),
        ),
        facts=(
            Fact("Customer", f"{customer.name} ({ref})" if customer.name else ref),
            Fact("E-mail", customer.email or "none on record"),
            Fact("Orders", f"{orders.count()}, of which {unfinished} not delivered"),
            Fact("Messages", f"{received} received, {sent} sent"),
        ),
        warnings=tuple(warnings),
        changes=tuple(
            Change(name, value, "")
            for name, value in (
                ("name", customer.name),
                ("e-mail", customer.email),
                ("address", customer.address),
                ("language", customer.language),
            )
            if value
        ),
    )


def _received_from(customer: Customer) -> "QuerySet[InboxMessage]":
    mine = Q(sender__iexact=customer.email) if customer.email else Q(pk__in=[])
    return InboxMessage.objects.filter(mine, erased_at=None)


def _sent_to(customer: Customer) -> "QuerySet[SentMessage]":
    return SentMessage.objects.filter(Q(to__iexact=customer.email) if customer.email else Q(pk__in=[]))


def _output(done: Erasure) -> JSONObject:
    return {
        "customer_ref": done.customer.ref,
        "status": "erased",
        "orders_kept": done.orders_kept,
        "messages_erased": done.messages_erased,
    }
