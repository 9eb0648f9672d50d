"""shop.find_customer, shop.find_order, shop.issue_refund: the shop's own records."""

from django.db.models import Sum

from agentops.wire.money import currency_exponent, format_money
from agentops.wire.parse import JSONObject
from tools.backoffice.models import Customer, Order, OrderStatus, Refund
from tools.contracts import (
    ArgumentRole,
    Blast,
    CallContext,
    Confirmed,
    Consequence,
    Contradicted,
    DidNotHappen,
    Effect,
    ErrorCode,
    Fact,
    Happened,
    Money,
    ReadBack,
    Reconciled,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    ToolError,
    Trust,
)
from tools.promises import ANY_CURRENCY, AmountBound, Bounds, CountBound, Promises, Sink

from .effects import another_action, effect, reference
from .shapes import (
    ADDRESS,
    CURRENCY,
    CUSTOMER_REF,
    MAX_MINOR,
    ORDER_REF,
    REASON,
    YES_NO,
    choice,
    closed,
    nullable,
    number,
    text,
)

MAX_REFUND_MINOR = 10_000_000

FIND_CUSTOMER = ToolContract(
    name="shop.find_customer",
    version="1.0.0",
    title="Find customer",
    description="Look a customer up by e-mail address. `found` is false when nobody has that address.",
    input_schema=closed(email=ADDRESS),
    output_schema=closed(
        found=YES_NO,
        customer_ref=nullable(text(20)),
        name=nullable(text(120)),
        email=nullable(text(254)),
        address=nullable(text(250)),
        language=nullable(text(8)),
        order_count=number(0, 1_000_000),
    ),
    effect=Effect.READ,
    roles={"email": ArgumentRole.AUTHORITY},
    # Whoever chooses the address chooses the record; name and address were typed by the customer.
    output_trust={"": Trust.INHERIT, "name": Trust.UNTRUSTED, "address": Trust.UNTRUSTED},
    error_codes=frozenset(),
    sentence="Look up the customer with the address {email}",
    reversible=Reversibility(Reversal.NONE_NEEDED, "Only reads."),
)

FIND_ORDER = ToolContract(
    name="shop.find_order",
    version="1.0.0",
    title="Find order",
    description="Look an order or invoice up by its number. Amounts are in minor units of `currency`.",
    input_schema=closed(order_ref=text(20, pattern=ORDER_REF, note="Such as A-1093.")),
    output_schema=closed(
        found=YES_NO,
        order_ref=nullable(text(20)),
        customer_ref=nullable(text(20, pattern=CUSTOMER_REF)),
        customer_email=nullable(text(254)),
        summary=nullable(text(200)),
        total_minor=nullable(number(0, MAX_MINOR)),
        refunded_minor=nullable(number(0, MAX_MINOR)),
        refundable_minor=nullable(number(0, MAX_MINOR)),
        currency=nullable(text(3)),
        status=nullable(choice(*OrderStatus.values)),
        placed_at=nullable(text(40)),
    ),
    effect=Effect.READ,
    roles={"order_ref": ArgumentRole.AUTHORITY},
    # Which order it is, the asker chose; what our books say about it, nobody outside did.
    output_trust={
        "": Trust.TRUSTED,
        "order_ref": Trust.INHERIT,
        "customer_ref": Trust.INHERIT,
        "customer_email": Trust.INHERIT,
    },
    error_codes=frozenset(),
    sentence="Look up the order {order_ref}",
    reversible=Reversibility(Reversal.NONE_NEEDED, "Only reads."),
)

