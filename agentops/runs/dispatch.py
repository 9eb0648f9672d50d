"""The doorbell: tell some worker to look at a run. The row is the truth; a lost or doubled ring changes nothing.

Rings take the short way where there is one (`runs.bell`); all others, and those of the sweeper, are messages.
"""

import logging
from uuid import UUID

from celery import current_app
from django.db import transaction

from agentops.runs import bell

logger = logging.getLogger(__name__)

DRIVE = "agentops.worker.tasks.drive"


def ring(tenant_id: int, run_id: UUID) -> None:
    """Ring once the current transaction has committed. A broker that is away is logged; the sweeper rings again."""
    transaction.on_commit(lambda: _ring(tenant_id, run_id))


def _ring(tenant_id: int, run_id: UUID) -> None:
    if not bell.ring(tenant_id):
        ring_now(tenant_id, run_id)


def ring_now(tenant_id: int, run_id: UUID) -> None:
    """Ring by a message, without waiting for a commit."""
    try:
        current_app.send_task(DRIVE, args=[tenant_id, str(run_id)], ignore_result=True, retry=False)
    except Exception:  # noqa: BLE001 - whatever a broker client raises, the row is the truth
        logger.warning("the broker did not take the message for run %s; the sweeper will ring again", run_id)
