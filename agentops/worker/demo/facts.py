"""What the shop remembers at the start: runs proposed it; a senior let some of it in and kept one out.

The rest waits for whoever tries *Memory*, also a statement that descends from a customer's mail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from agentops.memory import services as memory
from agentops.memory.models import Fact
from agentops.wire.parse import JSONObject
from agentops.worker.demo.people import SVEN, acting
from agentops.worker.driver import Driver

NOTE, SENDER = "house-note", "known-sender"


@dataclass(frozen=True, slots=True)
class Told:
    """One task that ends in a proposed fact, and what the senior said to it (`approve`, `widen`, `reject`, or nothing).

    `because` is the senior's note.
    """

    kind: str
    title: str
    task: JSONObject
    verdict: str = ""
    because: str = ""


def _note(title: str, statement: str, verdict: str = "", because: str = "") -> Told:
    return Told(NOTE, title, {"statement": statement}, verdict, because)


TOLD: Final = (
    _note("Packing hours", "The warehouse packs until 15:00 on working days; what comes later waits.", "widen"),
    _note("Time of refunds", "A refund to a card shows up within three working days.", "approve"),
    _note(
        "Signatures", "Every order above EUR 200 is delivered against a signature.", "reject", "Only true in December."
    ),
    _note("Gift cards", "A gift card is refunded as a gift card, never to a bank card."),
    _note("Islands", "Parcels to islands arrive two days later than the carrier says."),
    Told(SENDER, "Who wrote M-0001", {"message_id": "M-0001"}),
)


def judge(runs: Sequence[UUID], tenant_id: int) -> None:
    """Let the runs of `TOLD`, in its order, propose their facts, and give the senior's verdicts; no runs, nothing.

    Not in a transaction. What is left out, because a process ended here, is done by the worker or waits for a curator.
    """
    driver, sven = Driver("demo"), acting(SVEN)
    for told, run_id in zip(TOLD, runs, strict=bool(runs)):
        driver.drive(tenant_id, run_id)
        fact = Fact.objects.filter(source_run=run_id).first()
        if fact is None:
            continue
        match told.verdict:
            case "approve":
                memory.approve(fact_id=fact.pk, actor=sven)
            case "widen":
                memory.edit_and_approve(
                    fact_id=fact.pk, actor=sven, statement=fact.statement, task_type=None, expires_at=fact.expires_at
                )
            case "reject":
                memory.reject(fact_id=fact.pk, actor=sven, note=told.because)
