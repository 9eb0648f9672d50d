"""What admins do with endpoints; every change is an event of the tenant's record, with the host of the address only."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import IntegrityError, transaction

from agentops.audit import tail
from agentops.tenancy.access import Actor, demand
from agentops.tenancy.admin_base import host_of_address
from agentops.tenancy.journal import record
from agentops.tenancy.scope import current_tenant_slug
from agentops.webhooks.models import TEST, Endpoint, Kind
from agentops.webhooks.noting import READER, hearing
from agentops.webhooks.outbox import Notice, message
from agentops.webhooks.posting import Refused, checked
from agentops.wire.ids import uuid7
from agentops.wire.parse import JSONObject

RIGHT: Final = "admin.manage"
MOST: Final = 20
"""Endpoints of one tenant."""
OVERLAP: Final = timedelta(days=1)
"""How long the former secret signs as well after a rotation."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an endpoint is to be; `task_type` is a slug, or empty for all."""

    name: str
    url: str
    kinds: Sequence[str]
    task_type: str


@dataclass(frozen=True, slots=True)
class Invalid:
    """Nothing was changed; `problems` are texts by field, that of the whole under the empty name."""

    problems: dict[str, str]


def register(wanted: Wanted, *, actor: Actor) -> Endpoint | Invalid:
    """Add an endpoint, which hears of what happens from now on."""
    demand(actor, RIGHT)
    if problems := _problems(wanted):
        return Invalid(problems)
    if Endpoint.objects.count() >= MOST:
        return Invalid({"": f"There are {MOST} endpoints already. Remove one first."})
    try:
        with transaction.atomic():
            endpoint = Endpoint(name=wanted.name, url=wanted.url, from_event=_from_now_on())
            endpoint.kinds, endpoint.task_type = list(wanted.kinds), wanted.task_type
            endpoint.save()
            _record("registered", endpoint, _values(endpoint), actor)
    except IntegrityError:
        return Invalid({"name": _TAKEN})
    return endpoint


def change(endpoint_id: int, wanted: Wanted, *, actor: Actor) -> Endpoint | Invalid | None:
    """Change what an endpoint is; None if there is none. Another address begins without the failures of the old one.

    Who heard nothing of runs hears of them from now on.
    """
    demand(actor, RIGHT)
    if problems := _problems(wanted):
        return Invalid(problems)
    try:
        with transaction.atomic():
            endpoint = _locked(endpoint_id)
            if endpoint is None:
                return None
            before, heard = _values(endpoint), endpoint.hears_runs
            if endpoint.url != wanted.url:
                endpoint.failures, endpoint.resting_until = 0, None
            endpoint.name, endpoint.url = wanted.name, wanted.url
            endpoint.kinds, endpoint.task_type = list(wanted.kinds), wanted.task_type
            if endpoint.hears_runs and not heard:
                endpoint.from_event = _from_now_on()
            after = _values(endpoint)
            if after != before:
                endpoint.save()
                _record("changed", endpoint, {"before": before, "after": after}, actor)
            return endpoint
    except IntegrityError:
        return Invalid({"name": _TAKEN})


def switch(endpoint_id: int, enabled: bool, *, actor: Actor) -> Endpoint | None:
    """Enable or disable an endpoint; None if there is none. Of what happens while it is disabled it never hears."""
    demand(actor, RIGHT)
    with transaction.atomic():
        endpoint = _locked(endpoint_id)
        if endpoint is not None and endpoint.enabled != enabled:
            if enabled:
                endpoint.from_event = _from_now_on()
            endpoint.enabled, endpoint.disabled_why = enabled, ""
            endpoint.failures, endpoint.resting_until = 0, None
            endpoint.save()
            _record("enabled" if enabled else "disabled", endpoint, {"name": endpoint.name}, actor)
    return endpoint


def rotate(endpoint_id: int, *, actor: Actor, now: datetime) -> Endpoint | None:
    """Sign with a new secret, and for `OVERLAP` with the former one as well; None if there is no such endpoint."""
    demand(actor, RIGHT)
    with transaction.atomic():
        endpoint = _locked(endpoint_id)
        if endpoint is not None:
            if len(endpoint.versions(now)) == 1:
                endpoint.former_version = endpoint.secret_version
            endpoint.secret_version += 1
            endpoint.former_until = now + OVERLAP
            endpoint.save(update_fields=["secret_version", "former_version", "former_until"])
            until = endpoint.former_until.isoformat()
            _record("rotated", endpoint, {"name": endpoint.name, "former_until": until}, actor)
    return endpoint


def remove(endpoint_id: int, *, actor: Actor) -> bool:
    """Remove an endpoint with everything that waits for it; return whether there was one."""
    demand(actor, RIGHT)
    with transaction.atomic():
        endpoint = _locked(endpoint_id)
        if endpoint is None:
            return False
        _record("removed", endpoint, _values(endpoint), actor)
        endpoint.delete()
    return True


def send_test(endpoint_id: int, *, actor: Actor, now: datetime) -> Endpoint | None:
    """Put a message into the outbox that says nothing; None if there is no such endpoint, or it is disabled."""
    demand(actor, RIGHT)
    with transaction.atomic():
        endpoint = _locked(endpoint_id)
        if endpoint is None or not endpoint.enabled:
            return None
        # Whoever tests wants to see it now.
        endpoint.resting_until = None
        endpoint.save(update_fields=["resting_until"])
        said = Notice(TEST, f"test-{uuid7()}", now, "", {"tenant": current_tenant_slug()})
        message(said, endpoint, now).save()
        _record("tested", endpoint, {"name": endpoint.name}, actor)
    return endpoint


_TAKEN: Final = "Another endpoint has this name."


def _problems(wanted: Wanted) -> dict[str, str]:
    problems: dict[str, str] = {}
    if not wanted.name:
        problems["name"] = "Give it a name."
    if not wanted.kinds or any(kind not in Kind.values for kind in wanted.kinds):
        problems["kinds"] = "Choose at least one."
    try:
        checked(wanted.url)
    except Refused as error:
        problems["url"] = str(error)
    return problems


def _from_now_on() -> int:
    return tail.skip_to_end(READER, unless=lambda: bool(hearing()))


def _locked(endpoint_id: int) -> Endpoint | None:
    return Endpoint.objects.select_for_update().filter(pk=endpoint_id).first()


def _values(endpoint: Endpoint) -> JSONObject:
    return {
        "name": endpoint.name,
        "url": host_of_address(endpoint.url),
        "kinds": list(endpoint.kinds),
        "task_type": endpoint.task_type,
    }


def _record(what: str, endpoint: Endpoint, data: JSONObject, actor: Actor) -> None:
    record(f"webhook.{what}", data, subject=("webhook", str(endpoint.pk)), actor=actor)
