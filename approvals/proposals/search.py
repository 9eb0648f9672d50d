"""What a proposal is found by: words, and the values of its arguments. Pure, but for the triggers at the end.

A term is one line of text whose first letter says what it is, so that one index serves all of them:

    w:<word>                 a word of the sentence, or of an argument of at most 200 characters
    a:<path>=<value>         an argument, by its path without places in lists: `a:lines.sku=tent-2`
    r:<path>=<eulav>         the same value backwards, which finds by how it ends

Text is compared in NFKC, case folded. The table of terms is an index that the database keeps by itself from
`Proposal.terms`, in the same transaction, for as long as a proposal waits. What is taken out again is found by the
terms that went in, which the key of the table begins with.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from django.db import connections

from agentops.wire.money import currency_exponent
from agentops.wire.parse import JSON, JSONObject

MOST_TERMS: Final = 128
MOST_WORDS: Final = 64
LONGEST_PATH: Final = 60
LONGEST_VALUE: Final = 80
LONGEST_WORD: Final = 40
READ_FOR_WORDS: Final = 200
"""Of longer arguments no words are kept: a letter is found by whom it goes to, not by what it says."""

_WORD = re.compile(r"[^\W_]+(?:[.'\u2019_-][^\W_]+)*")


def fold(text: str) -> str:
    """Return how text is compared: NFKC, case folded, without control characters, spaces made one."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in folded).split())


def words_of(text: str) -> list[str]:
    """Return the words of a text; `a.b@c-d.example` is three of them, and their parts are words of their own."""
    found: dict[str, None] = {}
    for match in _WORD.finditer(fold(text)):
        whole = match[0]
        for word in (whole, *re.split(r"[.'\u2019_-]", whole)):
            if word:
                found.setdefault(word[:LONGEST_WORD])
    return list(found)


def scalar(value: JSON) -> str:
    """Return how a leaf of the arguments is written in a term."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return fold(value)[:LONGEST_VALUE]
        case _:
            return str(value)[:LONGEST_VALUE]


def terms_of(arguments: JSONObject, sentence: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the terms of a proposal, at most 128: arguments in their order, then words."""
    found: dict[str, None] = {}
    words: dict[str, None] = dict.fromkeys(
        word for part in sentence for word in words_of(str(part.get("t") or part.get("text") or ""))
    )
    for path, value in _leaves(arguments):
        if len(path) > LONGEST_PATH or len(found) > MOST_TERMS - MOST_WORDS - 2:
            continue
        text = scalar(value)
        found.setdefault(f"a:{path}={text}")
        if isinstance(value, str):
            found.setdefault(f"r:{path}={fold(value)[: -LONGEST_VALUE - 1 : -1]}")
            if len(value) <= READ_FOR_WORDS:
                words.update(dict.fromkeys(words_of(value)))
    return [*found, *(f"w:{word}" for word in list(words)[:MOST_WORDS])]


def found_by(arguments: str, sentence: Sequence[Any], consequence: Mapping[str, Any]) -> dict[str, object]:
    """Return the columns of a proposal that only the queue's filters read."""
    return {"terms": terms_of(parsed(arguments), sentence), "amount_e4": amount_e4(consequence)}


def parsed(arguments: str) -> JSONObject:
    """Read the canonical text of a proposal's arguments."""
    found = json.loads(arguments)
    return found if isinstance(found, dict) else {}


def amount_e4(consequence: Mapping[str, Any]) -> int | None:
    """Return the money of a consequence in ten-thousandths of the currency's unit; None when it moves none."""
    match consequence.get("money"):
        case {"minor": int(minor), "currency": str(currency)}:
            try:
                return int(minor * 10 ** (4 - currency_exponent(currency)))
            except ValueError:
                return None
        case _:
            return None


def _leaves(value: JSON, path: str = "") -> Iterator[tuple[str, JSON]]:
    match value:
        case dict():
            for name, member in value.items():
                yield from _leaves(member, f"{path}.{fold(name)}" if path else fold(name))
        case list():
            for member in value:
                yield from _leaves(member, path)
        case _:
            yield path, value


# --- the index that the database keeps --------------------------------------------------------------------------------

FUNCTION: Final = """create function proposal_keep_terms() returns trigger language plpgsql as $$
    begin
        if tg_op = 'UPDATE' then
            delete from approvals_proposalterm where tenant_id = old.tenant_id and proposal_id = old.id
                and term = any(array(select jsonb_array_elements_text(old.terms)));
        end if;
        if new.status = 'pending' then
            insert into approvals_proposalterm (tenant_id, term, proposal_id)
            select new.tenant_id, term, new.id from jsonb_array_elements_text(new.terms) as term
            on conflict do nothing;
        end if;
        return null;
    end $$"""
POSTGRESQL: Final = (
    # Comparing bytes, so that what begins with a prefix is a range whatever the language of the database is.
    'alter table approvals_proposalterm alter column term type varchar(160) collate "C"',
    FUNCTION,
    """create trigger proposal_new_terms after insert on approvals_proposal
    for each row when (new.status = 'pending') execute function proposal_keep_terms()""",
    """create trigger proposal_other_terms after update of status, terms on approvals_proposal
    for each row when (old.status is distinct from new.status or old.terms is distinct from new.terms)
    execute function proposal_keep_terms()""",
)
POSTGRESQL_DROP: Final = (
    "drop trigger proposal_other_terms on approvals_proposal",
    "drop trigger proposal_new_terms on approvals_proposal",
    "drop function proposal_keep_terms()",
)
_INSERT: Final = """insert or ignore into approvals_proposalterm (tenant_id, term, proposal_id)
    select new.tenant_id, value, new.id from json_each(new.terms)"""
SQLITE: Final = (
    f"""create trigger proposal_new_terms after insert on approvals_proposal
    when new.status = 'pending' begin {_INSERT}; end""",
    f"""create trigger proposal_other_terms after update of status, terms on approvals_proposal
    when old.status is not new.status or old.terms is not new.terms begin
        delete from approvals_proposalterm where tenant_id = old.tenant_id and proposal_id = old.id
            and term in (select value from json_each(old.terms));
        {_INSERT} where new.status = 'pending';
    end""",  # noqa: S608 - put together from constants
)
SQLITE_DROP: Final = ("drop trigger proposal_other_terms", "drop trigger proposal_new_terms")


def keep_index(sender: object, using: str, **_: object) -> None:
    """Put the triggers back after migrations: SQLite alters a table by copying it, and forgets its triggers."""
    connection = connections[using]
    if connection.vendor != "sqlite":
        return
    with connection.cursor() as cursor:
        cursor.execute("select name from sqlite_master where type = 'trigger' and name like 'proposal_%_terms'")
        if len(cursor.fetchall()) == len(SQLITE):
            return
        cursor.execute("select 1 from sqlite_master where type = 'table' and name = 'approvals_proposalterm'")
        if cursor.fetchone() is not None:
            for statement in SQLITE:
                cursor.execute(statement.replace("create trigger", "create trigger if not exists", 1))
