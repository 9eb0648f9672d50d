"""Agent operations with a human gate: durable runs, approvals in the browser, an audit trail that can be proven."""

# Importing the application here makes it Celery's current one everywhere, so that ringing by name finds the broker.
from agentops.celery import app as celery_app

__all__ = ["celery_app"]
