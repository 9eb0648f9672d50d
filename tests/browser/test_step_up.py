"""An admin who publishes a policy long after signing in says once more who they are, and types nothing twice."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from agentops.changes.outcomes import Proposed
from agentops.tenancy.access import Actor
from agentops.tenancy.models import Tenant
from approvals.models import PolicyVersion
from approvals.permits import policies
from tests.browser.access import faults_here
from tests.browser.conftest import OpenBrowser
from tests.conftest import PASSWORD, person

pytestmark = pytest.mark.browser
TEXT = "policy: 1\nrules: [{id: night, when: time.hour < 6, effect: deny}]\n"
NOTE = 'Read, and "understood" <all of it>.'


@pytest.mark.parametrize("scripts", [True, False])
def test_a_policy_is_published_with_the_password_and_the_note_that_was_typed_before(
    shop: Tenant,
    alice: User,
    actor_of: Callable[[User, Tenant], Actor],
    open_browser: OpenBrowser,
    scripts: bool,
) -> None:
    outcome = policies.propose(text=TEXT, effective_at=None, note="The board says so.", actor=actor_of(alice, shop))
    assert isinstance(outcome, Proposed)
    adam = person("adam", shop, "admin")
    # A session that does not know when it was signed in.
    page: Page = open_browser(adam, javascript=scripts)
    page.goto("policy")
    page.get_by_label("Note").fill(NOTE)
    page.get_by_role("button", name="Publish it").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Say who you are")
    if scripts:
        assert faults_here(page) == []
    page.get_by_label("Password of").fill("not this one")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("alert")).to_contain_text("That is not your password.")
    assert PolicyVersion.objects.get().status == "proposed"
    page.get_by_label("Password of").fill(PASSWORD)
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", name="Version 1 is in force")).to_be_visible()
    row = PolicyVersion.objects.get()
    assert (row.status, row.decided_by, row.decision_note) == ("active", adam, NOTE)