ISSUE_REFUND = ToolContract(
    name="shop.issue_refund",
    version="1.0.0",
    title="Issue refund",
    description="Pay money back to the card an order was paid with, at most what is still refundable.",
    input_schema=closed(
        order_ref=text(20, pattern=ORDER_REF, note="Such as A-1093."),
        amount_minor=number(1, MAX_REFUND_MINOR, note="In minor units: 4990 is EUR 49.90."),
        currency=CURRENCY,
        reason=REASON,
    ),
    output_schema=closed(refund_id=text(40), status=choice("refunded")),
    effect=Effect.UNSAFE_WRITE,
    sensitivity=frozenset({Sensitivity.FINANCIAL}),
    roles={
        "order_ref": ArgumentRole.AUTHORITY,
        "amount_minor": ArgumentRole.AUTHORITY,
        "currency": ArgumentRole.AUTHORITY,
        "reason": ArgumentRole.CONTENT,
    },
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset(
        {
            ErrorCode.INVALID_INPUT,
            ErrorCode.NOT_FOUND,
            ErrorCode.CONFLICT,
            ErrorCode.TIMEOUT,
            ErrorCode.UNAVAILABLE,
        }
    ),
    sentence="Refund {amount_minor|money:currency} for order {order_ref}",
    reversible=Reversibility(Reversal.IRREVERSIBLE, "The money leaves at once; only the customer can pay it back."),
    must_see=("order_ref", "amount_minor", "currency"),
    promises=Promises(
        sinks=frozenset({Sink.PAYMENT, Sink.RECORDS}),
        bounds=Bounds(
            amount=AmountBound("amount_minor", "currency", {ANY_CURRENCY: MAX_REFUND_MINOR}),
            rows=CountBound(("order_ref",), 1),
        ),
    ),
)


