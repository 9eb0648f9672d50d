"""Bounds on what one call may do, and the other promises of a contract."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentops.tenancy.models import Tenant
from agentops.wire.parse import JSON
from tests.tools.conftest import permit_any, request_for
from tools.builtin.shapes import CURRENCY, closed, number, rows, text
from tools.contracts import (
    ArgumentRole,
    ContractError,
    DidNotHappen,
    Effect,
    ErrorCode,
    Reversal,
    Reversibility,
    ToolContract,
    Trust,
)
from tools.executor import CallRequest, Executor, Failed, Permit, Succeeded
from tools.promises import AmountBound, Bounds, CountBound, Idempotency, Promises, Sink
from tools.registry import Registry

BOUNDS = Bounds(
    amount=AmountBound("amount_minor", "currency", {"EUR": 10_000, "JPY": 1_000}),
    rows=CountBound(("ids",), 3),
    recipients=CountBound(("to", "cc"), 2),
)
PAY = ToolContract(
    name="lab.pay",
    version="1.0.0",
    title="Pay",
    description="Pays several people.",
    input_schema=closed(
        amount_minor=number(-(10**9), 10**9),
        currency=CURRENCY,
        ids=rows(text(20), 100),
        to=text(2000),
        cc=rows(text(200), 100),
        note=text(200),
    ),
    output_schema=closed(done=text(10)),
    effect=Effect.UNSAFE_WRITE,
    roles={
        **dict.fromkeys(("amount_minor", "currency", "ids", "to", "cc"), ArgumentRole.AUTHORITY),
        "note": ArgumentRole.CONTENT,
    },
    output_trust={"": Trust.TRUSTED},
    error_codes=frozenset(),
    sentence="Pay {amount_minor|money:currency} to {to} and {cc} for {ids}",
    reversible=Reversibility(Reversal.IRREVERSIBLE, "Gone."),
    promises=Promises(bounds=BOUNDS, sinks=frozenset({Sink.PAYMENT}), cosmetic=("note",)),
)
FINE: dict[str, Any] = {
    "amount_minor": 10_000,
    "currency": "EUR",
    "ids": ["1", "2", "3"],
    "to": "a@example.com",
    "cc": ["b@example.com"],
    "note": "",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amount_minor": 10_001}, "More than EUR 100.00 "),
        ({"amount_minor": -10_001}, "More than EUR 100.00 "),
        ({"currency": "JPY"}, "More than JPY 1,000 "),
        ({"currency": "USD"}, "this currency"),
        ({"ids": ["1", "2", "3", "4"]}, "rows"),
        ({"ids": ["1,2", "3;4"]}, "rows"),
        ({"to": "a@example.com, c@example.com"}, "recipients"),
        ({"to": "a@example.com;c@example.com"}, "recipients"),
        ({"cc": ["b@example.com", "c@example.com"]}, "recipients"),
        ({"to": "a@example.com\nc@example.com"}, "recipients"),
    ],
)
def test_what_is_beyond_a_bound_is_refused_before_the_permission_is_used(
    scoped: Tenant, change: dict[str, Any], words: str
) -> None:
    used: list[CallRequest] = []

    def consume(request: CallRequest) -> Permit:
        used.append(request)
        return permit_any(request)

    tools = Registry()
    tools.register(PAY, lambda ctx, given: {"done": "yes"}, reconcile=lambda ctx, given: DidNotHappen())
    executor = Executor(tools)
    assert isinstance(executor.execute(request_for(scoped, "lab.pay", FINE), consume), Succeeded)
    found = executor.execute(request_for(scoped, "lab.pay", {**FINE, **change}), consume)
    assert isinstance(found, Failed)
    assert (found.code, len(used)) == (ErrorCode.POLICY_BLOCKED, 1)
    assert words in found.message


@given(st.integers(0, 20_000), st.sampled_from(["EUR", "JPY", "USD", ""]), st.integers(0, 6), st.integers(0, 4))
def test_more_of_anything_never_comes_back_within_a_bound(amount: int, code: str, ids: int, copies: int) -> None:
    def beyond(amount: int, ids: int, copies: int) -> int:
        given: dict[str, JSON] = {"amount_minor": amount, "currency": code, "ids": ["x"] * ids}
        return len(BOUNDS.exceeded({**given, "to": "a@b.example", "cc": ["c@d.example"] * copies}))

    least = beyond(amount, ids, copies)
    assert beyond(amount * 2 + 1, ids, copies) >= least
    assert beyond(amount, ids + 1, copies) >= least
    assert beyond(amount, ids, copies + 1) >= least


@pytest.mark.parametrize("value", [None, 1.5, True, "10", [], {}])
def test_an_amount_that_is_none_is_beyond_every_bound(value: JSON) -> None:
    assert BOUNDS.exceeded({**FINE, "amount_minor": value})


@pytest.mark.parametrize(
    ("promises", "words"),
    [
        (Promises(bounds=Bounds(rows=CountBound(("nothing",), 1))), "unknown parameter"),
        (Promises(bounds=Bounds(rows=CountBound((), 1))), "unknown parameter"),
        (Promises(bounds=Bounds(rows=CountBound(("ids",), 0))), "between 1"),
        (Promises(bounds=Bounds(amount=AmountBound("note", "currency", {"EUR": 1}))), "whole minor units"),
        (Promises(bounds=Bounds(amount=AmountBound("amount_minor", "currency", {"eur": 1}))), "ISO 4217"),
        (Promises(bounds=Bounds(amount=AmountBound("amount_minor", "nothing", {"EUR": 1}))), "unknown parameter"),
        (Promises(cosmetic=("to",)), "cosmetic"),
        (Promises(cosmetic=("nothing",)), "only name parameters"),
        (Promises(attestations=("nothing",)), "only name parameters"),
        (Promises(cosmetic=("note",), attestations=("note",)), "cosmetic"),
        (Promises(idempotency=Idempotency.NATURAL), "idempotency"),
        (Promises(undo_tool="lab.unpay"), "need each other"),
    ],
)
def test_a_promise_that_makes_no_sense_cannot_be_made(promises: Promises, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        replace(PAY, promises=promises)


def test_an_undo_tool_goes_with_its_reversibility() -> None:
    undone = Reversibility(Reversal.UNDO_TOOL, "lab.unpay takes it back.")
    with pytest.raises(ContractError, match="need each other"):
        replace(PAY, reversible=undone)
    assert replace(PAY, reversible=undone, promises=Promises(undo_tool="lab.unpay")).promises.undo_tool == "lab.unpay"


def test_a_read_has_nothing_to_bound_and_what_leaves_needs_a_place_outside() -> None:
    with pytest.raises(ContractError, match="no effect to bound"):
        replace(PAY, effect=Effect.READ)
    with pytest.raises(ContractError, match="no sink is outside"):
        replace(PAY, egress=("note",), promises=Promises(sinks=frozenset({Sink.RECORDS})))


def test_a_contract_without_promises_keeps_its_digest() -> None:
    bare = replace(PAY, promises=Promises())
    assert not {"bounds", "sinks", "cosmetic", "attestations", "undo_tool", "idempotency"} & set(bare.to_json())
    assert bare.digest != PAY.digest
    assert bare.idempotency is Idempotency.KEY
