"""What a card has many of is printed by hand: escaped everywhere, whatever an agent or a document wrote."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest
from django.template import Context

from approvals.templatetags.assessment import consequence, risk
from approvals.templatetags.pieces import argument as printed_argument
from approvals.templatetags.pieces import attest, binding, budget, fields, gates, past

HOSTILE = "\"><script>alert(1)</script>'\N{RIGHT-TO-LEFT OVERRIDE}"


class Elements(HTMLParser):
    """Collect the elements, their attributes and their text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def only(self, tag: str) -> dict[str, str | None]:
        [found] = [attrs for name, attrs in self.found if name == tag]
        return found


def argument(kind: str, **changes: object) -> dict[str, Any]:
    given = {"kind": kind, "name": "arg:/x", "value": "v", "choices": (), "currency": "EUR", "help": "", "error": ""}
    return {"name": "x", "text": "v", "editable": True, "field": given | changes}


@pytest.mark.parametrize("kind", ["text", "number", "textarea", "money", "select"])
def test_no_field_lets_foreign_text_out(kind: str) -> None:
    one = argument(kind, value=HOSTILE, choices=((HOSTILE, HOSTILE),), currency=HOSTILE, help=HOSTILE, error=HOSTILE)
    printed = fields([one | {"name": HOSTILE, "text": HOSTILE}])
    page = Elements(printed)
    assert {tag for tag, _ in page.found} <= {
        "div",
        "label",
        "input",
        "textarea",
        "select",
        "option",
        "p",
        "bdi",
        "span",
    }
    control = page.only("input" if kind in ("text", "number", "money") else kind)
    assert control["id"] == f"f-{HOSTILE}"
    assert control["aria-invalid"] == "true"
    assert control["aria-describedby"] == f"f-{HOSTILE}-error"
    assert "RIGHT-TO-LEFT OVERRIDE" in page.text


def test_a_field_shows_its_value_and_what_was_proposed() -> None:
    assert Elements(fields([argument("number", value="12")])).only("input")["inputmode"] == "decimal"
    assert Elements(fields([argument("textarea", value="a\nb")])).text.startswith("xa\nb")
    assert "EUR" in Elements(fields([argument("money")])).text
    chosen = Elements(fields([argument("select", value="b", choices=(("a", "A"), ("b", "B")))])).found
    assert [attrs["value"] for tag, attrs in chosen if tag == "option" and "selected" in attrs] == ["b"]
    assert "Proposed: v · Why" in Elements(fields([argument("text", help="Why")])).text
    assert "aria-invalid" not in fields([argument("text")])


def test_questions_and_facts_are_asked_without_letting_foreign_text_out() -> None:
    question = {
        "name": HOSTILE,
        "field": "attest:/x",
        "options": [("0", HOSTILE), ("1", "b")],
        "picked": "1",
        "error": "",
    }
    fact = {"name": HOSTILE, "text": "long " * 40, "ticked": True}
    page = Elements(attest({"questions": [question, question | {"error": "No."}], "facts": [fact]}, "edit"))
    assert {tag for tag, _ in page.found} <= {"fieldset", "legend", "label", "input", "bdi", "span", "p"}
    inputs = [attrs for tag, attrs in page.found if tag == "input"]
    assert [one["value"] for one in inputs if "checked" in one] == ["1", "1", HOSTILE]
    assert {attrs.get("aria-describedby") for tag, attrs in page.found if tag == "fieldset"} == {
        None,
        "edit-attest-2-error",
    }
    assert "…" in page.text
    assert attest({"questions": [], "facts": []}, "edit") == ""


def test_what_happened_is_told_without_letting_foreign_text_out() -> None:
    at = datetime(2026, 11, 22, 9, tzinfo=UTC)
    change = {"path": HOSTILE, "text": HOSTILE}
    page = Elements(past([{"at": at, "actor": HOSTILE, "text": HOSTILE, "changes": [change]}]))
    assert "script" not in {tag for tag, _ in page.found}
    assert page.only("dl") == {"class": "paths"}
    assert page.only("time")["datetime"] == at.isoformat()


# --- forms, arguments, budget -----------------------------------------------------------------------------------------


def test_a_form_is_bound_to_its_visitor_and_to_what_was_shown() -> None:
    context = {"p": {"version": 3, "digest": HOSTILE}, "card": {"bar": {"token": HOSTILE}}, "csrf_token": "c" * 64}
    page = Elements(binding(Context(context)))
    assert [(attrs["name"], attrs["value"]) for tag, attrs in page.found if tag == "input"] == [
        ("csrfmiddlewaretoken", "c" * 64),
        ("version", "3"),
        ("args_digest", HOSTILE),
        ("view_token", HOSTILE),
    ]
    together = Elements(binding(Context(context | {"together": True})))
    assert ("input", {"type": "hidden", "name": "back", "value": "together"}) in together.found
    assert {attrs["type"] for _, attrs in together.found} == {"hidden"}


def test_gates_say_whether_they_are_open_and_when_they_will_be() -> None:
    at = datetime(2026, 11, 26, 12, tzinfo=UTC)
    told = [
        {"code": "too_early", "text": "Read it: 6 s", "done": False, "opens_at": at},
        {"code": "unseen", "text": HOSTILE, "done": False, "section": "evidence"},
        {"code": "unseen", "text": "Open the preview", "done": True, "section": "preview"},
    ]
    page = Elements(gates(told))
    shown = [attrs for tag, attrs in page.found if tag == "li"]
    assert [attrs.get("data-opens") for attrs in shown] == [at.isoformat(), None, None]
    assert ["data-done" in attrs for attrs in shown] == [False, False, True]
    assert page.only("a")["href"] == "#sec-evidence"
    assert {tag for tag, _ in page.found} == {"ul", "li", "span", "a"}


