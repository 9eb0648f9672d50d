"""Small tools that the tests of the gate call; none of them does anything."""

from typing import Any

from agentops.guardrails.provenance import Integrity, Provenance, Source, SourceKind
from agentops.wire.parse import JSON, JSONObject
from tools.builtin.shapes import CURRENCY, closed, number, text
from tools.contracts import (
    ArgumentRole,
    CallContext,
    DidNotHappen,
    Effect,
    Reconciled,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    Trust,
)

A, C = ArgumentRole.AUTHORITY, ArgumentRole.CONTENT

TYPED = Provenance((Source(SourceKind.OPERATOR, "user:1", "/input"),), Integrity.TRUSTED)
MAIL = Provenance((Source(SourceKind.TOOL, "mail.read:c1", "/text"),), Integrity.UNTRUSTED)
RECORDS = Provenance((Source(SourceKind.TOOL, "shop.find_order:c2", "/order_ref"),), Integrity.TRUSTED)


def contract(**changes: Any) -> ToolContract:
    """Return the contract of a refund, with changes."""
    parts: dict[str, Any] = {
        "name": "lab.refund",
        "version": "1.0.0",
        "title": "Refund",
        "description": "Pays nothing back.",
        "input_schema": closed(
            order_ref=text(40, minimum=1), amount_minor=number(1, 10_000_000), currency=CURRENCY, reason=text(2000)
        ),
        "output_schema": closed(refund_id=text(40)),
        "effect": Effect.UNSAFE_WRITE,
        "sensitivity": frozenset({Sensitivity.FINANCIAL}),
        "roles": {"order_ref": A, "amount_minor": A, "currency": A, "reason": C},
        "output_trust": {"": Trust.TRUSTED},
        "error_codes": frozenset(),
        "sentence": "Refund {amount_minor|money:currency} for order {order_ref}",
        "reversible": Reversibility(Reversal.IRREVERSIBLE, "The money leaves at once."),
        "must_see": ("order_ref", "amount_minor"),
    }
    return ToolContract(**(parts | changes))


REFUND = contract()
LOOK_UP = contract(name="lab.look_up", effect=Effect.READ, sensitivity=frozenset())
NOTE = contract(name="lab.note", effect=Effect.IDEMPOTENT_WRITE, sensitivity=frozenset())


def arguments(**changes: JSON) -> JSONObject:
    """Return what a clean small refund is called with, with changes."""
    clean: JSONObject = {"order_ref": "A-1093", "amount_minor": 4990, "currency": "EUR", "reason": "Arrived broken"}
    return clean | changes


def origin(**changes: Provenance) -> dict[str, Provenance]:
    """Return the origin of each argument, by pointer: our own records and a person, with changes by name."""
    known = {"order_ref": RECORDS, "amount_minor": RECORDS, "currency": RECORDS, "reason": TYPED} | changes
    return {f"/{name}": one for name, one in known.items()}


def do_nothing(ctx: CallContext, given: JSONObject) -> JSONObject:
    return {"refund_id": f"R-{ctx.idempotency_key[:6]}"}


def no_trace(ctx: CallContext, given: JSONObject) -> Reconciled:
    return DidNotHappen()
