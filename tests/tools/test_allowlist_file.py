"""The allowlist as a file: what is written is read back, and what is wrong is said with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.allowlist import AllowlistRule, AllowlistState, Constraint
from tools.allowlist_file import BadFile, read, write

TYPES = {"support": 1, "yes": 2}
TOOLS = {"mail.read", "mail.send", "on"}
HEAD = "allowlist: 1\ntask_types:\n"

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30).map(str.strip)
rules = st.builds(
    AllowlistRule,
    tool=st.sampled_from(sorted(TOOLS)),
    state=st.sampled_from(AllowlistState),
    min_version=st.sampled_from(("", "1.0.0")),
    max_version=st.sampled_from(("", "1.0.0", "2.10.0")),
    max_calls=st.one_of(st.none(), st.integers(0, 50)),
    note=texts,
    rate_per_minute=st.one_of(st.none(), st.integers(1, 50)),
    constraints=st.sampled_from(
        ((), (Constraint("small", "args.n <= 5"),), (Constraint("a", "true"), Constraint("b", 'args.t == "x: y"')))
    ),
)


@given(st.dictionaries(st.sampled_from(sorted(TYPES)), st.lists(rules, unique_by=lambda one: one.tool, max_size=3)))
def test_what_is_written_is_read_back(listed: dict[str, list[AllowlistRule]]) -> None:
    found = read(write(listed), task_types=TYPES, tools=TOOLS)
    assert [(one.task_type_id, one.rule) for one in found] == [
        (TYPES[slug], rule) for slug, known in listed.items() for rule in known
    ]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", (1, 1), "must be a mapping"),
        ("allowlist: 2\ntask_types: {}\n", (1, 12), "allowlist: 1"),
        ("allowlist: 1\n", (1, 1), "task_types is missing"),
        ("allowlist: 1\ntask_types: {\n", (3, 1), "expected"),
        (HEAD + "  support:\n   - mail.read\n", (4, 4), "must be a mapping"),
        (HEAD + "  nobody: {mail.read: {state: auto}}\n", (3, 3), "no task type nobody"),
        (HEAD + "  support: {no.such: {state: auto}}\n", (3, 13), "no tool no.such"),
        (HEAD + "  support: {mail.read: {state: maybe}}\n", (3, 32), "denied, gated or auto"),
        (HEAD + "  support: {mail.read: {note: x}}\n", (3, 13), "Say its state"),
        (HEAD + "  support: {mail.read: {state: auto, max_calls: '3'}}\n", (3, 49), "whole number"),
        (HEAD + "  support: {mail.read: {state: auto, max_calls: 3.5}}\n", (3, 49), "whole number"),
        (HEAD + "  support: {mail.read: {state: auto, rate_per_minute: 0}}\n", (3, 55), "whole number"),
        (HEAD + "  support: {mail.read: {state: auto, versions: {from: 2}}}\n", (3, 55), "three numbers"),
        (HEAD + "  support: {mail.read: {state: auto, constraints: {a: 'args.n <'}}}\n", (3, 51), "line 1, column 9"),
        (HEAD + "  support: {mail.read: {state: auto, colour: red}}\n", (3, 38), "colour is not known"),
        (HEAD + "  support: {mail.read: {state: auto}, mail.read: {state: denied}}\n", (3, 39), "occurs twice"),
        (HEAD + "  support: &a {mail.read: {state: auto}}\n", (3, 12), "anchors"),
        (HEAD + "  support: !!python/object:os.system {}\n", (3, 12), "Tags"),
        ("allowlist: 1\ntask_types: " + "{a: " * 40 + "1" + "}" * 40, (2, 73), "nested too deeply"),
        ("allowlist: 1\x00\n", (1, 13), "U+0000"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(BadFile) as refused:
        read(text, task_types=TYPES, tools=TOOLS)
    first = refused.value.problems[0]
    assert said in first.message, first
    assert (first.line, first.column) == place


def test_every_problem_is_named_not_only_the_first() -> None:
    text = HEAD + "  support:\n    mail.read: {state: maybe}\n    mail.send: {state: auto, max_calls: many}\n"
    with pytest.raises(BadFile) as refused:
        read(text, task_types=TYPES, tools=TOOLS)
    assert [one.line for one in refused.value.problems] == [4, 5]


def test_a_file_that_is_too_large_or_no_text_is_refused() -> None:
    for text in ("#" * 3_000_000, "[" * 100_000, "\ud800", "a: b: c"):
        with pytest.raises(BadFile):
            read(text, task_types=TYPES, tools=TOOLS)