@pytest.mark.parametrize("kind", ["text", "money", "url", "none", "paths"])
def test_no_argument_lets_foreign_text_out(kind: str) -> None:
    shown: dict[str, Any] = {
        "text": {"text": HOSTILE},
        "money": {"text": HOSTILE, "words": HOSTILE, "negative": True},
        "url": {"before": HOSTILE, "owned": HOSTILE, "after": "", "really": "", "warning": ""},
        "none": {},
        "paths": {"total": 1, "more": 0, "rows": [{"path": HOSTILE, "text": HOSTILE}]},
    }
    one = {
        "path": f"/{HOSTILE}",
        "name": HOSTILE,
        "role": "authority",
        "type": HOSTILE,
        "attacked": True,
        "shown": shown[kind] | {"kind": kind},
        "changed_from": HOSTILE,
        "changed_lines": None,
        "way": [HOSTILE],
        "unsupported": HOSTILE,
        "provenance": {"label": "untrusted", "sources": [HOSTILE, HOSTILE]},
    }
    page = Elements(printed_argument(one))
    assert "script" not in {tag for tag, _ in page.found}
    assert "RIGHT-TO-LEFT OVERRIDE" in page.text
    assert "Untrusted text chose this value." in page.text
    assert "as proposed" in page.text
    assert "data-tainted" in next(attrs for tag, attrs in page.found if tag == "div")


def test_a_long_argument_is_folded() -> None:
    text = "\n".join(f"line {number}" for number in range(40))
    one = {
        "path": "/x",
        "name": "x",
        "role": "",
        "type": "text",
        "attacked": False,
        "way": [],
        "unsupported": "",
        "shown": {"kind": "text", "text": text},
        "changed_from": "",
        "changed_lines": None,
        "provenance": {"label": "operator", "sources": []},
    }
    page = Elements(printed_argument(one))
    assert page.only("summary") == {}
    assert "line 39" in page.text


def test_a_budget_says_what_is_left_and_what_is_not_enough() -> None:
    row = {"name": "Money", "used": "1", "this": "", "limit": "", "left": "", "short": False}
    page = Elements(budget([row, row | {"name": HOSTILE, "this": "5", "limit": "4", "short": True}]))
    assert "not enough" in page.text
    assert "none" in page.text
    assert "\N{EN DASH}" in page.text
    assert "script" not in {tag for tag, _ in page.found}


def test_no_consequence_lets_foreign_text_out() -> None:
    printed = consequence(
        {
            "money": HOSTILE,
            "blast": [{"kind": HOSTILE, "count": None, "detail": HOSTILE}, {"kind": "orders", "count": 1}],
            "egress": [HOSTILE, "example.com"],
            "reversible": {"state": HOSTILE, "text": HOSTILE},
            "facts": [{"label": HOSTILE, "value": HOSTILE}],
            "warnings": [HOSTILE],
        }
    )
    page = Elements(printed)
    assert {tag for tag, _ in page.found} == {"dl", "div", "dt", "dd", "small", "bdi", "span", "ul", "li"}
    assert page.text.count("<script>") == 8
    assert page.text.count("Unknown") == 1
    assert printed.count("U+202E") == 8


def test_an_empty_consequence_promises_nothing() -> None:
    page = Elements(consequence({}))
    assert page.text == "TouchesunknownLeaves the tenantnothing"


@pytest.mark.parametrize("open_to_edits", [True, False])
def test_no_risk_lets_foreign_text_out(open_to_edits: bool) -> None:
    reason = {"points": HOSTILE, "text": HOSTILE, "args": [f"/{HOSTILE}/0", "/b", "/c", "/d", "/e"]}
    found = {
        "score": HOSTILE,
        "band": HOSTILE,
        "reasons": [reason] * 7,
        "floors": [f"{HOSTILE}: {HOSTILE}", "At least High: it deletes data"],
        "lower": [{"path": f"/{HOSTILE}", "text": HOSTILE, "band": HOSTILE}],
        "engine": HOSTILE,
        "weights": HOSTILE,
    }
    shown = {"status": "pending", "url": f"/p?{HOSTILE}"}
    card = {"risk": found, "p": shown, "can_decide": open_to_edits, "cannot_approve_why": "", "weights_url": HOSTILE}
    page = Elements(risk(card))
    allowed = {"section", "div", "svg", "path", "b", "span", "ul", "li", "a", "details", "summary", "p"}
    assert {tag for tag, _ in page.found} <= allowed
    assert "and 1 more" in page.text
    assert "2 more, and how the points are worked out" in page.text
    assert any("data-edit" in attrs for _, attrs in page.found) is open_to_edits
    assert not any(name.startswith("on") for _, attrs in page.found for name in attrs)


def test_a_risk_without_reasons_is_not_called_safe() -> None:
    card = {"risk": {"score": 0, "band": "low"}, "p": {"status": "pending", "url": "/p"}, "can_decide": True}
    page = Elements(risk(card | {"cannot_approve_why": "", "weights_url": "/risk"}))
    assert "That is not the same as safe." in page.text
    assert "Low risk" in page.text
