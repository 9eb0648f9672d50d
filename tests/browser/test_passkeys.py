"""Passkeys, with a device that the browser makes up: added, signed in with, and asked for before a rule is loosened."""

from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from playwright.sync_api import BrowserContext, Page, expect

from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from approvals.models import PolicyVersion
from approvals.permits import policies
from tests.browser.access import faults_here
from tests.browser.conftest import Watch, session_of
from tests.conftest import PASSWORD, person

pytestmark = pytest.mark.browser
DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture
def page(site_url: str, new_context: Callable[..., BrowserContext]) -> Page:
    """Return a page of a browser whose device keeps passkeys. They are for names, and 127.0.0.1 is none."""
    origin = site_url.replace("127.0.0.1", "localhost")
    context = new_context(base_url=origin)
    watch = Watch(origin)
    watch.follow(context)
    made = context.new_page()
    device: Any = context.new_cdp_session(made)
    device.send("WebAuthn.enable")
    device.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    return made


def sign_in(page: Page, user: User) -> None:
    page.goto("/sign-in")
    page.get_by_label("Email").fill(user.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_passkey_opens_the_account_and_loosens_rules_in_place_of_the_password(
    shop: Tenant, alice: User, actor_of: Callable[[User, Tenant], Actor], page: Page
) -> None:
    text = "policy: 1\nrules: [{id: night, when: time.hour < 6, effect: deny}]\n"
    policies.propose(text=text, effective_at=None, note="The board says so.", actor=actor_of(alice, shop))
    adam = person("adam", shop, "admin")
    sign_in(page, adam)
    page.wait_for_url(lambda url: "/sign-in" not in url)
    page.goto("/account/factors/")
    assert faults_here(page) == []
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    page.get_by_label("Name").fill("My laptop")
    assert faults_here(page) == []
    page.get_by_role("button", name="Ask my device").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    assert faults_here(page) == []
    assert page.locator(".codes li").count() == 10
    page.goto("/account/factors/")
    expect(page.get_by_text("My laptop")).to_be_visible()
    assert faults_here(page) == []
    assert Authenticator.objects.filter(user=adam, type=Authenticator.Type.WEBAUTHN).count() == 1

    page.context.clear_cookies()
    sign_in(page, adam)
    expect(page.get_by_role("heading", level=1)).to_have_text("One more thing")
    assert faults_here(page) == []
    page.get_by_role("button", name="Use your passkey").click()
    page.wait_for_url(lambda url: "authenticate" not in url)

    page.context.clear_cookies()
    page.goto("/sign-in?next=/t/acme/policy")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("button", name="Publish it")).to_be_visible()

    # A session that does not know when it was signed in.
    page.context.clear_cookies()
    page.context.add_cookies([session_of(adam, page.url)])
    page.goto("/t/acme/policy")
    page.get_by_label("Note").fill("Read, all of it.")
    page.get_by_role("button", name="Publish it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Say who you are")
    assert faults_here(page) == []
    assert page.get_by_label("Password").count() == 0
    page.get_by_role("button", name="Use your passkey").click()
    expect(page.get_by_role("heading", name="Version 1 is in force")).to_be_visible()
    assert PolicyVersion.objects.get().decision_note == "Read, all of it."


def test_a_device_that_gives_none_leaves_everything_as_it_was(
    shop: Tenant, bob: User, page: Page, site_url: str
) -> None:
    page.goto("/sign-in")
    device: Any = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("No passkey was given. Try again.")).to_be_visible()
    sign_in(page, bob)
    page.wait_for_url(lambda url: "/sign-in" not in url)
