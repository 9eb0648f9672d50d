"""A contract is a promise that cannot change: strict, bounded, complete, hashed."""

import copy
import json
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import schema
from tools.builtin.mail import READ
from tools.contracts import (
    ArgumentRole,
    Blast,
    Change,
    Consequence,
    ContractError,
    Effect,
    ErrorCode,
    Fact,
    Money,
    Reversal,
    Sensitivity,
    ToolContract,
    Trust,
    action_digest,
    parse_version,
    sentence_fields,
)
from tools.registry import registry

CONTRACTS = registry.all_versions()
every_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: f"{c.name} {c.version}")


def test_the_first_party_tools_are_registered() -> None:
    assert {c.name for c in CONTRACTS} >= {
        *("mail.read", "mail.triage", "mail.send", "shop.find_customer", "shop.find_order", "shop.issue_refund"),
        *("create_ticket", "customer.erase", "access.grant_role"),
    }


@every_contract
def test_its_schemas_are_strict_and_bounded(contract: ToolContract) -> None:
    schema.assert_strict(contract.input_schema)
    schema.assert_strict(contract.output_schema)


@every_contract
def test_it_says_everything_a_reviewer_needs(contract: ToolContract) -> None:
    assert contract.title
    assert contract.description.endswith(".")
    assert set(contract.roles) == set(contract.parameters)
    assert all(isinstance(contract.trust_of(name), Trust) for name in contract.outputs)
    assert contract.reversible.text.endswith(".")
    assert sentence_fields(contract.sentence) or not contract.parameters
    if contract.sensitivity:
        assert contract.effect is Effect.UNSAFE_WRITE
        assert contract.must_see
        assert set(contract.authority) <= set(contract.must_see) | set(contract.parameters)
        assert contract.reversible.state is not Reversal.NONE_NEEDED


@every_contract
def test_nobody_can_change_it(contract: ToolContract) -> None:
    with pytest.raises(FrozenInstanceError):
        contract.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        contract.input_schema["additionalProperties"] = True
    with pytest.raises(TypeError):
        contract.output_schema.update({"x": 1})
    with pytest.raises(TypeError):
        contract.roles["x"] = ArgumentRole.CONTENT  # type: ignore[index]
    required: Any = contract.input_schema["required"]
    with pytest.raises(TypeError):
        required.append("x")
    assert json.loads(json.dumps(contract.input_schema)) == copy.deepcopy(contract.input_schema)


@every_contract
def test_its_digest_covers_every_part(contract: ToolContract) -> None:
    assert replace(contract).digest == contract.digest
    assert replace(contract, description="Something else.").digest != contract.digest
    assert replace(contract, effect=Effect.UNSAFE_WRITE).digest != contract.digest or (
        contract.effect is Effect.UNSAFE_WRITE
    )
    assert replace(contract, timeout_s=599.5).digest != contract.digest
    assert replace(contract, cost_micros=0).digest == contract.digest
    assert replace(contract, cost_micros=1).digest != contract.digest
    assert (replace(contract, shows={}).digest == contract.digest) == (not contract.shows)
    assert replace(contract, shows={contract.parameters[0]: "file.mode"}).digest != contract.digest


@pytest.mark.parametrize("shows", [{"nothing": "url"}, {"message_id": "picture"}])
def test_what_a_parameter_is_shown_as_is_one_of_a_list(shows: dict[str, str]) -> None:
    with pytest.raises(ContractError, match="shows names"):
        replace(READ, shows=shows)


def test_a_consequence_is_read_back_as_it_was_written() -> None:
    said = Consequence(
        "Pays",
        blast=(Blast("orders", 1, "A-1"), Blast("people", None)),
        money=Money(5, "EUR"),
        egress=("body",),
        facts=(Fact("Customer", "Maria"),),
        warnings=("First contact",),
        changes=(Change("status", None, {"open": False}),),
    )
    assert Consequence.from_json(said.to_json()) == said
    assert "changes" not in Consequence("Reads").to_json()


def test_create_ticket_has_exactly_the_agreed_schema() -> None:
    contract = registry.get("create_ticket")
    assert contract is not None
    assert contract.parameters == ("title", "priority")
    assert contract.outputs == ("ticket_id", "status")
    properties: Any = contract.to_json()
    assert properties["input_schema"]["properties"]["priority"]["enum"] == ["low", "med", "high"]
    assert properties["output_schema"]["properties"]["status"]["enum"] == ["created", "failed"]
    assert contract.effect is Effect.IDEMPOTENT_WRITE


