"""Sessions and who they belong to, read by statements that are prepared: every request of a person begins with them."""

from typing import Any, Final, cast

from django.conf import settings
from django.contrib import auth
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.contrib.sessions.models import Session
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject

from agentops.tenancy.prepared import Query

_SESSION: Final = Query(lambda key, now: Session.objects.filter(session_key=key, expire_date__gt=now))
_PERSON: Final = Query(lambda pk: User.objects.filter(pk=pk))


class SessionStore(DatabaseSessionStore):
    """Django's sessions in the database; only the way in which one is found is another."""

    def _get_session_from_db(self) -> Any:
        key = self.session_key or ""
        # A quoted cookie can spell a NUL, which no text of PostgreSQL has.
        found = next(iter(_SESSION(key, timezone.now())), None) if "\0" not in key else None
        if found is None:
            self._session_key = None
        return found


class PersonMiddleware(AuthenticationMiddleware):
    """Set `request.user` to whoever is signed in, when somebody asks."""

    def process_request(self, request: HttpRequest) -> None:
        """Put the lazy user in place."""
        super().process_request(request)
        request.user = SimpleLazyObject(lambda: _person(request))  # type: ignore[assignment]


def _person(request: HttpRequest) -> User | AnonymousUser:
    known: Any = request
    if not hasattr(known, "_cached_user"):
        known._cached_user = _signed_in(request) or auth.get_user(request)  # noqa: SLF001 - as Django's middleware does
    return cast("User | AnonymousUser", known._cached_user)  # noqa: SLF001


def _signed_in(request: HttpRequest) -> User | None:
    """Return the active person of a session that the present secret vouches for; all else is Django's to judge."""
    kept = request.session
    pk, vouched = kept.get(auth.SESSION_KEY), kept.get(auth.HASH_SESSION_KEY)
    if not pk or not vouched or kept.get(auth.BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    found = next(iter(_PERSON(int(pk))), None)
    if found is None or not found.is_active or not constant_time_compare(vouched, found.get_session_auth_hash()):
        return None
    return found
