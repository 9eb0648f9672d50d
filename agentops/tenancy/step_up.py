"""The page on which people prove once more who they are, before an act that loosens rules (`tenancy.proof`).

A form that needs it is answered with 428 and a page that holds all of it, signed, beside a field for the password. The
page posts to the same address, whose view goes on with the form as it was sent; nothing has to be typed again.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from functools import wraps
from typing import Any, Final, TypeVar, cast

from allauth.account.forms import ReauthenticateForm
from allauth.account.internal.flows.reauthentication import reauthenticate_by_password
from allauth.core import ratelimit
from django.contrib.auth.models import User
from django.core import signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render

from agentops.accounts import authenticated_at
from agentops.tenancy.access import Actor
from agentops.tenancy.journal import record

FIELD: Final = "step_up"
"""The field of a form that carries another one, signed."""
SALT: Final = "tenancy.step_up"
KEPT: Final = timedelta(minutes=10)
"""A form that was kept for longer is kept once more instead of being taken."""
NO_PASSWORD: Final = "Your account has no password to ask for; somebody else has to do this."  # noqa: S105

V = TypeVar("V", bound=Callable[..., HttpResponse])


class Proof(StrEnum):
    """What became of a password."""

    RIGHT = "right"
    WRONG = "wrong"
    TOO_MANY = "too_many"
    IMPOSSIBLE = "impossible"


def prove(request: HttpRequest, *, subject: tuple[str, str]) -> Proof:
    """Check the posted password of the signed-in person, and remember that it was right; either is an event."""
    actor = getattr(request, "actor", None)
    if not isinstance(actor, Actor) or not isinstance(request.user, User) or not request.user.has_usable_password():
        return Proof.IMPOSSIBLE
    if not ratelimit.consume(request, action="reauthenticate", user=request.user):
        return Proof.TOO_MANY
    form = ReauthenticateForm(data={"password": request.POST.get("password", "")}, user=request.user)
    right = form.is_valid()
    if right:
        reauthenticate_by_password(request)
    with transaction.atomic():
        record("auth.step_up" if right else "auth.step_up_failed", {}, subject=subject, actor=actor)
    return Proof.RIGHT if right else Proof.WRONG


def ask(request: HttpRequest, *, title: str = "", status: int = 428) -> HttpResponse:
    """Answer 428: a page that keeps the posted form and asks for the password. Its view has to be one that `resumes`.

    Context of `tenancy/step_up.html`: `kept` the signed form, `title` what went wrong or empty.
    """
    context = {"kept": _signed(request, request.POST), "title": title}
    return _answer(request, context, status)


def resumes(view: V) -> V:
    """Let a view go on with a form that `ask` has kept, once the password is right.

    428 for a wrong password and for a form that was kept too long, which is kept on; 429 for too many tries, 403 for an
    account without a password, 422 for a form that is not this person's, or not for this address.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        kept = request.POST.get(FIELD) if request.method == "POST" else None
        if kept is None:
            return view(request, *args, **kwargs)
        posted, late = _read(request, kept)
        if posted is None:
            return _answer(request, {"kept": "", "title": "This form cannot be read. Open the page again."}, 422)
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
                return ask(request, title="That took too long." if late else "That is not your password.")

    return cast(V, guarded)


def _answer(request: HttpRequest, context: dict[str, Any], status: int) -> HttpResponse:
    response = render(request, "tenancy/step_up.html", context, status=status)
    response.headers["Cache-Control"] = "no-store"
    return response


def _signed(request: HttpRequest, posted: QueryDict) -> str:
    kept = posted.copy()
    for name in ("csrfmiddlewaretoken", "password", FIELD):
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
