"""The release runs the demonstration's suites: every playbook still does what it did when they were recorded."""

import pytest
from django.utils import timezone

from agentops.regression.planning import SHIPPED, planned_of_files, suites_in
from agentops.regression.setups import DEMONSTRATED
from agentops.regression.suites import run_suite

SUITES = {path.stem: (path, suite) for path, suite in suites_in([SHIPPED])}


def test_every_task_type_of_the_demonstration_has_a_suite() -> None:
    assert {suite.task_type for _, suite in SUITES.values()} == set(DEMONSTRATED)


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(SUITES))
def test_a_suite_of_the_demonstration_passes(name: str) -> None:
    (planned,) = planned_of_files([SUITES[name]], now=timezone.now())
    shown = run_suite(planned)
    told = [f"{one.case.id}: {p.message}" for one in shown.cases if one.failing for p in one.failing.problems]
    assert told == []
