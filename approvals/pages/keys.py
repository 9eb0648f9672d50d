"""The keyboard: which key does what, as a person has changed it. Pure.

Changes are kept in a cookie, like the colours: they belong to a keyboard, and every page has them at once. `off` means
that letters do nothing; otherwise it holds `command=key` pairs, only those that differ. What a cookie says and cannot
be meant is passed over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

COOKIE: Final = "keys"
OFF: Final = "off"
LONGEST: Final = 1_000

_KEY: Final = re.compile(r"(?:(?:Ctrl|Alt)\+)?[!-~]")
_TAKEN: Final = frozenset({"Ctrl+k", "Ctrl+K"})


@dataclass(frozen=True, slots=True)
class Command:
    """One thing a key does: `name` is what scripts know it by, `card` whether it acts on the open card."""

    name: str
    key: str
    text: str
    card: bool = False


COMMANDS: Final = (
    Command("next", "j", "next row"),
    Command("previous", "k", "previous row"),
    Command("open", "o", "open the row"),
    Command("serve", "n", "serve me the next one"),
    Command("arrivals", ".", "show new arrivals"),
    Command("filter", "/", "filter"),
    Command("go", "g", "go to: then q, r, a, e, m or p"),
    Command("help", "?", "keys on this page"),
    Command("stop", "!", "stop the line"),
    Command("approve", "a", "approve, or arm it", card=True),
    Command("reject", "x", "reject, with a reason", card=True),
    Command("edit", "e", "edit and approve", card=True),
    Command("ask", "q", "ask the agent", card=True),
    Command("escalate", "s", "escalate", card=True),
    Command("hold", "h", "put off until later", card=True),
    Command("claim", "c", "claim, or give back", card=True),
    Command("undo", "z", "undo my last decision", card=True),
    Command("seen", "v", "mark as seen, go on to what must be seen", card=True),
    Command("section-next", "]", "next section", card=True),
    Command("section-previous", "[", "previous section", card=True),
    Command("taint", "t", "show where untrusted text went", card=True),
    Command("raw", "r", "as it is, or as it is shown", card=True),
    Command("diff", "d", "changes, or the whole", card=True),
    Command("note", "m", "note", card=True),
    Command("copy", "y", "copy the link", card=True),
)
_NAMES: Final = {command.name: command for command in COMMANDS}


@dataclass(frozen=True, slots=True)
class Keymap:
    """The keyboard of one person: whether letters do anything, and what."""

    off: bool
    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A change that cannot be kept: by command, why."""

    errors: Mapping[str, str]


def read(cookie: str) -> Keymap:
    """Return the keyboard that a cookie describes; an empty one is the ordinary keyboard."""
    if cookie == OFF:
        return Keymap(True, COMMANDS)
    wanted = {name: key for name, key in parse_qsl(cookie[:LONGEST]) if name in _NAMES and _KEY.fullmatch(key)}
    found = _with(wanted)
    return Keymap(False, found if not _conflicts(found) else COMMANDS)


def change(wanted: Mapping[str, str]) -> str | Rejected:
    """Return the cookie for a keyboard (command -> key), empty for the ordinary one.

    A key is one character, or one with `Ctrl+` or `Alt+`. Two commands cannot have the same.
    """
    known = {name: key.strip() for name, key in wanted.items() if name in _NAMES}
    errors = {
        name: "One character, or one with Ctrl+ or Alt+, such as Alt+a."
        for name, key in known.items()
        if not _KEY.fullmatch(key)
    }
    errors |= {name: "The palette has this key." for name, key in known.items() if key in _TAKEN}
    if not errors:
        errors = _conflicts(_with(known))
    if errors:
        return Rejected(errors)
    return urlencode({name: key for name, key in known.items() if key != _NAMES[name].key})


def _with(wanted: Mapping[str, str]) -> tuple[Command, ...]:
    return tuple(replace(one, key=wanted.get(one.name, one.key)) for one in COMMANDS)


def _conflicts(commands: tuple[Command, ...]) -> dict[str, str]:
    by_key: dict[str, list[Command]] = {}
    for command in commands:
        by_key.setdefault(command.key, []).append(command)
    return {
        one.name: f"{one.key} is also: {', '.join(other.text for other in same if other is not one)}."
        for same in by_key.values()
        if len(same) > 1
        for one in same
    }
