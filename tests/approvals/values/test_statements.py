"""Statements and commands taken apart for a reader, and honest where they cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.values.statements import MAX_PARSED, read_command, read_sql, statement_words


@pytest.mark.parametrize(
    ("sql", "kind", "words"),
    [
        ("select * from orders where id = 1", "READ", "SELECT orders"),
        ("UPDATE orders SET total = 0 WHERE id = 1", "WRITE", "UPDATE orders"),
        ("delete from shop.orders", "WRITE", "DELETE shop.orders"),
        ("with gone as (delete from orders returning *) select * from gone", "WRITE", "DELETE orders, gone"),
        ("explain analyze delete from orders", "WRITE", "DELETE orders"),
        ("drop table if exists orders", "DDL", "DROP orders"),
        ("select 1; drop table orders", "DDL", "SELECT orders"),
        ("/* select */ truncate table orders", "DDL", "TRUNCATE orders"),
        ("do $$ begin end $$", "UNREADABLE", "an SQL statement that cannot be read"),
        ("", "UNREADABLE", "an SQL statement that cannot be read"),
        ("select 1" + " " * MAX_PARSED, "UNREADABLE", "an SQL statement that cannot be read"),
    ],
)
def test_the_class_of_a_statement(sql: str, kind: str, words: str) -> None:
    assert read_sql(sql).effect == kind
    assert statement_words(sql) == words


@pytest.mark.parametrize(
    ("sql", "warning"),
    [
        ("update orders set total = 0", "UPDATE without WHERE: every row."),
        ("delete from orders -- where id = 1", "DELETE without WHERE: every row."),
        ("delete from orders; select 'where'", "DELETE without WHERE: every row."),
        ("delete from orders where 1=1", "The condition is always true: every row."),
        ("select 1; select 2", "2 statements, not one."),
        ("select 1 /* quietly */", "It contains comments."),
    ],
)
def test_what_is_odd_is_said(sql: str, warning: str) -> None:
    assert warning in read_sql(sql).warnings


def test_an_ordinary_statement_has_no_warning() -> None:
    assert read_sql("update orders set note = 'where -- is it' where id = 4").warnings == ()


@pytest.mark.parametrize("command", ["ls; rm -rf /", "echo $(id)", "cat < /etc/passwd", "X=1 run", "a 'b", "ls *"])
def test_what_a_shell_would_interpret_is_uninspectable(command: str) -> None:
    assert not read_command(command).inspectable


def test_a_plain_command_is_its_words() -> None:
    assert read_command("git commit -m 'two words'").words == ("git", "commit", "-m", "two words")


@given(st.text(max_size=300))
def test_nothing_breaks_it(text: str) -> None:
    assert read_sql(text).effect in {"READ", "WRITE", "DDL", "UNREADABLE"}
    read_command(text)
