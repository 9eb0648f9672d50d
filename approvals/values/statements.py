"""SQL and command lines taken apart for a reader. Nothing here runs anything. Pure, never raises.

What is not understood is said to be so: a statement whose class is unknown is shown as it is and called unreadable.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlparse

MAX_PARSED: Final = 10_000
"""Characters; a longer statement is shown, but not taken apart."""

_READ: Final = frozenset({"SELECT", "SHOW", "EXPLAIN", "DESCRIBE", "VALUES"})
_WRITE: Final = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "UPSERT", "COPY", "CALL"})
_DDL: Final = frozenset({"CREATE", "ALTER", "DROP", "TRUNCATE", "GRANT", "REVOKE", "RENAME", "COMMENT"})
_TABLE: Final = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|TRUNCATE)\s+(?:ONLY\s+|IF\s+EXISTS\s+|TABLE\s+)*"
    r"([A-Za-z_\"`\[][\w.$\"`\]]*)",
    re.IGNORECASE,
)
_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?(?:\*/|\Z)|#[^\n]*", re.DOTALL)
_STRING: Final = re.compile(r"'(?:[^']|'')*'")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as a reviewer needs it: its class first, then what it touches and what is odd about it."""

    effect: str
    verb: str
    tables: tuple[str, ...]
    warnings: tuple[str, ...]
    formatted: str


def read_sql(text: str) -> Statement:
    """Take a statement apart. `effect` is READ, WRITE, DDL or UNREADABLE; tables are in the order they appear."""
    if len(text) > MAX_PARSED:
        return Statement("UNREADABLE", "", (), ("Too long to be taken apart; read it as it is.",), text)
    try:
        parts = [one for one in sqlparse.split(text) if one.strip(" ;\n\t")]
        formatted = sqlparse.format(text, reindent=True, keyword_case="upper", strip_whitespace=False)
    except (ValueError, RecursionError, sqlparse.exceptions.SQLParseError):
        return Statement("UNREADABLE", "", (), ("It could not be taken apart; read it as it is.",), text)
    bare = _STRING.sub("''", _COMMENT.sub(" ", text))
    verbs = [_verb(_STRING.sub("''", _COMMENT.sub(" ", one))) for one in parts]
    tables = tuple(dict.fromkeys(found.strip('"`[]') for found in _TABLE.findall(bare)))
    kinds = {_kind(verb) for verb in verbs}
    worst = next((kind for kind in ("UNREADABLE", "DDL", "WRITE", "READ") if kind in kinds), "UNREADABLE")
    return Statement(worst, verbs[0] if verbs else "", tables, tuple(_warnings(text, parts, bare, verbs)), formatted)


def statement_words(text: str) -> str:
    """Return a statement in a few words, such as `UPDATE orders`; one that cannot be read says so."""
    read = read_sql(text)
    if read.effect == "UNREADABLE":
        return "an SQL statement that cannot be read"
    return f"{read.verb} {', '.join(read.tables[:3])}".strip()


def _verb(statement: str) -> str:
    words: list[str] = re.findall(r"[A-Za-z]+", statement)
    if not words:
        return ""
    first = words[0].upper()
    if first == "WITH":  # what the common table expressions are made for comes last; any write in them counts
        found = [word.upper() for word in words if word.upper() in _WRITE | _DDL]
        return found[0] if found else "SELECT"
    if first == "EXPLAIN" and any(word.upper() in {"ANALYZE", "ANALYSE"} for word in words[1:4]):
        return next((word.upper() for word in words if word.upper() in _WRITE), "EXPLAIN")
    return first


def _kind(verb: str) -> str:
    for kind, verbs in (("READ", _READ), ("WRITE", _WRITE), ("DDL", _DDL)):
        if verb in verbs:
            return kind
    return "UNREADABLE"


def _warnings(text: str, parts: list[str], bare: str, verbs: list[str]) -> Iterator[str]:
    if len(parts) > 1:
        yield f"{len(parts)} statements, not one."
    for verb in dict.fromkeys(verbs):
        if verb in {"UPDATE", "DELETE"} and not re.search(r"\bWHERE\b", bare, re.IGNORECASE):
            yield f"{verb} without WHERE: every row."
    if re.search(r"\bWHERE\b\s*(?:\(?\s*)(?:1\s*=\s*1|TRUE\b|''\s*=\s*'')", bare, re.IGNORECASE):
        yield "The condition is always true: every row."
    if _COMMENT.search(_STRING.sub("''", text)):
        yield "It contains comments."
    if "UNREADABLE" in {_kind(verb) for verb in verbs}:
        yield "Not all of it could be taken apart; read it as it is."


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command as the words it is split into. `inspectable` is whether that is all there is to it."""

    words: tuple[str, ...]
    inspectable: bool


_SHELL: Final = re.compile(r"[;&|<>`$(){}\[\]*?~!\n\r\\]|^\s*\w+=")


def read_command(text: str) -> CommandLine:
    """Split a command line into its words. Anything a shell would interpret makes it uninspectable."""
    if len(text) > MAX_PARSED or _SHELL.search(text):
        return CommandLine((), inspectable=False)
    try:
        return CommandLine(tuple(shlex.split(text)), inspectable=True)
    except ValueError:
        return CommandLine((), inspectable=False)