def test_the_four_sensitive_classes_each_have_their_tool() -> None:
    classes = {c.name: set(c.sensitivity) for c in CONTRACTS if c.sensitivity}
    assert classes == {
        "shop.issue_refund": {Sensitivity.FINANCIAL},
        "mail.send": {Sensitivity.EXTERNAL_COMMUNICATION},
        "http.request": {Sensitivity.EXTERNAL_COMMUNICATION},
        "customer.erase": {Sensitivity.DATA_DELETION},
        "access.grant_role": {Sensitivity.PERMISSION_CHANGE},
    }


def test_what_a_message_says_is_untrusted_and_what_the_extractor_concludes_is_not() -> None:
    read, triage = registry.get("mail.read"), registry.get("mail.triage")
    assert read is not None
    assert triage is not None
    assert {name for name in read.outputs if read.trust_of(name) is Trust.TRUSTED} == {"message_id"}
    assert {name: triage.trust_of(name) for name in triage.outputs} == {
        "intent": Trust.TRUSTED,
        "language": Trust.TRUSTED,
        "urgency": Trust.TRUSTED,
        "order_ref": Trust.INHERIT,
    }


REFUND = next(c for c in CONTRACTS if c.name == "shop.issue_refund")


@pytest.mark.parametrize(
    "change",
    [
        {"roles": {}},
        {"roles": {**REFUND.roles, "extra": ArgumentRole.CONTENT}},
        {"output_trust": {"refund_id": Trust.TRUSTED}},
        {"output_trust": {"": Trust.TRUSTED, "nothing": Trust.TRUSTED}},
        {"sentence": "Refund {amount}"},
        {"sentence": "Refund {amount_minor|money:nothing}"},
        {"sentence": "Refund {amount_minor"},
        {"must_see": ("nothing",)},
        {"egress": ("nothing",)},
        {"name": "Shop.Refund"},
        {"version": "1.0"},
        {"version": "01.0.0"},
        {"timeout_s": 0.0},
        {"effect": Effect.READ},
    ],
)
def test_an_inconsistent_contract_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(ContractError):
        replace(REFUND, **change)


def test_undeclared_output_is_untrusted() -> None:
    assert REFUND.trust_of("refund_id") is Trust.TRUSTED
    assert replace(REFUND, output_trust={"": Trust.INHERIT}).trust_of("status") is Trust.INHERIT


def test_versions_are_ordered_as_numbers() -> None:
    assert parse_version("1.10.0") > parse_version("1.9.9")
    with pytest.raises(ContractError):
        parse_version("1.0.0\n")


def test_the_action_digest_is_bound_to_tenant_tool_version_and_every_argument() -> None:
    base: dict[str, Any] = {"tenant_id": 1, "tool": "t", "version": "1.0.0", "arguments": {"a": 1}}
    digests = {
        action_digest(**{**base, **change})
        for change in ({}, {"tenant_id": 2}, {"tool": "u"}, {"version": "1.0.1"}, {"arguments": {"a": 2}})
    }
    assert len(digests) == 5


@given(st.dictionaries(st.text(max_size=5), st.integers(-(2**40), 2**40), max_size=6))
def test_the_action_digest_does_not_depend_on_key_order(arguments: dict[str, int]) -> None:
    turned = dict(reversed(arguments.items()))
    assert action_digest(tenant_id=1, tool="t", version="1.0.0", arguments={**arguments}) == action_digest(
        tenant_id=1, tool="t", version="1.0.0", arguments={**turned}
    )


def test_a_consequence_prints_unknown_counts_as_null() -> None:
    consequence = Consequence(
        "Pays", (Blast("orders", None, "?"),), Money(5, "EUR"), ("body",), (Fact("a", "b"),), ("careful",)
    )
    assert consequence.to_json() == {
        "summary": "Pays",
        "blast": [{"kind": "orders", "count": None, "detail": "?"}],
        "money": {"minor": 5, "currency": "EUR"},
        "egress": ["body"],
        "facts": [{"label": "a", "value": "b"}],
        "warnings": ["careful"],
    }


def test_only_three_codes_are_transient() -> None:
    from tools.contracts import TRANSIENT

    assert {ErrorCode.RATE_LIMITED, ErrorCode.TIMEOUT, ErrorCode.UNAVAILABLE} == TRANSIENT
