"""The tenant's list of hosts: what it lets be asked, and whether a change of it widens anything."""

from dataclasses import dataclass

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError, transaction

from agentops.tenancy.access import Actor, can
from agentops.tenancy.journal import record
from agentops.tenancy.scope import current_tenant_id
from agentops.wire.parse import JSONObject

from .asking import READS, Access
from .models import AllowedHost, HostAccess
from .refusals import Refused
from .sealing import SealBroken, seal, unseal
from .urls import Target


@dataclass(frozen=True, slots=True)
class HostRule:
    """What may be asked of a host, without its credential: what proposals, histories and previews compare and show."""

    host: str
    subdomains: bool = False
    access: HostAccess = HostAccess.READ
    plain_http: bool = False
    credential_header: str = ""

    def to_json(self) -> JSONObject:
        return {
            "host": self.host,
            "subdomains": self.subdomains,
            "access": self.access.value,
            "plain_http": self.plain_http,
            "credential_header": self.credential_header,
        }


def rule_of(row: AllowedHost) -> HostRule:
    """Return the rule of a row."""
    return HostRule(row.host, row.subdomains, HostAccess(row.access), row.plain_http, row.credential_header)


def widenings(before: HostRule | None, after: HostRule | None) -> tuple[str, ...]:
    """Say in short sentences what a change lets happen that could not before; nothing if it only narrows. Pure.

    This is the question that whoever asks a second admin has to ask; `put` and `remove` apply what was agreed.
    """
    if after is None:
        return ()
    if before is None or before.host != after.host:
        return (f"{after.host} may be asked.",)
    found = []
    if after.subdomains and not before.subdomains:
        found.append(f"All hosts below {after.host} may be asked.")
    if after.access is HostAccess.WRITE and before.access is not HostAccess.WRITE:
        found.append(f"{after.host} may be written to.")
    if after.plain_http and not before.plain_http:
        found.append(f"{after.host} may be asked without encryption.")
    if after.credential_header and after.credential_header != before.credential_header:
        found.append(f"{after.host} gets a credential in {after.credential_header}.")
    return tuple(found)


def put(rule: HostRule, *, actor: Actor, note: str = "", secret: str | None = None) -> AllowedHost:
    """Write the rule of a host, and its credential if `secret` is given; the one way onto the list.

    One event `host.allowed` with the rule before and after and what it widens. Raises `PermissionDenied` for whoever
    may not manage the tenant, `ValidationError` for a rule that is none.
    """

    if not can(actor, "admin.manage"):
        raise PermissionDenied("Only an admin changes which hosts may be asked.")
    with transaction.atomic():
        row = AllowedHost.objects.select_for_update().filter(host=rule.host).first()
        before = None if row is None else rule_of(row)
        row = row or AllowedHost(tenant_id=current_tenant_id(), host=rule.host)
        row.subdomains, row.access, row.plain_http = rule.subdomains, rule.access, rule.plain_http
        row.credential_header, row.note, row.updated_by_id = rule.credential_header, note, actor.user_id
        if secret is not None:
            row.credential = seal(secret, tenant_id=row.tenant_id, host=row.host) if secret else ""
        if not rule.credential_header:
            row.credential = ""
        row.full_clean(exclude=["updated_by"])
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:
            raise ValidationError(
                f"{rule.host} was listed by somebody else just now.", code="listed_meanwhile"
            ) from None
        data: JSONObject = {
            "before": None if before is None else before.to_json(),
            "after": rule.to_json(),
            "widens": list(widenings(before, rule)),
            "new_credential": bool(secret),
            "note": note,
        }
        record("host.allowed", data, subject=("allowedhost", str(row.pk)), actor=actor)
        return row


def remove(row: AllowedHost, *, actor: Actor) -> None:
    """Take a host off the list, with an event `host.refused`. Raises `PermissionDenied`."""

    if not can(actor, "admin.manage"):
        raise PermissionDenied("Only an admin changes which hosts may be asked.")
    with transaction.atomic():
        pk, before = row.pk, rule_of(row)
        row.delete()
        record("host.refused", {"before": before.to_json()}, subject=("allowedhost", str(pk)), actor=actor)


def look_up(host: str) -> AllowedHost | None:
    """Return the row that covers a host: its own, else the closest above it that covers subdomains. One query."""
    labels = host.split(".")
    above = [".".join(labels[start:]) for start in range(1, len(labels) - 1)]
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


__all__ = ["HostRule", "admit", "look_up", "put", "remove", "rule_of", "widenings"]
