"""What a detector has found in a text: its kind and its place, never the text itself."""

from dataclasses import dataclass
from enum import StrEnum

from agentops.wire.parse import JSONObject


class Kind(StrEnum):
    """What an output policy has a rule for."""

    SECRET = "secret"  # noqa: S105 - a word
    CARD = "card"
    IBAN = "iban"
    PERSONAL = "personal"
    CARRIER = "carrier"
    """A link or an image that carries data out by being opened or shown."""
    LINK = "link"
    """A link to a host that is not on the list, in text an outsider may have written."""
    CLAIM = "claim"
    """It says that something was done, and nothing that was executed does that."""
    REPORTED_CLAIM = "reported_claim"
    """The same in the passive voice, which often reports what somebody else did."""
    CANARY = "canary"
    """Words of the system prompt that nobody else knows."""
    HIDDEN = "hidden"
    CHECK_FAILED = "check_failed"


WORDS = {
    Kind.SECRET: "a secret",
    Kind.CARD: "a card number",
    Kind.IBAN: "an account number",
    Kind.PERSONAL: "personal data",
    Kind.CARRIER: "a link or image that carries data out",
    Kind.LINK: "a link to a host that is not on the list",
    Kind.CLAIM: "a claim of something that was not done",
    Kind.REPORTED_CLAIM: "a report of something that was not done here",
    Kind.CANARY: "a part of the instructions that stay with us",
    Kind.HIDDEN: "hidden characters",
    Kind.CHECK_FAILED: "something that could not be checked",
}
"""Kind -> what it is called in a sentence."""


@dataclass(frozen=True, slots=True)
class Found:
    """One finding. `offset` and `length` count code points of the text; `sample` says what it is and is harmless.

    `code` names the exact form (`github_token`, `image`, ...), a closed list of each detector.
    """

    kind: Kind
    code: str
    offset: int
    length: int
    sample: str = ""

    @property
    def end(self) -> int:
        return self.offset + self.length

    def to_json(self) -> JSONObject:
        """Return the finding as plain JSON."""
        return {
            "kind": self.kind.value,
            "code": self.code,
            "offset": self.offset,
            "length": self.length,
            "sample": self.sample,
        }


def said(code: str) -> str:
    """Return a code as words: `github_token` is "github token"."""
    return code.replace("_", " ")
