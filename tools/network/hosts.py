"""The tenant's list of hosts: what it lets be asked, and the only way in which it changes.

What narrows counts at once, what widens waits for a second admin (`tools.allowing` says the same of tools). Every page,
form and program goes through `change`, `remove` and `decide`; `seed` alone writes without people: it lists a host that
is not listed yet, for the system itself, and no request can call it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction

from agentops import clock
from agentops.audit.services import record_in_tenant_stream
from agentops.changes import services as changes
from agentops.changes.models import ChangeStatus
from agentops.changes.outcomes import Decided, Forbidden, Invalid, Proposed, Settled, Stale
from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.parse import JSON, JSONObject, clean_text

from .asking import READS, Access
from .models import AllowedHost, HostAccess, HostChange
from .refusals import Refused
from .sealing import SealBroken, seal, unseal
from .urls import Target

MAX_SECRET: Final = 2_000
_COLUMNS: Final = ("subdomains", "access", "plain_http", "credential_header", "note")


@dataclass(frozen=True, slots=True)
class HostRule:
    """What may be asked of a host, without its credential: what proposals, histories and previews compare and show."""

    host: str
    subdomains: bool = False
    access: HostAccess = HostAccess.READ
    plain_http: bool = False
    credential_header: str = ""
    note: str = ""

    def to_json(self) -> JSONObject:
        return {
            "host": self.host,
            "subdomains": self.subdomains,
            "access": self.access.value,
            "plain_http": self.plain_http,
            "credential_header": self.credential_header,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, raw: Any) -> "HostRule":
        return cls(**{**raw, "access": HostAccess(raw["access"])})


@dataclass(frozen=True, slots=True)
class Narrowed:
    """It counts already, as `version` of the changes. `host` says whose rule it is."""

    host: str
    version: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """That is how it was."""

    host: str


def rule_of(row: AllowedHost) -> HostRule:
    """Return the rule of a row."""
    return HostRule(row.host, row.subdomains, HostAccess(row.access), row.plain_http, row.credential_header, row.note)


def widenings(
    before: HostRule | None, after: HostRule | None, above: HostRule | None = None, *, new_secret: bool = False
) -> tuple[str, ...]:
    """Say in short sentences what a change lets happen that could not before; nothing if it only narrows. Pure.

    `above` is the rule that covers the host, and those below it, where there is none of its own: the closest above it
    with subdomains. A host that gets a rule of its own is wider even so, because that outlasts the one above. So is
    another credential (`new_secret`): nobody can tell what it opens.
    """
    if before is None or (after is not None and before.host != after.host):
        return () if after is None else (f"{after.host} may be asked.",)
    below = f"hosts below {before.host}"
    found = _wider(before, after or above, before.host)
    found += _wider(
        before if before.subdomains else above, after if after is not None and after.subdomains else above, below
    )
    if after is not None and after.credential_header:
        if after.credential_header != before.credential_header:
            found.append(f"{after.host} gets a credential in {after.credential_header}.")
        elif new_secret:
            found.append(f"{after.host} gets another credential.")
    return tuple(found)


def _wider(before: HostRule | None, after: HostRule | None, name: str) -> list[str]:
    """Compare what two rules let be asked of the same hosts."""
    if after is None:
        return []
    said = name[0].upper() + name[1:] if name.startswith("hosts ") else name
    if before is None:
        return [f"{said} may be asked."]
    found = []
    if after.access is HostAccess.WRITE and before.access is not HostAccess.WRITE:
        found.append(f"{said} may be written to.")
    if after.plain_http and not before.plain_http:
        found.append(f"{said} may be asked without encryption.")
    return found


# --- changing it ----------------------------------------------------------------------------------------------------


def change(
    rule: HostRule, *, actor: Actor, secret: str | None = None, now: datetime | None = None
) -> Narrowed | Proposed | Unchanged | Forbidden | Invalid:
    """Write the rule of a host if it only narrows, or propose it to another admin if it lets more happen.

    What narrows in one way and widens in another waits as a whole. `secret` is a credential to store with it, None to
    keep the one there is; a rule without a header has none. The note of the rule says why, and has to where it widens.
    """
    if (refused := changes.may_not(actor)) is not None:
        return refused
    moment = now or clock.now()
    with transaction.atomic():
        _hold_list()
        row = _listed(rule.host)
        compared = compare(rule, row, secret)
        if isinstance(compared, Invalid):
            return compared
        before, new_secret = None if row is None else rule_of(row), _is_new(secret, row)
        if before == rule and not new_secret:
            return Unchanged(rule.host)
        sealed = seal(secret or "", tenant_id=current_tenant_id(), host=rule.host) if new_secret else ""
        body = _body(before, rule, compared, new_secret=new_secret)
        if compared:
            outcome = changes.propose(
                KIND, body=body, note=rule.note, actor=actor, now=moment, narrows=False, credential=sealed
            )
            if not isinstance(outcome, Proposed | Invalid | Forbidden):
                raise TypeError("changes of the list of hosts do not wait for one another")
            return outcome
        return Narrowed(rule.host, _narrow(body, rule, sealed, actor, moment))


def compare(rule: HostRule, row: AllowedHost | None, secret: str | None) -> tuple[str, ...] | Invalid:
    """Say what a rule would let happen that the row there is (None: no row) does not, or what is wrong with it."""
    if problems := _problems(rule, row, secret):
        return Invalid(problems)
    before = None if row is None else rule_of(row)
    wider = widenings(before, rule, _above(rule.host), new_secret=_is_new(secret, row))
    if wider and (bad := changes.note_problems(rule.note)):
        return Invalid(bad)
    return wider


def remove(host: str, *, actor: Actor, now: datetime | None = None) -> Narrowed | Forbidden | Invalid | None:
    """Take a host off the list, at once; None if it is not on it.

    `Invalid` where a rule above it would let more be asked of it then: that one has to be narrowed first.
    """
    if (refused := changes.may_not(actor)) is not None:
        return refused
    moment = now or clock.now()
    with transaction.atomic():
        _hold_list()
        row = _listed(host)
        if row is None:
            return None
        before, above = rule_of(row), _above(host)
        if above is not None and (wider := widenings(before, None, above)):
            said = f"Without a rule of its own the one of {above.host} counts. {' '.join(wider)} Narrow that first."
            return Invalid({"host": said})
        return Narrowed(host, _narrow(_body(before, None, (), new_secret=False), None, "", actor, moment))


def decide(*, change_id: UUID, verdict: str, note: str, actor: Actor, now: datetime | None = None) -> Decided:
    """Put a widening in force (`approve`), turn it down (`refuse`), or take the own one back (`withdraw`).

    `Stale` when the rule of the host is no longer what it was when the change was proposed, or when another rule above
    it makes the change allow what nobody has read.
    """
    with transaction.atomic():
        _hold_list()
        outcome = changes.decide(KIND, change_id=change_id, verdict=verdict, note=note, actor=actor, now=now)
        if isinstance(outcome, Settled):
            # The credential is where it belongs by now, or nowhere.
            HostChange.objects.filter(pk=change_id).update(credential="")
        return outcome


def seed(rule: HostRule, *, secret: str = "", actor: Actor = SYSTEM) -> AllowedHost:
    """List a host that is not listed yet, as the system itself: for set-ups without people, and for tests.

    Raises PermissionError for anybody but the system, ValidationError for a rule that is none, IntegrityError for a
    host that is listed.
    """
    if actor.kind != "system":
        raise PermissionError("Only the system seeds the list of hosts; people change it with `change`.")
    with transaction.atomic():
        _hold_list()
        if problems := _problems(rule, None, secret or None):
            raise ValidationError([*problems.values()])
        sealed = seal(secret, tenant_id=current_tenant_id(), host=rule.host) if secret else ""
        return _write(None, rule, sealed, _body(None, rule, (f"{rule.host} may be asked.",)), actor, user_id=None)


# --- how a change is kept and applied -------------------------------------------------------------------------------


def differences(row: HostChange) -> tuple[HostRule | None, HostRule | None, tuple[str, ...]]:
    """Return the rules before and after a change, and what makes it wider."""
    before, after = row.body["before"], row.body["after"]
    return (
        None if before is None else HostRule.from_json(before),
        None if after is None else HostRule.from_json(after),
        tuple(str(one) for one in row.body["wider"]),
    )


def _body(
    before: HostRule | None, after: HostRule | None, wider: tuple[str, ...], *, new_secret: bool = False
) -> JSONObject:
    return {
        "before": None if before is None else before.to_json(),
        "after": None if after is None else after.to_json(),
        "wider": list[JSON](wider),
        "new_credential": new_secret,
    }


def _narrow(body: JSONObject, after: HostRule | None, sealed: str, actor: Actor, now: datetime) -> int:
    before: Any = body["before"]
    row = changes.create(
        KIND,
        body=body,
        note=after.note if after is not None else "",
        actor=actor,
        now=now,
        narrows=True,
        status=ChangeStatus.ACTIVE,
        decided_at=now,
    )
    _write(_listed(str(before["host"])), after, sealed, body, actor, user_id=actor.user_id)
    changes.record(KIND, "narrowed", row, actor, {"note": row.note})
    return row.version


def _put_in_force(row: HostChange, actor: Actor, now: datetime) -> JSONObject | Stale:
    before, after, wider = differences(row)
    if after is None:
        raise ValueError("taking a host off the list waits for nobody")
    listed = _listed(after.host)
    # Whatever somebody has said about the host since, be it a note, voids the change.
    if (None if listed is None else rule_of(listed)) != before:
        return Stale(after.host)
    # So does a rule above it that has come, gone or changed, where the change means something else by that.
    if widenings(before, after, _above(after.host), new_secret=bool(row.body["new_credential"])) != wider:
        return Stale(after.host)
    _write(listed, after, row.credential, row.body, actor, user_id=row.proposed_by_id)
    return {"host": after.host, "proposed_by": row.proposed_by.get_username()}


KIND: Final = changes.Kind(HostChange, "host.", "hostchange", _put_in_force)


def _write(
    row: AllowedHost | None, after: HostRule | None, sealed: str, body: JSONObject, actor: Actor, *, user_id: int | None
) -> AllowedHost:
    """Make the list say what a rule says, with an event `host.allowed` or `host.removed`."""
    if after is None:
        assert row is not None
        pk = row.pk
        row.delete()
        record_in_tenant_stream(
            "host.removed", {"before": body["before"]}, subject=("allowedhost", str(pk)), actor=actor
        )
        return row
    row = row or AllowedHost(tenant_id=current_tenant_id(), host=after.host)
    for name in _COLUMNS:
        setattr(row, name, getattr(after, name))
    row.updated_by_id = user_id
    if sealed or not after.credential_header:
        row.credential = sealed
    row.save()
    data: JSONObject = {
        "before": body["before"],
        "after": body["after"],
        "widens": body["wider"],
        "new_credential": bool(sealed),
    }
    record_in_tenant_stream("host.allowed", data, subject=("allowedhost", str(row.pk)), actor=actor)
    return row


def _problems(rule: HostRule, row: AllowedHost | None, secret: str | None) -> dict[str, str]:
    """Say what is wrong with a rule, by field."""
    found: dict[str, str] = {}
    probe = AllowedHost(tenant_id=current_tenant_id(), host=rule.host)
    for name in _COLUMNS:
        setattr(probe, name, getattr(rule, name))
    try:
        probe.clean_fields()
    except ValidationError as error:
        found = {name: " ".join(texts) for name, texts in error.message_dict.items()}
    if secret is not None and (len(secret) > MAX_SECRET or not all(0x20 <= ord(char) < 0x7F for char in secret)):
        found["secret"] = "Only printable ASCII characters fit into a header."  # noqa: S105
    elif secret and not rule.credential_header:
        found["credential_header"] = "Name the header that the credential goes into."
    elif rule.credential_header and not secret and (row is None or not row.credential):
        found["secret"] = "There is no credential yet for this header."  # noqa: S105
    if rule.note != clean_text(rule.note.strip()):
        found["note"] = "Write the note in plain characters."
    return found


def _is_new(secret: str | None, row: AllowedHost | None) -> bool:
    """Say whether a credential is another one than a row has."""
    if not secret or row is None or not row.credential:
        return bool(secret)
    try:
        return secret != unseal(row.credential, tenant_id=row.tenant_id, host=row.host)
    except SealBroken:
        return True


def _hold_list() -> None:
    """Keep others from changing the list until the transaction ends: what a rule lets happen hangs on those above."""
    list(Tenant.objects.select_for_update(no_key=True).filter(pk=current_tenant_id()).values_list("pk"))


def _listed(host: str) -> AllowedHost | None:
    return AllowedHost.objects.filter(host=host).first()


def _above(host: str) -> HostRule | None:
    """Return the rule that covers a host without one of its own."""
    rows = {row.host: row for row in AllowedHost.objects.filter(host__in=_names_above(host), subdomains=True)}
    return next((rule_of(rows[name]) for name in _names_above(host) if name in rows), None)


def _names_above(host: str) -> list[str]:
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(1, len(labels) - 1)]


# --- what it lets be asked ------------------------------------------------------------------------------------------


def look_up(host: str) -> AllowedHost | None:
    """Return the row that covers a host: its own, else the closest above it that covers subdomains. One query."""
    above = _names_above(host)
    rows = {row.host: row for row in AllowedHost.objects.filter(host__in=[host, *above]).select_related("updated_by")}
    if host in rows:
        return rows[host]
    return next((rows[name] for name in above if name in rows and rows[name].subdomains), None)


def admit(target: Target, method: str) -> Access:
    """Return what goes with a request to a host on the tenant's list. One query.

    Raises `Refused`: not on the list, not for writing, not without encryption, or its credential cannot be read.
    """
    row = look_up(target.host)
    if row is None:
        raise Refused("host_not_allowed", f"{target.host} is not on the list of hosts that may be asked.")
    if method not in READS and row.access != HostAccess.WRITE:
        raise Refused("host_read_only", f"{target.host} may be read, not written to.")
    if target.scheme == "http" and not row.plain_http:
        raise Refused("plain_http", f"{target.host} may only be asked with https.")
    if not row.credential or row.host != target.host or target.scheme != "https":
        return Access()
    try:
        secret = unseal(row.credential, tenant_id=row.tenant_id, host=row.host)
    except SealBroken as broken:
        raise Refused("credential", str(broken)) from None
    return Access(((row.credential_header, secret),))
