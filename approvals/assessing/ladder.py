"""The friction ladder: what a decision needs, by band of risk. Defaults, and what a tenant has made stricter.

The figures are starting values to be calibrated on real decisions. A tenant may only tighten within a band; the
release delay alone may be shorter, because it costs no attention.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from django.conf import settings

from agentops.tenancy.scope import current_tenant_id
from approvals.assessing.risk import Band
from approvals.models import BandRule, Proposal, StepUp

ARGUMENTS: Final = "arguments"
PREVIEW: Final = "preview"
EVIDENCE: Final = "evidence"
SECTIONS: Final[Mapping[str, str]] = {
    ARGUMENTS: "the arguments",
    PREVIEW: "the preview",
    EVIDENCE: "the evidence",
}
"""Sections of a card that may have to be opened, and what people call them."""

WORDS_A_SECOND: Final = 40
"""Of the text that has to be read. It measures time, not reading; it is one of several gates."""

RECENT: Final = timedelta(minutes=30)
"""How long it counts that somebody has said who they are, where that has to be recent."""

FRESH_S: Final = 2.0
"""How old a tenant's changes of the ladder may be in another process."""

POLICY_REST: Final = timedelta(hours=24)
"""Whoever changed what a task type may do does not approve under it for this long, from High upwards."""


@dataclass(frozen=True, slots=True)
class Rung:
    """What an approval in one band needs. Seconds; `must_see` are names of SECTIONS."""

    band: Band
    release_s: int
    reading_s: int = 0
    reading_most_s: int = 0
    must_see: tuple[str, ...] = ()
    rationale_chars: int = 0
    attestations: int = 0
    approvers: int = 1
    step_up: StepUp = StepUp.NEVER
    rested: bool = False
    """Whether a recent change of the task type's rules keeps its author from approving."""

    @property
    def release(self) -> timedelta:
        """How long an approval can be taken back."""
        return timedelta(seconds=self.release_s)

    def window(self, words: int) -> timedelta:
        """Return the time from opening the card to the earliest approval, for so many words that have to be read."""
        if not self.reading_s:
            return timedelta(0)
        return timedelta(seconds=max(self.reading_s, min(words / WORDS_A_SECOND, self.reading_most_s)))


_ALL: Final = (ARGUMENTS, PREVIEW, EVIDENCE)
_LADDER: Final[Mapping[Band, Rung]] = {
    Band.LOW: Rung(Band.LOW, 10),
    Band.MEDIUM: Rung(Band.MEDIUM, 15, reading_s=2, reading_most_s=2),
    Band.HIGH: Rung(
        Band.HIGH,
        30,
        reading_s=6,
        reading_most_s=20,
        must_see=_ALL,
        rationale_chars=15,
        attestations=1,
        step_up=StepUp.RECENT,
        rested=True,
    ),
    Band.CRITICAL: Rung(
        Band.CRITICAL,
        60,
        reading_s=6,
        reading_most_s=30,
        must_see=_ALL,
        rationale_chars=30,
        attestations=2,
        approvers=2,
        step_up=StepUp.ALWAYS,
        rested=True,
    ),
}

MOST: Final[Mapping[str, int]] = {
    "release_s": 900,
    "reading_s": 120,
    "rationale_chars": 500,
    "attestations": 4,
    "approvers": 5,
}
"""Beyond this, nothing would get decided any more."""


def default_rung(band: Band) -> Rung:
    """Return what a band needs where the tenant has changed nothing. Pure but for the settings."""
    return replace(_LADDER[band], release_s=settings.RELEASE_DELAYS_S[band.rank])


def rung_of(band: str) -> Rung:
    """Return what an approval in a band needs in the open tenant. One query at most every two seconds."""
    rung = default_rung(Band(band))
    rule = _rules().get(band)
    return rung if rule is None else tightened(rung, rule)


def rung_for(proposal: Proposal) -> Rung:
    """Return what an approval of a proposal needs: that of its band, with as many people as the policy asks for."""
    rung = rung_of(proposal.risk_band)
    return rung if proposal.quorum <= rung.approvers else replace(rung, approvers=proposal.quorum)


def _rules() -> Mapping[str, BandRule]:
    tenant_id = current_tenant_id()
    with _guard:
        seen = _seen.get(tenant_id)
    if seen is None or time.monotonic() - seen[0] >= FRESH_S:
        asked_at = time.monotonic()
        seen = (asked_at, {rule.band: rule for rule in BandRule.objects.all()})
        with _guard:
            _seen[tenant_id] = seen
    return seen[1]


def forget() -> None:
    """Ask again the next time: after a change of this process."""
    with _guard:
        _seen.clear()


_guard = threading.Lock()
_seen: dict[int, tuple[float, Mapping[str, BandRule]]] = {}


def tightened(rung: Rung, rule: BandRule) -> Rung:
    """Apply a tenant's changes; what would be laxer than the default has no effect, the release delay apart."""
    return replace(
        rung,
        release_s=rung.release_s if rule.release_s is None else rule.release_s,
        reading_s=max(rung.reading_s, rule.reading_s or 0),
        reading_most_s=max(rung.reading_most_s, rule.reading_s or 0),
        rationale_chars=max(rung.rationale_chars, rule.rationale_chars or 0),
        attestations=max(rung.attestations, rule.attestations or 0),
        approvers=max(rung.approvers, rule.approvers or 0),
        step_up=max(rung.step_up, StepUp(rule.step_up or StepUp.NEVER), key=_STRICTER.index),
    )


_STRICTER: Final = tuple(StepUp)


def laxer(band: Band, field: str, value: int | str) -> bool:
    """Say whether a tenant's value for a field of `BandRule` would be laxer than the default of the band."""
    default = default_rung(band)
    if field == "release_s":
        return False
    if field == "step_up":
        return bool(value) and _STRICTER.index(StepUp(str(value))) < _STRICTER.index(default.step_up)
    return int(value) < int(getattr(default, field))
