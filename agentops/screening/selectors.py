"""What guardrails flag in the open tenant."""

from agentops.guardrails.score import DEFAULT, Family, Point, Settings
from agentops.screening.models import Screening


def settings_in_force() -> Settings:
    """Return the tenant's settings, the defaults where it has none. One query."""
    row = Screening.objects.first()
    if row is None:
        return DEFAULT
    switches = {
        Family.SMUGGLING: row.smuggling,
        Family.INSTRUCTION: row.instruction,
        Family.FORGERY: row.forgery,
        Family.EXFILTRATION: row.exfiltration,
        Family.CREDENTIALS: row.credentials,
    }
    return Settings(Point(row.point), frozenset(family for family, on in switches.items() if not on), row.stubs)
