"""The people of the demonstration."""

from dataclasses import dataclass
from functools import cache
from typing import Final

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password

from agentops.tenancy.access import SYSTEM, Actor
from agentops.tenancy.models import Role, Tenant
from agentops.tenancy.scope import tenant_scope
from agentops.tenancy.services import add_member

PASSWORD: Final = "look-before-you-approve"  # noqa: S105 - printed at every start, for this data only


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in; `email` is the account."""

    name: str
    email: str
    tenant: str
    role: Role
    does: str


OLGA: Final = Person("Olga", "olga@harbor.example", "harbor-shop", Role.OPERATOR, "decides proposals of the shop")
SVEN: Final = Person("Sven", "sven@harbor.example", "harbor-shop", Role.SENIOR, "decides, and settles unknown outcomes")
ADA: Final = Person("Ada", "ada@harbor.example", "harbor-shop", Role.ADMIN, "task types, tool allowlists, people")
ASTRID: Final = Person(
    "Astrid", "astrid@harbor.example", "harbor-shop", Role.ADMIN, "agrees to what Ada proposes, or not"
)
ENZO: Final = Person("Enzo", "enzo@harbor.example", "harbor-shop", Role.ENGINEER, "submits tasks, looks into runs")

PEOPLE: Final = (
    OLGA,
    SVEN,
    ADA,
    ASTRID,
    Person("Aurel", "aurel@harbor.example", "harbor-shop", Role.AUDITOR, "reads the audit trail"),
    ENZO,
    Person("Cleo", "cleo@lumen.example", "lumen-clinic", Role.OPERATOR, "decides proposals of the clinic"),
    Person("Dora", "dora@lumen.example", "lumen-clinic", Role.ADMIN, "task types and allowlists of the clinic"),
)
LOGINS: Final = [(p.name, p.email, PASSWORD, f"{p.tenant}: {p.does}") for p in PEOPLE]


def add_people(tenant: Tenant) -> None:
    """Create the accounts of a tenant that are missing, and make them its members."""
    users = get_user_model()
    for person in PEOPLE:
        if person.tenant != tenant.slug or users.objects.filter(email=person.email).exists():
            continue
        user = users(username=person.email, email=person.email, first_name=person.name, password=_hashed())
        user.save()
        with tenant_scope(tenant):
            add_member(tenant=tenant, user=user, role=person.role, actor=SYSTEM)


@cache
def _hashed() -> str:
    """Return the hash of the one password; making one takes a noticeable time, and everybody can read the password."""
    return make_password(PASSWORD)


def acting(person: Person) -> Actor:
    """Return a person as whoever does something; nobody has proved anything here."""
    return Actor.user(get_user_model().objects.get(email=person.email), [str(person.role)])
