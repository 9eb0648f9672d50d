"""Who acts, and what each role may do. Every default is no."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Literal, Self, TypeVar, cast

from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

ActorKind = Literal["user", "token", "worker", "system"]
V = TypeVar("V", bound=Callable[..., Any])

_READ = frozenset({"queue.view", "proposal.view", "run.view"})
_SEE = _READ | {"memory.view", "regression.view", "metrics.view"}
_ENGINEER = {"run.requeue", "run.export", "run.import", "regression.manage", "audit.view", "alarm.handle"}
_STEP_IN = frozenset({"run.submit", "run.cancel", "run.pause"})
_OPERATE = _SEE | _STEP_IN | {"proposal.decide", "audit.view"}

# Admins set the rules and therefore do not decide under them; a person who does both has both roles.
ACTIONS_BY_ROLE: dict[str, frozenset[str]] = {
    "viewer": _SEE,
    "operator": _OPERATE,
    "senior": _OPERATE | {"call.reconcile", "line.stop", "memory.curate", "queue.share", "alarm.handle"},
    "engineer": _SEE | _STEP_IN | _ENGINEER,
    "auditor": _SEE | {"audit.view", "audit.export", "run.export"},
    "admin": _SEE
    | _STEP_IN
    | _ENGINEER
    | {"call.reconcile", "line.stop", "memory.curate", "queue.share"}
    | {"admin.manage", "token.manage", "audit.export"},
}
ACTIONS = frozenset().union(*ACTIONS_BY_ROLE.values())

SCOPES: dict[str, str] = {
    "run.submit": "Submit tasks, and see which kinds there are",
    "run.view": "Read every run of the tenant, with its texts and its audit trail",
    "run.cancel": "Cancel what it submitted",
    "run.pause": "Pause what it submitted, and resume what it paused",
}
"""A token's scopes are actions, each of which opens something in the API; here in words, for who gives them.

Deciding needs a person, and a token that made tokens would never expire.
"""
TOKEN_SCOPES = frozenset(SCOPES)

_SYSTEM_ACTIONS = ACTIONS - {"proposal.decide", "call.reconcile", "line.stop", "memory.curate", "alarm.handle"}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, as it is written into events.

    `roles` are the roles of a person in the tenant, or the scopes of a token. `user_id` is set for people only.
    `proved_at` is when a person last proved who they are, with a password; None where nobody knows.
    """

    kind: ActorKind
    id: str
    name: str
    roles: frozenset[str] = frozenset()
    user_id: int | None = None
    proved_at: datetime | None = field(default=None, compare=False)

    @classmethod
    def user(cls, user: AbstractBaseUser, roles: Iterable[str], proved_at: datetime | None = None) -> Self:
        """Return the actor for a signed-in person with these roles in the tenant."""
        named = frozenset(str(role) for role in roles)
        return cls("user", str(user.pk), user.get_username(), named, user.pk, proved_at)

    @classmethod
    def token(cls, token_id: int, name: str, scopes: Iterable[str]) -> Self:
        """Return the actor for a program that showed a service token."""
        return cls("token", str(token_id), name, frozenset(scopes) & TOKEN_SCOPES)


WORKER = Actor("worker", "worker", "Worker")
SYSTEM = Actor("system", "system", "System")


def can(actor: Actor, action: str) -> bool:
    """Say whether the actor may do `action` in the tenant it acts in. Unknown actions and roles are refused."""
    match actor.kind:
        case "user":
            return any(action in ACTIONS_BY_ROLE.get(role, frozenset()) for role in actor.roles)
        case "token":
            return action in actor.roles and action in TOKEN_SCOPES
        case "system":
            return action in _SYSTEM_ACTIONS
        case "worker":
            return False


def roles_with(action: str) -> tuple[str, ...]:
    """Return the roles that may do `action`."""
    return tuple(role for role, actions in ACTIONS_BY_ROLE.items() if action in actions)


def demand(actor: Actor, action: str) -> None:
    """Raise `PermissionDenied` unless the actor may do `action`."""
    if not can(actor, action):
        raise PermissionDenied(f"This needs the right {action}.")


def require(action: str) -> Callable[[V], V]:
    """Let only actors who may do `action` into a (sync or async) view; others get 403."""
    if action not in ACTIONS:
        raise ValueError(f"Unknown action {action!r}: no role has it.")

    def decorate(view: V) -> V:
        def check(request: HttpRequest) -> None:
            actor = getattr(request, "actor", None)
            if not isinstance(actor, Actor) or not can(actor, action):
                raise PermissionDenied(f"This needs the right {action}.")

        if iscoroutinefunction(view):

            @wraps(view)
            async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                check(request)
                return await view(request, *args, **kwargs)
        else:

            @wraps(view)
            def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
                check(request)
                return view(request, *args, **kwargs)

        return cast(V, guarded)

    return decorate