def find_customer(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Return the customer with an address, letter case aside."""
    customer = Customer.objects.filter(email__iexact=str(arguments["email"]).strip()).first()
    if customer is None:
        return {
            "found": False,
            "customer_ref": None,
            "name": None,
            "email": None,
            "address": None,
            "language": None,
            "order_count": 0,
        }
    return {
        "found": True,
        "customer_ref": customer.ref,
        "name": customer.name,
        "email": customer.email,
        "address": customer.address,
        "language": customer.language,
        "order_count": customer.orders.count(),
    }


def find_order(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Return the order with a number and what is still refundable."""
    order = Order.objects.select_related("customer").filter(ref=str(arguments["order_ref"])).first()
    if order is None:
        return dict.fromkeys(FIND_ORDER.outputs) | {"found": False}
    refunded = refunded_minor(order)
    return {
        "found": True,
        "order_ref": order.ref,
        "customer_ref": order.customer.ref,
        "customer_email": order.customer.email,
        "summary": order.summary,
        "total_minor": order.total_minor,
        "refunded_minor": refunded,
        "refundable_minor": max(0, order.total_minor - refunded),
        "currency": order.currency,
        "status": order.status,
        "placed_at": order.placed_at.isoformat(),
    }


def issue_refund(ctx: CallContext, arguments: JSONObject) -> JSONObject:
    """Record one refund under the order's row lock, or return the one this key already made."""
    amount = arguments["amount_minor"]
    assert isinstance(amount, int)
    with effect(ctx):
        order = Order.objects.select_for_update().filter(ref=str(arguments["order_ref"])).first()
        if order is None:
            raise ToolError(ErrorCode.NOT_FOUND, f"There is no order {arguments['order_ref']}.")
        refund = Refund.objects.filter(idempotency_key=ctx.idempotency_key).first()
        if refund is None:
            _check_refundable(order, amount, str(arguments["currency"]))
            refund = Refund.objects.create(
                order=order,
                ref=reference("R", ctx),
                amount_minor=amount,
                currency=order.currency,
                reason=str(arguments["reason"]),
                idempotency_key=ctx.idempotency_key,
            )
        elif (refund.order_id, refund.amount_minor, refund.currency) != (order.pk, amount, arguments["currency"]):
            raise another_action()
    return _output(refund)


def reconcile_refund(ctx: CallContext, arguments: JSONObject) -> Reconciled:
    """Look the refund up by key."""
    refund = Refund.objects.filter(idempotency_key=ctx.idempotency_key).first()
    return DidNotHappen() if refund is None else Happened(_output(refund))


def read_refund_back(ctx: CallContext, arguments: JSONObject, output: JSONObject) -> ReadBack:
    """Compare the refund on record under the key with what was asked for and answered."""
    refund = Refund.objects.select_related("order").filter(idempotency_key=ctx.idempotency_key).first()
    if refund is None:
        return Contradicted("There is no such refund on record.")
    asked = (arguments["order_ref"], arguments["amount_minor"], arguments["currency"], output.get("refund_id"))
    found = (refund.order.ref, refund.amount_minor, refund.currency, refund.ref)
    return Confirmed() if found == asked else Contradicted("The refund on record is another one.")


def describe_customer(arguments: JSONObject) -> Consequence:
    """Say that one record is read."""
    return Consequence("Reads one customer record", blast=(Blast("customers read", 1),))


def describe_order(arguments: JSONObject) -> Consequence:
    """Say that one record is read."""
    return Consequence("Reads one order record", blast=(Blast("orders read", 1),))


def describe_refund(arguments: JSONObject) -> Consequence:
    """Say whose order is refunded, how much is left of it afterwards, and what does not fit."""
    amount, currency = arguments["amount_minor"], str(arguments["currency"])
    assert isinstance(amount, int)
    order = Order.objects.select_related("customer").filter(ref=str(arguments["order_ref"])).first()
    if order is None:
        return Consequence(
            "Pays out nothing: there is no such order",
            blast=(Blast("orders", 0),),
            money=Money(amount, currency),
            warnings=(f"There is no order {arguments['order_ref']}; the call will fail.",),
        )
    refunded = refunded_minor(order)
    remaining = order.total_minor - refunded - amount
    warnings = []
    if currency != order.currency:
        warnings.append(f"The order is in {order.currency}, not {currency}; the call will fail.")
    elif remaining < 0:
        warnings.append(f"{_shown(-remaining, currency)} more than is refundable; the call will fail.")
    if refunded:
        warnings.append(f"{_shown(refunded, order.currency)} of this order were refunded before.")
    if order.customer.erased_at:
        warnings.append("The customer's personal data was erased.")
    if order.status == OrderStatus.CANCELLED:
        warnings.append("The order was cancelled.")
    name = order.customer.name or order.customer.ref
    card = f"card ending {order.card_last4}" if order.card_last4 else "the card used for the order"
    return Consequence(
        f"Pays {_shown(amount, currency)} out to {name}",
        blast=(Blast("orders", 1, order.ref), Blast("customers", 1, order.customer.ref)),
        money=Money(amount, currency),
        facts=(
            Fact("Customer", f"{name} ({order.customer.ref})"),
            Fact("Order", f"{order.ref}, {order.summary}, {order.get_status_display().lower()}"),
            Fact("Placed", order.placed_at.date().isoformat()),
            Fact("Order total", _shown(order.total_minor, order.currency)),
            Fact("Already refunded", _shown(refunded, order.currency)),
            Fact("Refundable afterwards", _shown(max(0, remaining), order.currency)),
            Fact("Paid to", card),
        ),
        warnings=tuple(warnings),
    )


def refunded_minor(order: Order) -> int:
    """Return the sum of an order's refunds in minor units. One query."""
    return order.refunds.aggregate(total=Sum("amount_minor"))["total"] or 0


def _check_refundable(order: Order, amount: int, currency: str) -> None:
    if currency != order.currency:
        raise ToolError(ErrorCode.INVALID_INPUT, f"Order {order.ref} is in {order.currency}, not {currency}.")
    left = order.total_minor - refunded_minor(order)
    if amount > left:
        raise ToolError(ErrorCode.CONFLICT, f"Only {_shown(max(0, left), currency)} of order {order.ref} are left.")


def _shown(minor: int, currency: str) -> str:
    try:
        currency_exponent(currency)
    except ValueError:
        return f"{minor} minor units of {currency}"
    return format_money(minor, currency)


def _output(refund: Refund) -> JSONObject:
    return {"refund_id": refund.ref, "status": "refunded"}
