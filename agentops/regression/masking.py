"""Hide personal data and secrets in a recorded run so that it can still be replayed. Pure.

The same value gets the same token everywhere in a file, also where it stands inside of longer text: what the engine
joined out of a name and a sentence is then still that sentence with the name's token. Tokens are made with a key that
is not in the file (HMAC-SHA-256, RFC 2104), so a guess cannot be confirmed. What a condition says about a hidden value
may come out otherwise; whoever exports replays the masked file and says so (`Masked.unchecked`).
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from agentops.guardrails.output.found import Found
from agentops.guardrails.output.personal import FORMS, personal_in
from agentops.guardrails.output.secrets import cards_in, ibans_in, secrets_in
from agentops.guardrails.output.views import View, views
from agentops.regression.recordings import Masked, Recording
from agentops.wire.parse import JSON, JSONObject

PERSONAL_MEMBERS: Final = frozenset(
    {
        *("name", "first_name", "last_name", "full_name", "display_name", "customer_name", "from_name", "to_name"),
        *("email", "from_address", "reply_to", "address", "street", "phone", "account", "iban", "card_last4"),
        *("birthday", "date_of_birth"),
    }
)
"""Members of tasks, arguments and outputs whose text is about a person, whatever it looks like."""

FREE_TEXT: Final = frozenset({"text", "body", "subject", "html", "snippet", "message", "content"})
"""Members whose text people wrote to each other; all of it is hidden where it comes in."""

_SHORTEST: Final = 3
"""Characters of a value that is looked for inside of other text; a shorter one is hidden where it stands alone."""

_KEPT: Final = frozenset(
    {
        *("$ref", "id", "tool", "digest", "idempotency_key", "call_id", "step_id", "grant_id", "proposal_id"),
        *("planner", "from_planner", "to_planner", "prompt", "prompt_digest", "fallback", "task_type", "origin"),
        *("until", "retry_at", "decide_by", "release_at", "at", "code", "state", "rule", "version", "effect"),
    }
)
"""Members that name things and moments of the record itself."""

_CONDITIONS: Final = frozenset({"when", "expect", "stop_when", "success_when", "criterion"})
_SEARCHED: Final = frozenset({"input", "arguments", "output", "plan"})
"""Members of an event whose content is looked through for members about persons."""

_SOURCES: Final = frozenset({"input", "output"})
"""Where free text comes into a run; arguments are made out of it, and of words that are no person's."""

_DROPPED: Final = frozenset({"exchange", "canary"})
"""Members that a masked file has not at all: texts of models word for word, and the mark that gives a leak away."""

_PLAIN: Final = frozenset({"limits", "tools", "provenance", "trust", "usage", "model_parameters", "models", "state"})
"""Members of an event that hold nothing of a person's: numbers, contracts, places."""


