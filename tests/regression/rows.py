"""Rows that pages of suites show."""

from django.utils import timezone

from agentops.regression.models import Case, CaseResult, SuiteRun


def failed_suite_run(case: Case, *, release: str = "1.1 <b>") -> SuiteRun:
    """Return a run of a suite in which its one case is flaky, compared with an earlier release."""
    now = timezone.now()
    comparison = {
        "baseline": "1.0",
        "paired": 1,
        "newly_failing": [case.slug],
        "newly_passing": [],
        "newly_flaky": [],
        "added": [],
        "gone": [],
        "p": 1.0,
        "verdict": "too few",
    }
    counts = {"cases": 1, "passed": 0, "failed": 1, "flaky": 1, "quarantined": 0}
    row = SuiteRun.objects.create(
        suite=case.suite,
        release=release,
        repeat=2,
        verdict="failed",
        started_at=now,
        ended_at=now,
        summary={**counts, "pass_hat": {"1": 0.5, "2": 0.0}, "comparison": comparison},
    )
    CaseResult.objects.create(
        suite_run=row,
        slug=case.slug,
        title=case.title,
        passes=1,
        trials=2,
        problems=[{"code": "state", "message": "The run failed <i>"}],
    )
    return row
