"""Close what nobody answered in time. Silence denies, unless the line is stopped: then no time passes."""

import logging
from datetime import datetime

from approvals.models import Proposal, Status
from approvals.proposals import freezing
from approvals.proposals.ending import expire

logger = logging.getLogger(__name__)


def expire_due(now: datetime, limit: int) -> int:
    """Expire up to `limit` overdue proposals of the open tenant scope, oldest deadline first; return how many.

    One transaction each, safe to run anywhere at any time. One that cannot be expired is logged and does not keep the
    others waiting.
    """
    pending = Proposal.objects.filter(freezing.running(now), status=Status.PENDING)
    overdue = pending.order_by("decide_by", "id")
    expired = 0
    for proposal_id in list(overdue.values_list("pk", flat=True)[:limit]):
        try:
            expired += expire(proposal_id=proposal_id, now=now)
        except Exception:
            logger.exception("proposal %s could not be expired", proposal_id)
    return expired
