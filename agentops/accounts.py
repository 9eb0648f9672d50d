"""Who may have an account: people are invited by an admin, nobody signs up."""

import logging
from datetime import UTC, datetime
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import default_token_generator
from allauth.account.internal.flows.login import get_authentication_records
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.http import HttpRequest
from django.urls import reverse

log = logging.getLogger(__name__)

NAME: Final = "AgentOps"


class InvitedOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Close the sign-up door; write letters that say where they come from, whoever asked for them."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Refuse every sign-up."""
        return False

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the address of the desk, where that is known: the host of a request is whatever was sent."""
        path = reverse("account_reset_password_from_key", args=key.split("-", 1))
        return f"{settings.SITE_URL.rstrip('/')}{path}" if settings.SITE_URL else self.request.build_absolute_uri(path)

    def format_email_subject(self, subject: str) -> str:
        """Begin with the name of the product."""
        return f"[{NAME}] {subject}"

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a letter in a thread of its own.

        Only people with an account get one. If the answer waited for the mail server, or failed with it, it would say
        who they are.
        """
        site = {"name": NAME, "domain": urlsplit(settings.SITE_URL).netloc or self.request.get_host()}
        about = {"request": self.request, "email": email, "current_site": site, **context}
        Thread(target=_send, args=(self.render_mail(template_prefix, email, about),), name="mail").start()


def _send(letter: EmailMessage) -> None:
    try:
        letter.send()
    except Exception:
        log.exception("a letter about an account was not sent")


def password_link(user: User) -> str:
    """Return the address where this person can choose a password once, as the e-mail of a forgotten one has it."""
    key = default_token_generator.make_token(user)
    path = reverse("account_reset_password_from_key", args=[user_pk_to_url_str(user), key])
    return f"{settings.SITE_URL.rstrip('/')}{path}"


def authenticated_at(request: HttpRequest) -> datetime | None:
    """Return when this session last proved who the signed-in person is; None if nobody knows."""
    moments = [one.get("at") for one in get_authentication_records(request, request.user)]
    known = [moment for moment in moments if isinstance(moment, int | float)]
    return datetime.fromtimestamp(max(known), UTC) if known else None