@dataclass
class Masker:
    """Hides values of some kinds. `key` is kept by whoever wants the same tokens in several files."""

    key: bytes
    secrets: bool = True
    personal: bool = True
    found: dict[str, str] = field(default_factory=dict)
    """Value -> token."""

    @property
    def kinds(self) -> tuple[str, ...]:
        return (*(("secrets",) if self.secrets else ()), *(("personal data",) if self.personal else ()))

    def mask(self, recording: Recording) -> Recording:
        """Return the recording with everything hidden that is to be; `masked` says what that was."""
        for entry in recording.entries:
            self._look(entry.data)
        for entry in recording.entries:
            self._members(entry.data)
        write = self._writer()
        about = {name: write(text) if name == "title" else text for name, text in recording.about.items()}
        entries = tuple(
            replace(one, data=self._event(one.data, write), actor=_nobody(one.actor)) for one in recording.entries
        )
        masked = Masked(self.kinds, len(self.found), ("texts exchanged with models", "names of people"))
        return Recording(about, entries, recording.exported_at, masked)

    # --- finding ----------------------------------------------------------------------------------------------------

    def _look(self, data: JSONObject) -> None:
        """Find what looks like a secret or like something personal, in any text."""
        for text in _texts({name: value for name, value in data.items() if name not in _PLAIN}):
            for one in self._found(text):
                kind = "email" if one.code == "email" else one.kind.value
                self._note(kind, text[one.offset : one.end])

    def _found(self, text: str) -> Iterator[Found]:
        if self.secrets:
            for view in views(text):
                yield from secrets_in(view)
        if self.personal:
            plain = View(text)
            yield from personal_in(plain, tuple(FORMS), ())
            yield from cards_in(plain)
            yield from ibans_in(plain)

    def _members(self, data: JSONObject) -> None:
        """Find what stands in members about persons."""
        if not self.personal:
            return
        for name in _SEARCHED & data.keys():
            for member, text in _named(data[name]):
                if member in PERSONAL_MEMBERS:
                    self._note("person", text)
                elif member in FREE_TEXT and name in _SOURCES:
                    self._note("text", text)

    def _note(self, kind: str, value: str) -> None:
        if value and value not in self.found:
            self.found[value] = self._token(kind, value)

    def _token(self, kind: str, value: str) -> str:
        tag = hmac.new(self.key, value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:12]
        # Shaped like what it stands for, where schemas and people look at the shape.
        return f"{tag}@masked.invalid" if kind == "email" else f"[{kind} {tag}]"

    # --- writing ----------------------------------------------------------------------------------------------------

    def _writer(self) -> Callable[[str], str]:
        inside = sorted((v for v in self.found if len(v) >= _SHORTEST), key=lambda v: (-len(v), v))
        pattern = re.compile("|".join(re.escape(value) for value in inside)) if inside else None

        def write(text: str) -> str:
            if text in self.found:
                return self.found[text]
            return pattern.sub(lambda match: self.found[match.group()], text) if pattern is not None else text

        return write

    def _event(self, data: JSONObject, write: Callable[[str], str]) -> JSONObject:
        kept = {name: value for name, value in data.items() if name not in _DROPPED}
        return {
            name: value if name in _PLAIN else self._people(_written(value, write, name), name)
            for name, value in kept.items()
        }

    def _people(self, value: JSON, member: str) -> JSON:
        """Hide who did something; the tool's own hook is nobody."""
        if not self.personal:
            return value
        match value:
            case str() if member == "by" and value != "hook":
                return self._token("person", value)
            case list() if member == "others":
                return [self._people(one, member) for one in value]
            case dict() if member == "others":
                return {name: self._people(one, name) for name, one in value.items()}
            case _:
                return value


def _written(value: JSON, write: Callable[[str], str], member: str = "") -> JSON:
    match value:
        case str():
            if member in _KEPT:
                return value
            return _condition(value, write) if member in _CONDITIONS else write(value)
        case list():
            return [_written(one, write, member) for one in value]
        case dict():
            return {name: _written(one, write, name) for name, one in value.items()}
        case _:
            return value


_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


def _condition(text: str, write: Callable[[str], str]) -> str:
    """Hide values in the literals of a condition, and nowhere else: the rest of it are names."""
    return _QUOTED.sub(lambda match: match.group()[0] + write(match.group()[1:-1]) + match.group()[-1], text)


def _nobody(actor: JSONObject) -> JSONObject:
    return {name: value for name, value in actor.items() if name != "name"}


def _texts(value: JSON, member: str = "") -> Iterator[str]:
    match value:
        case str() if member not in _KEPT:
            yield value
        case list():
            for one in value:
                yield from _texts(one, member)
        case dict():
            for name, one in value.items():
                yield from _texts(one, name)


def _named(value: JSON, member: str = "") -> Iterator[tuple[str, str]]:
    match value:
        case str():
            yield member, value
        case list():
            for one in value:
                yield from _named(one, member)
        case dict():
            for name, one in value.items():
                # A literal or a reference in a plan is no value of a run.
                if name not in _KEPT and not (isinstance(one, dict) and one.keys() <= {"$ref", "$text"}):
                    yield from _named(one, name)
