"""How much of a person's attention a decision is expected to take. Pure.

The figures are set aside when a proposal is made and count as spent once it is decided, unless the decision says how
long it really took. They are what reading a card of each band takes somebody who checks what it asks them to check;
measured figures replace them (`ProposalDecided.reviewer_s`).
"""

from collections.abc import Mapping
from typing import Final

from approvals.assessing.risk import Band

REVIEW_S: Final[Mapping[Band, int]] = {Band.LOW: 30, Band.MEDIUM: 60, Band.HIGH: 180, Band.CRITICAL: 300}


def review_seconds(band: str) -> int:
    """Return the seconds that deciding a proposal of a band is expected to take."""
    return REVIEW_S[Band(band)]
