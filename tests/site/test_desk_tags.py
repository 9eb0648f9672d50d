"""What the template tags of the desk print."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import User
from django.template import Context, Template

from agentops.tenancy.access import Actor
from approvals.cards.evidence import Segment

NOW = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def show(source: str, **values: object) -> str:
    return Template("{% load desk %}" + source).render(Context(values))


@pytest.mark.parametrize(
    ("value", "currency", "printed"),
    [
        (124000, "EUR", "EUR 1,240.00"),
        ([124000, "EUR"], "", "EUR 1,240.00"),
        ((500, "JPY"), "", "JPY 500"),
        ({"minor": -5, "currency": "USD"}, "", "USD -0.05"),
        ("EUR 3.00", "", "EUR 3.00"),
        (None, "", ""),
    ],
)
def test_money_is_printed_from_minor_units(value: object, currency: str, printed: str) -> None:
    assert show("{{ value|money:currency }}", value=value, currency=currency) == printed


@pytest.mark.parametrize(
    ("delta", "words"),
    [
        (timedelta(seconds=-5), "5 s ago"),
        (timedelta(minutes=-12), "12 min ago"),
        (timedelta(hours=-5), "5 h ago"),
        (timedelta(days=-3), "3 days ago"),
        (timedelta(seconds=5), "0 s ago"),
    ],
)
def test_an_age_is_one_unit_in_words(delta: timedelta, words: str) -> None:
    with time_machine.travel(NOW, tick=False):
        printed = show("{{ at|ago }}", at=NOW + delta)
    assert printed.endswith(f">{words}</time>")
    assert f'datetime="{(NOW + delta).isoformat()}"' in printed


def test_a_deadline_says_what_is_left_or_how_late_it_is() -> None:
    with time_machine.travel(NOW, tick=False):
        assert ">25 min left<" in show("{{ at|until }}", at=NOW + timedelta(minutes=25))
        assert ">4 min late<" in show("{{ at|until }}", at=(NOW - timedelta(minutes=4)).isoformat())
        assert show("{{ at|until }}", at=None) == ""


@pytest.mark.parametrize(
    ("kind", "count", "words"),
    [
        ("orders", 1, "1 order"),
        ("orders", 2_310_554, "2,310,554 orders"),
        ("external recipients", 1, "1 external recipient"),
        ("messages erased", 1, "1 message erased"),
        ("addresses", 1, "1 address"),
        ("rows", None, "unknown rows"),
        ("rows", 0, "0 rows"),
    ],
)
def test_things_are_counted_in_words(kind: str, count: int | None, words: str) -> None:
    assert show("{{ thing|counted }}", thing={"kind": kind, "count": count}) == words


@pytest.mark.parametrize("band", ["low", "medium", "high", "critical"])
def test_a_band_is_shape_word_and_number(band: str) -> None:
    printed = show("{% band_badge band 63 %}", band=band)
    assert "<svg" in printed
    assert f"{band.title()} 63" in printed
    assert f"band-{band}" in printed


def test_an_unknown_band_counts_as_critical_and_an_unknown_source_as_untrusted() -> None:
    assert "Critical" in show("{% band_badge 'harmless' 1 %}")
    assert "UNTRUSTED" in show("{% provenance_chip 'friend' %}")


def test_the_sentence_prints_values_in_ink_and_marks_the_attacked_one() -> None:
    parts = [{"t": "Send to "}, {"arg": "/to", "text": "<b>\u202ex"}, {"t": " & go"}]
    printed = show("{% sentence parts attacked %}", parts=parts, attacked=["to"])
    assert printed.startswith('Send to <b class="bad"><bdi>&lt;b&gt;<span class="cp"')
    assert printed.strip().endswith("&amp; go")


def test_long_foreign_text_unfolds_and_huge_text_is_cut() -> None:
    printed = show("{% foreign_text text %}", text="\n".join(f"line {number}" for number in range(40)))
    assert "12 of 40 lines shown" in printed
    assert "line 39" in printed
    huge = show("{% foreign_text text %}", text="x" * 70_000)
    assert "First 4000 of 70000 characters" in huge
    assert len(huge) < 10_000


def test_only_an_actor_may() -> None:
    bob = Actor("user", "1", "bob", frozenset({"operator"}), 1)
    ask = "{% if actor|may:'proposal.decide' %}yes{% else %}no{% endif %}"
    assert show(ask, actor=bob) == "yes"
    assert show(ask, actor=None) == "no"
    assert show(ask.replace("decide", "invent"), actor=bob) == "no"


def test_htmx_is_told_to_evaluate_nothing() -> None:
    printed = show("{% htmx_config %}")
    assert "&quot;allowEval&quot;: false" in printed
    assert "&quot;historyCacheSize&quot;: 0" in printed


def test_the_title_of_a_page_hides_nothing_either() -> None:
    assert show("{{ value|plain }}", value="<b>a\u202etxt") == "&lt;b&gt;a\u27e8U+202E RIGHT-TO-LEFT OVERRIDE\u27e9txt"
    assert show("{{ value|plain }}", value=None) == ""


def test_a_quotation_marks_values_and_folds_after_twelve_lines() -> None:
    lines = "\n".join(f"line {number}" for number in range(30))
    printed = show("{% quotation runs %}", runs=[Segment(f"{lines}\npay "), Segment("<eve>", "to"), Segment(" now")])
    assert "12 of 31 lines shown" in printed
    assert '<mark title="to">&lt;eve&gt;</mark> now' in printed
    assert show("{% quotation runs %}", runs=[Segment("one\ntwo", "to")]).count("<mark") == 1
    assert "<details" not in show("{% quotation runs %}", runs=[Segment("short")])


def test_floors_of_one_band_are_one_line() -> None:
    floors = ["At least High: it deletes data", "At least High: a: b", "At least Medium: c"]
    shown = show("{% for one in floors|by_band %}[{{ one }}]{% endfor %}", floors=floors)
    assert shown == "[At least High: it deletes data; a: b][At least Medium: c]"
    assert show("{{ nothing|by_band|length }}", nothing=None) == "0"


def test_a_moment_is_so_far_away() -> None:
    with time_machine.travel(NOW, tick=False):
        assert show("{{ at|apart }}", at=NOW + timedelta(days=3)) == "in 3 days"
        assert show("{{ at|apart }}", at=NOW - timedelta(hours=2)) == "2 h ago"
    assert show("{{ at|apart }}", at="never") == ""


def test_the_margins_of_json_stay_blank_and_every_other_run_of_blanks_is_drawn() -> None:
    recorded = {"rules": [{"when": "a" + 9 * " " + "b", "note": "first\n      second"}]}
    shown = show("{{ text|inert_json }}", text=json.dumps(recorded, indent=2))
    lines = shown.split("\n")
    assert lines[2] == "    {"
    assert lines[3].startswith(6 * " " + "&quot;when&quot;: &quot;a<span class=")
    assert "first\\n<span class=" in lines[4]


def test_a_pointer_leads_to_its_argument() -> None:
    assert show("{{ path|top_argument }}", path="/lines/3/price") == "lines"


def test_the_name_of_a_tool_breaks_behind_its_dots_and_stays_inert() -> None:
    assert show("{{ value|breakable }}", value="shop.find_order") == "shop.<wbr>find_<wbr>order"
    assert show("{{ value|breakable }}", value="<b>.x") == "&lt;b&gt;.<wbr>x"
    assert show("{{ value|breakable }}", value="") == ""


def test_a_person_is_printed_by_name_with_their_account_behind_it_and_nothing_of_it_renders() -> None:
    ann = User(username='ann"<i>', first_name="Ann <b>", last_name="Moor")
    assert show("{{ value|person }}", value=ann) == '<bdi title="ann&quot;&lt;i&gt;">Ann &lt;b&gt; Moor</bdi>'
    assert show("{{ value|person }}", value=User(username="ann")) == "<bdi>ann</bdi>"
    assert show("{{ value|person }}", value=None) == ""
