"""Second factors: passkeys, codes of an authenticator app and recovery codes. allauth keeps and checks them."""

import base64
import secrets
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, cast

from allauth.account.forms import ReauthenticateForm as PasswordForm
from allauth.account.internal.flows.reauthentication import reauthenticate_by_password
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import ReauthenticateForm as CodeForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import AddWebAuthnForm, ReauthenticateWebAuthnForm
from allauth.mfa.webauthn.internal.auth import begin_authentication
from cryptography.fernet import InvalidToken
from django import forms
from django.contrib.auth.models import User
from django.http import HttpRequest, QueryDict

from agentops.proving import proved
from agentops.sealing import box

NAME: Final = "AgentOps Desk"
_PURPOSE: Final = "agentops second factors"


class Way(StrEnum):
    """How somebody proves who they are. The name of the form field that carries the proof."""

    PASSKEY = "credential"
    CODE = "code"
    PASSWORD = "password"  # noqa: S105 - a name

    @property
    def label(self) -> str:
        """What events call it."""
        return {Way.PASSKEY: "passkey", Way.CODE: "code", Way.PASSWORD: "password"}[self]

    @property
    def wrong(self) -> str:
        """What is said where it does not prove anything."""
        return {
            Way.PASSKEY: "That passkey was not accepted.",
            Way.CODE: "That is not the code of now, or it was used already.",
            Way.PASSWORD: "That is not your password.",
        }[self]


def ways_of(user: User) -> tuple[Way, ...]:
    """Return how a person can prove who they are: by their second factors, and only without any by their password.

    One query. Empty for an account that has neither.
    """
    kinds = set(Authenticator.objects.filter(user=user).values_list("type", flat=True))
    passkey = [Way.PASSKEY] if Authenticator.Type.WEBAUTHN in kinds else []
    # Who has only passkeys has recovery codes for the day when the key is lost; they are typed where codes are.
    code = [Way.CODE] if kinds & {Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES} else []
    if passkey or Authenticator.Type.TOTP in kinds:
        return (*passkey, *code)
    return (Way.PASSWORD,) if user.has_usable_password() else ()


def has_factor(request: HttpRequest) -> bool:
    """Whether the signed-in person has a second factor. A query only where this session has not seen one yet."""
    if proved(request).by_factor_at is not None:
        return True
    return bool(set(ways_of(cast(User, request.user))) - {Way.PASSWORD})


def way_of(posted: QueryDict, ways: Sequence[Way]) -> Way:
    """Return which of the ways somebody has posted; the last of them where it is none."""
    return next((one for one in ways if posted.get(one)), ways[-1])


def challenge(user: User) -> dict[str, Any]:
    """Return what a browser needs to ask for one of a person's passkeys (WebAuthn Level 3, `parseRequestOptions`).

    The session remembers it until it is answered. Only inside a request.
    """
    options: dict[str, Any] = begin_authentication(user)
    return options


def proves(request: HttpRequest, user: User, way: Way, posted: QueryDict) -> bool:
    """Check a proof and, if it is right, note in the session that the person has just proved who they are."""
    data = {way.value: posted.get(way.value, "")}
    form = _FORMS[way](data=data, user=user)
    if not form.is_valid():
        return False
    if way is Way.PASSWORD:
        reauthenticate_by_password(request)
    else:
        form.save()
    return True


_FORMS: Final = {Way.PASSKEY: ReauthenticateWebAuthnForm, Way.CODE: CodeForm, Way.PASSWORD: PasswordForm}


class Factors(DefaultMFAAdapter):  # type: ignore[misc]
    """Seals what has to be kept secret, and says who asks."""

    def encrypt(self, text: str) -> str:
        """Return a secret as it is stored."""
        return box(_PURPOSE).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return a stored secret; instead of one that a lost secret key has sealed another one, which no code fits."""
        try:
            return box(_PURPOSE).decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            return base64.b32encode(secrets.token_bytes(20)).decode()

    def get_totp_issuer(self) -> str:
        """Return the name that authenticator apps show."""
        return NAME

    def get_public_key_credential_rp_entity(self) -> dict[str, str]:
        """Return the site that passkeys are for: this host, by our name."""
        entity: dict[str, str] = super().get_public_key_credential_rp_entity()
        return entity | {"name": NAME}

    def generate_authenticator_name(self, user: User, type: Authenticator.Type) -> str:  # noqa: A002 - allauth's name
        """Suggest a name for the next passkey."""
        count = Authenticator.objects.filter(user=user, type=type).count()
        return f"Passkey {count + 1}"


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]
    """A new passkey, or a security key that needs the password beside it."""

    name = forms.CharField(required=False, max_length=60, label="Name", help_text="So that you can tell them apart.")
    passwordless = forms.BooleanField(
        required=False,
        initial=True,
        label="Sign in with it alone",
        help_text="Your device asks for its PIN, finger or face. Without this, it is asked for after your password.",
    )
