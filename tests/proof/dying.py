"""A worker that is killed inside an effect: `python -m tests.proof.dying before|after|mail TENANT RUN`."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn
from uuid import UUID

import django
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend


def die() -> NoReturn:
    """End as a process does whose machine is switched off: no handler, no rollback, no farewell."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still here")


class DyingBackend(BaseEmailBackend):
    """A mail server that has taken the message when the worker dies."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        die()


def work(where: str, tenant_id: int, run_id: UUID) -> None:
    """Drive the run with tools that die before or after they have changed anything, or while sending mail."""
    from django.conf import settings

    from agentops.wire.parse import JSONObject
    from agentops.worker.driver import Driver
    from tools.builtin import shop
    from tools.contracts import CallContext
    from tools.registry import registry

    def dying_refund(ctx: CallContext, arguments: JSONObject) -> JSONObject:
        if where == "after":
            shop.issue_refund(ctx, arguments)
        die()

    settings.EMAIL_BACKEND = f"{DyingBackend.__module__}.{DyingBackend.__qualname__}"
    contract = shop.ISSUE_REFUND
    registry.remove(contract.name, contract.version)
    registry.register(contract, dying_refund, reconcile=shop.reconcile_refund)
    Driver("dying").drive(tenant_id, run_id)


if __name__ == "__main__":
    django.setup()
    work(sys.argv[1], int(sys.argv[2]), UUID(sys.argv[3]))
