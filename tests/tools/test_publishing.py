"""A published version says the same for ever, and the next one has a number that says what it changes."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from tests.tools.test_promises import BOUNDS, PAY
from tools import publishing
from tools.builtin.shapes import choice, closed, number, text
from tools.compatibility import Matter, compare, needed_part, version_problem
from tools.contract_checks import problems
from tools.contracts import (
    ArgumentRole,
    DidNotHappen,
    Effect,
    ErrorCode,
    Reversal,
    Reversibility,
    Sensitivity,
    ToolContract,
    Trust,
)
from tools.models import PublishedContract
from tools.promises import AmountBound, CountBound, Idempotency, Promises, Sink
from tools.registry import Registry, registry

PROPERTIES: Any = PAY.to_json()["input_schema"]["properties"]  # type: ignore[call-overload, index]
PROMISES = PAY.promises


def without(name: str) -> dict[str, Any]:
    return {
        "input_schema": closed(**{key: value for key, value in PROPERTIES.items() if key != name}),
        "roles": {key: role for key, role in PAY.roles.items() if key != name},
        "promises": replace(PROMISES, cosmetic=()),
    }


def input_with(**changes: Any) -> dict[str, Any]:
    return {"input_schema": closed(**{**PROPERTIES, **changes})}


def bounded(**changes: Any) -> dict[str, Any]:
    return {"promises": replace(PROMISES, bounds=replace(BOUNDS, **changes))}


CALLERS, CONSUMERS, RISK, ADDS, WORDS = Matter
CHANGES: list[tuple[dict[str, Any], Matter, str]] = [
    (without("note"), CALLERS, "note is gone"),
    (
        {**input_with(extra=text(5)), "roles": {**PAY.roles, "extra": ArgumentRole.CONTENT}},
        CALLERS,
        "extra is new",
    ),
    (input_with(note=text(100)), CALLERS, "maxLength of note is 100"),
    (input_with(note=text(300)), ADDS, "maxLength of note is 300"),
    (input_with(note=text(200, minimum=1)), CALLERS, "minLength of note"),
    (input_with(note=text(200, pattern="^a")), CALLERS, "pattern of note"),
    (input_with(note=choice("a", "b")), CALLERS, "closed list"),
    (input_with(amount_minor=number(-(10**9), 10**10)), RISK, "decides where the effect lands"),
    (input_with(note={"type": ["string", "null"], "maxLength": 200}), ADDS, "note may now be null"),
    ({"output_schema": closed(finished=text(10))}, CONSUMERS, "done is gone"),
    ({"output_schema": closed(done=text(10), more=text(1))}, ADDS, "more is new"),
    ({"output_schema": closed(done={"type": ["string", "null"], "maxLength": 10})}, CONSUMERS, "may now be null"),
    ({"effect": Effect.IDEMPOTENT_WRITE}, ADDS, "effect is idempotent write"),
    ({"sensitivity": frozenset({Sensitivity.FINANCIAL}), "must_see": ("to",)}, CALLERS, "always needs a person"),
    ({"roles": {**PAY.roles, "to": ArgumentRole.CONTENT}}, RISK, "to no longer counts"),
    ({"output_trust": {"": Trust.UNTRUSTED}}, CONSUMERS, "done is untrusted"),
    ({"error_codes": frozenset({ErrorCode.CONFLICT})}, ADDS, "fail with conflict"),
    ({"timeout_s": 20.0}, ADDS, "20 s"),
    ({"cost_micros": 5}, RISK, "costs 5"),
    ({"rate_per_minute": 5}, CALLERS, "5 times a minute"),
    ({"reversible": Reversibility(Reversal.BY_HAND, "By hand.")}, ADDS, "by hand"),
    ({"must_see": ("to",)}, ADDS, "to has to be seen"),
    ({"egress": ("note",), "promises": replace(PROMISES, cosmetic=())}, RISK, "note leaves"),
    ({"promises": replace(PROMISES, sinks=frozenset({Sink.PAYMENT, Sink.HTTP}))}, RISK, "http is a place"),
    ({"promises": replace(PROMISES, idempotency=Idempotency.NONE)}, RISK, "repeat harmless"),
    ({"promises": replace(PROMISES, attestations=("to",))}, ADDS, "picked out"),
    (bounded(rows=CountBound(("ids",), 4)), RISK, "At most 4 rows"),
    (bounded(rows=CountBound(("ids",), 2)), CALLERS, "At most 2 rows"),
    (bounded(rows=None), RISK, "not bounded any more"),
    (bounded(rows=CountBound(("to",), 3)), RISK, "counts other parameters"),
    (bounded(amount=AmountBound("amount_minor", "currency", {"EUR": 20_000, "JPY": 1_000})), RISK, "20,000 minor"),
    (bounded(amount=AmountBound("amount_minor", "currency", {"EUR": 10_000})), CALLERS, "At most none"),
    ({"description": "Pays everybody."}, WORDS, "description"),
    ({"title": "Pay them"}, WORDS, "title"),
]


@pytest.mark.parametrize(
    ("change", "matter", "words"), CHANGES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_difference_is_said_in_words_and_weighed(change: dict[str, Any], matter: Matter, words: str) -> None:
    changed = replace(PAY, **change)
    found = compare(PAY.to_json(), changed.to_json())
    assert [one for one in found if one.matter is matter and words in one.words], [one.words for one in found]
    part = {CALLERS: 0, CONSUMERS: 0, RISK: 0, ADDS: 1, WORDS: 2}[found[0].matter]
    assert needed_part(found) == part
    enough, too_low = [("2.0.0", "1.1.0"), ("1.1.0", "1.0.1"), ("1.0.1", "1.0.0")][part]
    assert version_problem(PAY.to_json(), replace(changed, version=enough).to_json()) == ""
    assert "needs a new" in version_problem(PAY.to_json(), replace(changed, version=too_low).to_json())


def test_the_same_contract_differs_in_nothing() -> None:
    for contract in registry.all_versions():
        assert compare(contract.to_json(), contract.to_json()) == ()


@given(st.lists(st.sampled_from([change for change, _, _ in CHANGES]), min_size=1, max_size=4))
def test_several_differences_need_at_least_what_each_needs(changes: list[dict[str, Any]]) -> None:
    """What a later change overrides does not count; the last one always does."""
    merged: dict[str, Any] = {}
    for change in changes:
        merged |= change
    try:
        changed = replace(PAY, **merged)
    except ValueError:
        return
    alone = needed_part(compare(PAY.to_json(), replace(PAY, **changes[-1]).to_json()))
    assert needed_part(compare(PAY.to_json(), changed.to_json())) <= alone


def shelf(*contracts: ToolContract) -> Registry:
    tools = Registry()
    for one in contracts:
        tools.register(
            one,
            lambda ctx, given: {"done": ""},
            reconcile=lambda ctx, given: DidNotHappen(),
            describe=lambda given: None,  # type: ignore[arg-type, return-value]
        )
    tools.illustrate(
        "lab.pay",
        {"amount_minor": 1, "currency": "EUR", "ids": ["1"], "to": "a@example.com", "cc": [], "note": ""},
    )
    return tools


def test_what_is_published_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "published.json"
    assert publishing.write([PAY], today="2026-11-25", path=path) == ["lab.pay 1.0.0"]
    before = path.read_bytes()
    assert publishing.write([PAY], today="2026-11-26", path=path) == []
    with pytest.raises(publishing.ContractChanged):
        publishing.write([replace(PAY, title="Other")], today="2026-11-26", path=path)
    assert path.read_bytes() == before
    assert publishing.write([replace(PAY, version="1.0.1", title="Other")], today="2026-11-26", path=path)
    assert [(one.version, one.since) for one in publishing.read(path)] == [
        ("1.0.0", "2026-11-25"),
        ("1.0.1", "2026-11-26"),
    ]


def test_a_file_whose_content_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "published.json"
    publishing.write([PAY], today="2026-11-25", path=path)
    path.write_text(path.read_text().replace("Pays several people.", "Pays nobody."))
    with pytest.raises(publishing.ContractChanged, match="digest"):
        publishing.read(path)


def test_the_checks_name_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "published.json"

    def codes(tools: Registry) -> list[str]:
        return [one.code for one in problems(tools, publishing.read(path))]

    assert codes(shelf(PAY)) == ["not_published"]
    publishing.write([PAY], today="2026-11-25", path=path)
    assert codes(shelf(PAY)) == []
    assert codes(shelf(replace(PAY, title="Other"))) == ["changed"]
    assert codes(shelf()) == ["gone"]
    looser = replace(PAY, version="1.1.0", **bounded(rows=None))
    assert codes(shelf(PAY, looser)) == ["not_published", "version_too_low"]
    assert codes(shelf(PAY, replace(looser, version="2.0.0"))) == ["not_published"]
    publishing.write([replace(looser, version="2.0.0")], today="2026-11-25", path=path)
    assert codes(shelf(PAY, replace(looser, version="2.0.0"))) == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sentence": "Pay {to}"}, "sentence_incomplete"),
        ({"description": "Pays"}, "no_description"),
        ({"promises": Promises()}, "no_sink"),
        ({"sensitivity": frozenset({Sensitivity.FINANCIAL})}, "nothing_to_see"),
        (
            {
                "reversible": Reversibility(Reversal.UNDO_TOOL, "Taken back."),
                "promises": replace(PROMISES, undo_tool="lab.unpay"),
            },
            "undo_missing",
        ),
        (bounded(rows=CountBound(("ids", "to"), 1)), "bad_example"),
        (input_with(note=text(200, minimum=1)), "bad_example"),
    ],
)
def test_a_rule_that_is_broken_has_a_code(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    changed = replace(PAY, **change)
    publishing.write([changed], today="2026-11-25", path=tmp_path / "published.json")
    found = problems(shelf(changed), publishing.read(tmp_path / "published.json"))
    assert [one.code for one in found] == [code]


def test_an_undo_tool_that_only_reads_takes_nothing_back(tmp_path: Path) -> None:
    undone = replace(
        PAY,
        reversible=Reversibility(Reversal.UNDO_TOOL, "Taken back."),
        promises=replace(PROMISES, undo_tool="lab.look"),
    )
    look = replace(PAY, name="lab.look", effect=Effect.READ, promises=Promises())
    codes = [one.code for one in problems(shelf(undone, look), [])]
    assert "undo_reads" in codes
    assert "no_example" in codes


def test_the_contracts_of_the_product_are_in_order() -> None:
    """Test tools are registered beside them; what is not of the product is left out."""
    names = {one.tool for one in publishing.read()}
    found = problems(registry, publishing.read())
    assert [one for one in found if not one.tool.startswith(("lab.", "bench.", "chaos."))] == []
    assert {"web.fetch", "http.request", "shop.issue_refund", "session.note"} <= names


def test_a_published_version_cannot_be_registered_with_another_content() -> None:
    fetch = registry.get("web.fetch", "1.0.0")
    assert fetch is not None
    publishing.refuse_change(fetch)
    with pytest.raises(publishing.ContractChanged, match="new version"):
        Registry(publishing.refuse_change).register(replace(fetch, timeout_s=60.0), lambda ctx, given: {})


def command(*arguments: str) -> tuple[str, int]:
    out = io.StringIO()
    try:
        call_command("contracts", *arguments, stdout=out)
    except SystemExit as stop:
        return out.getvalue(), int(stop.code or 0)
    except CommandError as error:
        return str(error), error.returncode
    return out.getvalue(), 0


def test_the_command_answers_programs_and_people(tmp_path: Path) -> None:
    path = tmp_path / "published.json"
    said, code = command("--published", str(path), "check", "--json")
    report = json.loads(said)
    assert (code, report["ok"]) == (1, False)
    assert {"tool": "web.fetch", "version": "1.0.0", "code": "not_published"}.items() <= report["problems"][-1].items()
    assert "published web.fetch 1.0.0" in command("--published", str(path), "publish")[0]
    said, code = command("--published", str(path), "check", "--json")
    assert [one["code"] for one in json.loads(said)["problems"] if not one["tool"].startswith("lab.")] == []
    assert command("diff", "web.fetch", "1.0.0", "1.0.0") == ("no difference\n", 0)
    assert command("diff", "web.fetch", "0.9.0")[1] == 2
    assert command("diff", "no.tool", "1.0.0")[1] == 2
    path.write_text("[]")
    assert command("--published", str(path), "check")[1] == 2


def test_a_contract_that_breaks_a_rule_is_not_published_for_good(tmp_path: Path) -> None:
    path = tmp_path / "published.json"
    fetch = registry.get("web.fetch", "1.0.0")
    assert fetch is not None
    registry.register(replace(fetch, name="lab.loose", description="No sentence"), lambda ctx, given: {})
    try:
        said, code = command("--published", str(path), "publish")
    finally:
        registry.remove("lab.loose", "1.0.0")
    assert "not published: lab.loose 1.0.0: no_description: The description is no sentence.\n" in said
    assert "published web.fetch 1.0.0\n" in said
    assert code == 1
    names = {one.tool for one in publishing.read(path)}
    assert "web.fetch" in names
    assert "lab.loose" not in names


@pytest.mark.django_db
def test_this_installation_remembers_what_it_has_run() -> None:
    publishing.record([PAY])
    assert publishing.record([PAY]) == 0
    assert publishing.changed_here([replace(PAY, title="Other")]) == ["lab.pay 1.0.0"]
    with pytest.raises(publishing.ContractChanged, match=r"lab\.pay 1\.0\.0"):
        publishing.record([replace(PAY, title="Other")])
    publishing.record([replace(PAY, version="1.0.1", title="Other")])
    assert [one.version for one in publishing.versions_here("lab.pay")] == ["1.0.1", "1.0.0"]
    row = PublishedContract.objects.get(tool="lab.pay", version="1.0.0")
    assert row.digest == PAY.digest
    with pytest.raises(DatabaseError, match="do not change"), transaction.atomic():
        PublishedContract.objects.filter(pk=row.pk).update(digest="0" * 64)
    if connection.vendor == "postgresql":
        with pytest.raises(DatabaseError, match="do not change"), transaction.atomic():
            row.delete()


@pytest.mark.django_db
def test_migrating_writes_down_what_there_is_and_the_check_says_what_changed() -> None:
    from django.core.checks import run_checks

    assert PublishedContract.objects.filter(tool="web.fetch", version="1.0.0").exists()
    fetch = registry.get("web.fetch", "1.0.0")
    assert fetch is not None
    assert not [one for one in run_checks(tags=["database"], databases=["default"]) if one.id == "tools.E001"]
    shadow = replace(fetch, name="lab.shadow")
    publishing.record([replace(shadow, title="As it was")])
    registry.register(shadow, lambda ctx, given: {})
    try:
        found = [one for one in run_checks(tags=["database"], databases=["default"]) if one.id == "tools.E001"]
    finally:
        registry.remove("lab.shadow", "1.0.0")
    assert ["lab.shadow 1.0.0" in one.msg for one in found] == [True]


def test_an_amount_bound_of_every_currency_is_compared_with_the_named_ones() -> None:
    every, named = (
        replace(PAY, **bounded(amount=AmountBound("amount_minor", "currency", {code: 5}))) for code in ("*", "EUR")
    )
    assert {one.matter for one in compare(every.to_json(), named.to_json())} == {CALLERS}
    assert {one.matter for one in compare(named.to_json(), every.to_json())} == {RISK}
