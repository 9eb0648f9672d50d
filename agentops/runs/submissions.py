"""Take a task from a form: once, however often the form arrives."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from agentops.runs.models import Run, Submission, TaskType
from agentops.runs.services import InvalidTask, submit
from agentops.tenancy.access import Actor
from agentops.wire.canonical import digest
from agentops.wire.parse import JSONObject

LIFE: Final = timedelta(days=7)
"""How long a form is known again; a page that was open for longer starts another run."""

_FORGOTTEN_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class Submitted:
    """The run of a form; `again` if an earlier copy of the same form has started it."""

    run: Run
    again: bool = False


def submit_once(
    *,
    task_type: TaskType,
    input: JSONObject,  # noqa: A002 - the word of the event and of the schema
    actor: Actor,
    title: str = "",
    key: UUID | None = None,
    now: datetime | None = None,
) -> Submitted | InvalidTask:
    """Queue a run for a form, or return the one that the same form has started already.

    `key` is the one-time key that the form was given; without one nothing is remembered. The same key with other
    content is another form. Two copies that arrive at the same moment meet at the unique constraint: the second waits
    for the first and gets its run.
    """
    moment = now or timezone.now()
    if key is None or actor.user_id is None:
        made = submit(task_type=task_type, input=input, actor=actor, title=title, now=moment)
        return made if isinstance(made, InvalidTask) else Submitted(made)
    form = digest({"key": str(key), "task_type": task_type.slug, "input": input, "title": title})
    if (known := _known(actor.user_id, form)) is not None:
        return known
    try:
        with transaction.atomic():
            made = submit(task_type=task_type, input=input, actor=actor, title=title, now=moment)
            if isinstance(made, InvalidTask):
                return made
            _forget(moment)
            Submission.objects.create(submitted_by_id=actor.user_id, form=form, run=made, submitted_at=moment)
    except IntegrityError:
        known = _known(actor.user_id, form)
        if known is None:
            raise
        return known
    return Submitted(made)


def _known(user_id: int, form: str) -> Submitted | None:
    found = Submission.objects.select_related("run").filter(submitted_by_id=user_id, form=form).first()
    return None if found is None else Submitted(found.run, again=True)


def _forget(now: datetime) -> None:
    """Delete a few forms of the tenant that nobody sends again, so that the table stays as large as a week."""
    old = Submission.objects.select_for_update(skip_locked=True).filter(submitted_at__lte=now - LIFE).order_by("pk")
    rows = list(old.values_list("pk", flat=True)[:_FORGOTTEN_AT_ONCE])
    if rows:
        Submission.objects.filter(pk__in=rows).delete()
