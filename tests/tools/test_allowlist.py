"""What is not listed is denied."""

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from agentops.runs.models import TaskType
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope
from tools.allowlist import AllowlistRule, AllowlistState, allowed_tools, lookup
from tools.models import AllowlistEntry

pytestmark = pytest.mark.django_db


@pytest.fixture
def support(scoped: Tenant) -> TaskType:
    return TaskType.objects.create(slug="support", name="Support", input_schema={})


def test_a_tool_without_a_rule_is_denied(support: TaskType) -> None:
    assert lookup(support.pk, "shop.issue_refund") == AllowlistRule("shop.issue_refund", AllowlistState.DENIED)
    assert lookup(0, "anything").state == AllowlistState.DENIED


def test_a_rule_is_found_by_task_type_and_tool(support: TaskType) -> None:
    other = TaskType.objects.create(slug="other", name="Other", input_schema={})
    AllowlistEntry.objects.create(task_type=support, tool="mail.read", state="auto", max_calls=3, note="Reads only.")
    assert lookup(support.pk, "mail.read") == AllowlistRule(
        "mail.read", AllowlistState.AUTO, max_calls=3, note="Reads only."
    )
    assert lookup(other.pk, "mail.read").state == AllowlistState.DENIED


def test_denied_rules_are_not_offered(support: TaskType) -> None:
    for tool, state in (("mail.send", "gated"), ("mail.read", "auto"), ("customer.erase", "denied")):
        AllowlistEntry.objects.create(task_type=support, tool=tool, state=state)
    assert [(rule.tool, rule.state) for rule in allowed_tools(support.pk)] == [
        ("mail.read", "auto"),
        ("mail.send", "gated"),
    ]


def test_another_tenants_rules_do_not_count(acme: Tenant, globex: Tenant) -> None:
    with tenant_scope(acme):
        task_type = TaskType.objects.create(slug="support", name="Support", input_schema={})
        AllowlistEntry.objects.create(task_type=task_type, tool="mail.read", state="auto")
    with tenant_scope(globex):
        assert lookup(task_type.pk, "mail.read").state == AllowlistState.DENIED
        assert allowed_tools(task_type.pk) == []


def test_one_rule_per_tool(support: TaskType) -> None:
    AllowlistEntry.objects.create(task_type=support, tool="mail.read", state="auto")
    with pytest.raises(IntegrityError), transaction.atomic():
        AllowlistEntry.objects.create(task_type=support, tool="mail.read", state="gated")


def test_an_unknown_state_cannot_be_stored(support: TaskType) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        AllowlistEntry.objects.create(task_type=support, tool="mail.read", state="sometimes")


@pytest.mark.parametrize("version", ["1", "1.0", "1.0.0\n", "01.0.0", "latest"])
def test_a_version_bound_is_three_numbers(support: TaskType, version: str) -> None:
    entry = AllowlistEntry(task_type=support, tool="mail.read", state="auto", min_version=version)
    with pytest.raises(ValidationError, match="three numbers"):
        entry.clean_fields(exclude=["tenant"])


@pytest.mark.parametrize(
    ("low", "high", "version", "admitted"),
    [
        ("", "", "9.9.9", True),
        ("1.2.0", "", "1.10.0", True),
        ("1.2.0", "", "1.1.9", False),
        ("", "1.2.0", "1.2.0", True),
        ("", "1.2.0", "1.2.1", False),
        ("1.0.0", "1.9.9", "2.0.0", False),
    ],
)
def test_a_rule_admits_versions_in_its_range(low: str, high: str, version: str, admitted: bool) -> None:
    rule = AllowlistRule("t", AllowlistState.AUTO, min_version=low, max_version=high)
    assert rule.admits(version) is admitted
