"""What pages call a person: by their name, or by their account (their e-mail address) where they have none.

Where two members of a tenant bear one name, the account stands beside it. Events, exports and the API name accounts:
those are what somebody signed in with, and never change with a name.
"""

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.contrib.auth.models import User
from django.db.models import Count, QuerySet, Value
from django.db.models.functions import Concat, Lower, Trim

from agentops.tenancy.models import Membership
from agentops.tenancy.scope import current_tenant_id, open_tenant_id

FRESH_S: Final = 10.0
"""How old a name may be in another process than the one that changed it."""

MOST: Final = 10_000
"""Beyond so many people everybody is forgotten, which costs one query for each list."""

_Kept = dict[tuple[int, int], tuple[float, User | None]]
"""Tenant and person -> when it was read, and who that is; None for nobody."""

_people: _Kept = {}
_members: _Kept = {}
_shared: dict[int, tuple[float, frozenset[str]]] = {}
_guard = threading.Lock()


def called(person: Any) -> str:
    """Return what a page calls a person, as plain text; empty for nobody. One query in ten seconds, where names count.

    A name that several members bear, or that could be an address, does not stand alone.
    """
    if person is None:
        return ""
    account: str = person.get_username()
    name: str = " ".join(person.get_full_name().split())
    if not name:
        return account
    return f"{name} ({account})" if "@" in name or name.lower() in _borne_by_several() else name


def people_with(ids: Iterable[int]) -> dict[int, User]:
    """Return the people with these ids, with user name and full name; at most one query."""
    return _remembered(_people, ids, User.objects.all())


def _remembered(kept: _Kept, ids: Iterable[int], people: QuerySet[User]) -> dict[int, User]:
    tenant_id, now = current_tenant_id(), time.monotonic()
    found: dict[int, User | None] = {}
    missing: set[int] = set()
    for user_id in ids:
        seen = kept.get((tenant_id, user_id))
        if seen is None or now - seen[0] >= FRESH_S:
            missing.add(user_id)
        else:
            found[user_id] = seen[1]
    if missing:
        read = people.only("username", "first_name", "last_name").in_bulk(sorted(missing))
        new = {user_id: read.get(user_id) for user_id in missing}
        with _guard:
            if len(kept) > MOST:
                kept.clear()
            kept.update({(tenant_id, user_id): (now, user) for user_id, user in new.items()})
        found |= new
    return {user_id: user for user_id, user in found.items() if user is not None}


def with_id(user_id: int | None) -> str:
    """Return what a page calls the person with an id; empty for nobody. At most one query for the person."""
    return "" if user_id is None else called(people_with([user_id]).get(user_id))


def agent(ref: str) -> str:
    """Return what a page calls whom a reference such as `user:6` means; any other reference is returned as it is."""
    number = _person({"kind": "user", "id": ref.removeprefix("user:")}) if ref.startswith("user:") else None
    return with_id(number) or ref


def account_of(user_id: int | None) -> str:
    """Return the account of the person with an id, as events name it; empty for nobody. One query at most."""
    found = people_with([user_id]) if user_id is not None else {}
    return found[user_id].get_username() if user_id in found else ""


def by_account(accounts: Iterable[str]) -> dict[str, str]:
    """Return what a page calls the members of the open tenant with these accounts. One query, none for none."""
    wanted = set(accounts)
    if not wanted:
        return {}
    inside = User.objects.filter(memberships__tenant_id=current_tenant_id(), username__in=wanted).distinct()
    return {one.get_username(): called(one) for one in inside.only("username", "first_name", "last_name")}


def who_acted(actors: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what a page calls the actors of events, in their order; at most one query for all people.

    A member of the tenant is called by name where the event names the same account; a record may come from another
    installation, or say what it likes. Everybody else, programs and the product itself are called as the event says.
    """
    told, tenant_id = list(actors), open_tenant_id()
    if tenant_id is None:
        return [_as_recorded(one, None) for one in told]
    inside = User.objects.filter(memberships__tenant_id=tenant_id).distinct()
    people = _remembered(_members, {user_id for one in told if (user_id := _person(one)) is not None}, inside)
    return [_as_recorded(one, people.get(_person(one) or 0)) for one in told]


def _as_recorded(actor: Mapping[str, Any], person: User | None) -> str:
    account = str(actor.get("name") or "")
    return called(person) if person is not None and person.get_username() == account else account


def _person(actor: Mapping[str, Any]) -> int | None:
    number = str(actor.get("id", ""))
    plain = number.isascii() and number.isdecimal() and len(number) < 19
    return int(number) if actor.get("kind") == "user" and plain else None


def _borne_by_several() -> frozenset[str]:
    tenant_id = open_tenant_id()
    if tenant_id is None:
        return frozenset()
    now = time.monotonic()
    seen = _shared.get(tenant_id)
    if seen is None or now - seen[0] >= FRESH_S:
        full = Lower(Trim(Concat("user__first_name", Value(" "), "user__last_name")))
        names = Membership.objects.order_by().annotate(full=full).values("full")
        several = names.annotate(people=Count("user", distinct=True)).filter(people__gt=1)
        seen = (now, frozenset(str(name) for name in several.values_list("full", flat=True)))
        with _guard:
            _shared[tenant_id] = seen
    return seen[1]


def forget() -> None:
    """Ask again the next time."""
    with _guard:
        _people.clear()
        _members.clear()
        _shared.clear()
