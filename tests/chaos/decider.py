"""The people of the chaos test, in a process of their own: `python -m tests.chaos.decider`.

One approves or rejects what waits. The other answers, from the tool's own record and truthfully, what became of an
effect that nobody could confirm. What either was promised is written down after the promise.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import django

IDLE_S = 0.05
LOOK_TWICE_S = 3.0
"""A person says what happened only when the call cannot be under way any more."""
REJECTED = 0.15


def main() -> None:
    """Decide until SIGTERM."""
    from django.db import Error, connection

    from agentops.runs.models import ToolCall
    from agentops.tenancy.scope import tenant_scope
    from approvals.models import Proposal, Status
    from approvals.services import Decided, reject
    from approvals.stopping.intervention import Answered, reconcile_call
    from tests.chaos import contracts, workload
    from tests.deciding import approve
    from tests.keys import key_of

    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    directory = Path(os.environ[contracts.DIRECTORY])
    contracts.register()
    record, cast, rng = contracts.record(), workload.find(), random.Random("desk")
    unsure: dict[tuple[object, str, int], float] = {}

    def promise(kind: str, subject: object) -> None:
        with (directory / "promises").open("a") as file:
            file.write(f"{kind}\t{subject}\n")

    def decide() -> int:
        waiting = list(Proposal.objects.filter(status=Status.PENDING).order_by("created_at")[:50])
        for one in waiting:
            if rng.random() < REJECTED:
                outcome = reject(
                    proposal_id=one.pk,
                    actor=cast.operator,
                    version=one.version,
                    digest=one.digest,
                    reason_code="wrong_amount",
                    note="Too much.",
                )
            else:
                outcome = approve(proposal_id=one.pk, actor=cast.operator, version=one.version, digest=one.digest)
            if isinstance(outcome, Decided):
                promise("decided", one.pk)
        return len(waiting)

    def answer() -> None:
        for call in ToolCall.objects.filter(state="unknown", run__ended_at__isnull=True)[:50]:
            seen = unsure.setdefault((call.run_id, call.call_id, call.attempts), time.monotonic())
            if time.monotonic() - seen < LOOK_TWICE_S:
                continue
            happened = record.times(key_of(call)) > 0
            outcome = reconcile_call(
                run_id=call.run_id,
                call_id=call.call_id,
                verdict="happened" if happened else "did_not_happen",
                actor=cast.senior,
                note="I looked it up.",
                attempt=call.attempts,
            )
            if isinstance(outcome, Answered):
                promise("answered", call.run_id)

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while going:
        try:
            with tenant_scope(cast.tenant):
                busy = decide()
                answer()
        except Error as error:
            sys.stdout.write(f"{error!r}\n")
            connection.close()
            busy = 0
        if not busy:
            time.sleep(IDLE_S)


if __name__ == "__main__":
    django.setup()
    main()
