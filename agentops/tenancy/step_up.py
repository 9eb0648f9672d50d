"""The page on which people prove once more who they are, before an act that loosens rules (`tenancy.proof`).

A form that needs it is answered with 428 and a page that holds all of it, signed, and asks for a passkey, a code or
the password. The page posts to the same address, whose view goes on with the form as it was sent; nothing has to be
typed again.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from functools import wraps
from typing import Any, Final, TypeVar, cast

from allauth.core import ratelimit
from django.contrib.auth.models import User
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render

from agentops.factors import Way, challenge, proves, way_of, ways_of
from agentops.proving import authenticated_at
from agentops.tenancy.access import Actor
from agentops.tenancy.journal import record
from agentops.wire.parse import JSONObject

FIELD: Final = "step_up"
"""The field of a form that carries another one, signed."""
SALT: Final = "tenancy.step_up"
KEPT: Final = timedelta(minutes=10)
"""A form that was kept for longer is kept once more instead of being taken."""
NO_PASSWORD: Final = "Your account has no password and no second factor to ask for; somebody else has to do this."  # noqa: S105
V = TypeVar("V", bound=Callable[..., HttpResponse])


class Proof(StrEnum):
    """What became of a passkey, a code or a password."""

    RIGHT = "right"
    WRONG = "wrong"
    TOO_MANY = "too_many"
    IMPOSSIBLE = "impossible"


def prove(request: HttpRequest, *, subject: tuple[str, str]) -> Proof:
    """Check the posted proof of the signed-in person, and remember that it was right; either is an event.

    Who has a second factor proves it by that: the password alone is not looked at.
    """
    actor = getattr(request, "actor", None)
    if not isinstance(actor, Actor) or not isinstance(request.user, User):
        return Proof.IMPOSSIBLE
    ways = ways_of(request.user)
    if not ways:
        return Proof.IMPOSSIBLE
    if not ratelimit.consume(request, action="reauthenticate", user=request.user):
        return Proof.TOO_MANY
    way = way_of(request.POST, ways)
    right = proves(request, request.user, way, request.POST)
    with transaction.atomic():
        told: JSONObject = {"by": way.label}
        record("auth.step_up" if right else "auth.step_up_failed", told, subject=subject, actor=actor)
    return Proof.RIGHT if right else Proof.WRONG


def refusal(request: HttpRequest) -> str:
    """Return what somebody is told whose posted proof proves nothing."""
    return way_of(request.POST, tuple(Way)).wrong


def proofs(request: HttpRequest) -> dict[str, Any]:
    """Return what `tenancy/_proof.html` asks the signed-in person for.

    `passkey` is what the browser needs to ask for one, or None; `code` and `password` whether these will do.
    """
    user = request.user
    ways = ways_of(user) if isinstance(user, User) else ()
    return {
        "passkey": {"request_options": challenge(user)} if Way.PASSKEY in ways and isinstance(user, User) else None,
        "code": Way.CODE in ways,
        "password": Way.PASSWORD in ways,
    }


def ask(request: HttpRequest, *, title: str = "", status: int = 428) -> HttpResponse:
    """Answer 428: a page that keeps the posted form and asks for the password. Its view has to be one that `resumes`.

    Context of `tenancy/step_up.html`: `kept` the signed form, `title` what went wrong or empty, `proof` as `proofs`.
    """
    context = {"kept": _signed(request, request.POST), "title": title}
    return _answer(request, context, status)


def resumes(view: V) -> V:
    """Let a view go on with a form that `ask` has kept, once the proof is right.

    428 for a wrong proof and for a form that was kept too long, which is kept on; 429 for too many tries, 403 for an
    account without any, 422 for a form that is not this person's, or not for this address.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        kept = request.POST.get(FIELD) if request.method == "POST" else None
        if kept is None:
            return view(request, *args, **kwargs)
        posted, late = _read(request, kept)
        if posted is None:
            return _answer(request, {"kept": "", "title": "This form cannot be read. Open the page again."}, 422)
        wrong = "That took too long." if late else refusal(request)
        proof = Proof.WRONG if late else prove(request, subject=("user", str(request.user.pk)))
        request.POST = posted  # type: ignore[assignment]  # what the view reads, and nobody before it
        match proof:
            case Proof.RIGHT:
                actor = cast(Actor, request.actor)  # type: ignore[attr-defined]  # `prove` has seen it
                request.actor = replace(actor, proved_at=authenticated_at(request))  # type: ignore[attr-defined]
                return view(request, *args, **kwargs)
            case Proof.IMPOSSIBLE:
                return _answer(request, {"kept": "", "title": NO_PASSWORD}, 403)
            case Proof.TOO_MANY:
                return ask(request, title="Too many tries. Wait a minute.", status=429)
            case Proof.WRONG:
                return ask(request, title=wrong)

    return cast(V, guarded)


def _answer(request: HttpRequest, context: dict[str, Any], status: int) -> HttpResponse:
    asked = {"proof": proofs(request)} if context["kept"] else {}
    response = render(request, "tenancy/step_up.html", context | asked, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _signed(request: HttpRequest, posted: QueryDict) -> str:
    kept = posted.copy()
    for name in ("csrfmiddlewaretoken", *Way, FIELD):
        kept.pop(name, None)
    return signing.dumps([request.user.pk, request.path, kept.urlencode()], salt=SALT, compress=True)


def _read(request: HttpRequest, text: str) -> tuple[QueryDict | None, bool]:
    """Return what this person posted to this address, None if it is not that; and whether that is too long ago."""
    late = False
    try:
        body = signing.loads(text, salt=SALT, max_age=KEPT)
    except signing.SignatureExpired:
        body, late = signing.loads(text, salt=SALT), True
    except (signing.BadSignature, ValueError):
        return None, False
    match body:
        case [int(user), str(path), str(posted)] if (user, path) == (request.user.pk, request.path):
            return QueryDict(posted), late
        case _:
            return None, False
