"""Who may have an account: people are invited by an admin, nobody signs up."""

import logging
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.core.mail import EmailMessage
from django.http import HttpRequest
from django.urls import reverse

from agentops.tenancy.links import told_outside

log = logging.getLogger(__name__)

NAME: Final = "AgentOps"


class InvitedOnlyAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Close the sign-up door; write letters that say where they come from, whoever asked for them."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Refuse every sign-up."""
        return False

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, str]]:
        """Return how somebody can prove again who they are: with a second factor where there is one, passkeys first."""
        found: list[dict[str, str]] = super().get_reauthentication_methods(user)
        factors = [one for one in found if one["id"] != "reauthenticate"]
        return sorted(factors, key=lambda one: "webauthn" not in one["id"]) or found

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Return the address of the desk, where that is known: the host of a request is whatever was sent."""
        path = reverse("account_reset_password_from_key", args=key.split("-", 1))
        return told_outside(path) if settings.SITE_URL else self.request.build_absolute_uri(path)

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
    return told_outside(path)
