"""What the run has used, what this call is estimated to take, and what would be left. Pure."""

from typing import Any

from agentops.budgets.measures import amount_text
from agentops.engine.spend import MEASURES
from agentops.engine.state import State
from agentops.runs.timeline import LIMIT_NAMES
from approvals.assessing.attention import review_seconds
from tools.contracts import ToolContract


def meter_of(state: State, contract: ToolContract | None, band: str, *, open_: bool) -> list[dict[str, Any]]:
    """Return a row per limit or cost of the run: {name, used, limit, this, left, near}; texts, empty where unknown.

    `this` is what the call may take at most: the cost its contract names for one attempt, and the attention of a
    reviewer while it waits. A limit without a number does not limit.
    """
    estimates = {"cost_micros": contract.cost_micros if contract is not None else 0}
    if open_:
        estimates["reviewer_s"] = review_seconds(band)
    rows = []
    for measure in MEASURES:
        used, allowed, this = measure.used(state), measure.allowed(state), estimates.get(measure.limit, 0)
        if measure.limit == "reviewer_s":  # set aside when the call was put before a person
            used = max(0, used - this)
        if not (used or allowed or this):
            continue
        left = allowed - used - this if allowed else None
        rows.append(
            {
                "name": LIMIT_NAMES[measure.limit],
                "used": amount_text(measure.limit, used),
                "limit": amount_text(measure.limit, allowed) if allowed else "",
                "this": amount_text(measure.limit, this) if this else "",
                "left": amount_text(measure.limit, max(0, left)) if left is not None else "",
                "short": left is not None and left < 0,
            }
        )
    return rows
