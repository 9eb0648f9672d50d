"""People at the desk without a browser: they open the card, wait as long as it wants them to, and press a button."""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.contrib.auth.models import User
from django.test import Client

from tests.proof.visitors import Page

NOT_YET = 422
PATIENCE_S = 40.0
PASSWORD = "look-before-you-approve"
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


def signed_in(user: User) -> Client:
    """Return a client of this process that is signed in."""
    client = Client(SERVER_NAME="127.0.0.1")
    client.force_login(user, backend=BACKEND)
    session = client.session
    # As the page for signing in notes it: with the password, just now.
    session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    return client


def cookie_of(user: User) -> str:
    """Return the value of a session cookie, for browsers and programs that talk to the real server."""
    return str(signed_in(user).cookies["sessionid"].value)


def decide(client: Client, slug: str, proposal_id: UUID, verdict: str, **typed: str) -> None:
    """Press a button of a card and make sure that it counted; a card that wants to be read first is read."""
    path = f"/t/{slug}/proposals/{proposal_id}"
    until = time.monotonic() + PATIENCE_S
    answer = client.get(path)
    while True:
        page = Page(path, answer.status_code, answer.content.decode())
        form = page.form_with("decision", verdict)
        assert form is not None, f"{path} ({page.status}) has no button {verdict}"
        values: Mapping[str, str] = form.values | typed | {"decision": verdict}
        pressed: Any = client.post(urlsplit(form.action).path or path, dict(values))
        if pressed.status_code != NOT_YET or time.monotonic() > until:
            break
        time.sleep(1)
    assert pressed.status_code in (200, 202, 302), f"{path}: {pressed.status_code}\n{pressed.content.decode()[:3000]}"
