"""Run regression suites, and write what they are."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentops import clock
from agentops.regression.cases import BadCases, json_schema, read_case, write_suite
from agentops.regression.models import Case, SuiteRun
from agentops.regression.paying import purse_of
from agentops.regression.planning import SHIPPED, planned_of_files, planned_of_tenant, suites_in
from agentops.regression.reports import BadReport, junit, read_outcomes, report
from agentops.regression.selectors import tenants_named
from agentops.regression.services import baseline_of, outcomes_of, record_suite_run
from agentops.regression.statistics import Outcome
from agentops.regression.suites import MAX_REPEAT, Planned, Shown, run_suite
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope


class Command(BaseCommand):
    """`run` suites, `export` those of a tenant as files, or print the `schema` of files."""

    help = (
        "Run regression suites: the real engine against recorded answers, in a tenant that is never committed. "
        "Exit code 0: every case passed every time. 1: a case failed that is not in quarantine. 2: a name or a file is "
        "wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do and with which suites."""
        what = parser.add_subparsers(dest="what", required=True)
        run = what.add_parser("run", help="Run suites.")
        run.add_argument("--tenant", metavar="SLUG", help="The suites and task types of this tenant.")
        run.add_argument("--suite", action="append", metavar="S", help="This suite only; may be said again.")
        run.add_argument("--files", nargs="+", metavar="PATH", type=Path, help="Suites in files or directories.")
        run.add_argument("--repeat", type=int, default=1, metavar="K", help="Trials of every case, for pass^k.")
        run.add_argument("--live", action="store_true", help="Ask the configured models; tools stay scripted.")
        run.add_argument("--release", default=os.environ.get("AGENTOPS_RELEASE", "local"), help="What is tested.")
        run.add_argument("--baseline", default="", metavar="RELEASE", help="Compare with this release.")
        run.add_argument("--baseline-file", metavar="FILE", type=Path, help="Compare with what --json once wrote.")
        run.add_argument("--junit", metavar="FILE", type=Path, help="Write JUnit XML.")
        run.add_argument("--json", metavar="FILE", help="Write everything as JSON; - is standard output.")
        run.add_argument("--no-record", action="store_true", help="Do not keep the results in the tenant.")
        export = what.add_parser("export", help="Write the cases of a tenant's suite as YAML.")
        export.add_argument("--tenant", metavar="SLUG", required=True)
        export.add_argument("--suite", metavar="S", required=True)
        export.add_argument("--output", metavar="FILE", type=Path)
        what.add_parser("schema", help="Print the JSON Schema of suites.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what was asked for."""
        try:
            match options["what"]:
                case "schema":
                    self.stdout.write(json.dumps(json_schema(), indent=2))
                case "export":
                    self.export(options)
                case _:
                    self.run_all(options)
        except (BadCases, BadReport) as error:
            raise CommandError(str(error), returncode=2) from error

    # --- run --------------------------------------------------------------------------------------------------------

    def run_all(self, options: dict[str, Any]) -> None:
        """Run the suites that are wanted and say what they have shown."""
        if not 1 <= options["repeat"] <= MAX_REPEAT:
            raise CommandError(f"--repeat is 1 to {MAX_REPEAT}.", returncode=2)
        tenant = self.tenant(options["tenant"]) if options["tenant"] else None
        began = clock.now()
        plans = self.wanted(tenant, options, began)
        release, before = self.before(options, tenant, plans)
        shown: list[Shown] = []
        for plan in plans:
            label, outcomes, _ = before.get(plan.suite, ("", None, None))
            live = options["live"]
            purse = purse_of(tenant, plan.task_type) if live and tenant is not None else None
            one = run_suite(plan, repeat=options["repeat"], baseline=label, before=outcomes, live=live, purse=purse)
            shown.append(one)
            if options["json"] != "-":
                self.tell(one)
        if tenant is not None and not options["no_record"]:
            with tenant_scope(tenant):
                for one in shown:
                    baseline = before.get(one.planned.suite, ("", None, None))[2]
                    record_suite_run(
                        shown=one, release=release, baseline=baseline, actor=SYSTEM, started_at=began, now=clock.now()
                    )
        self.write(shown, options)
        failing = sum(not one.passed for one in shown)
        if failing:
            raise CommandError(f"{failing} of {len(shown)} suites failed.", returncode=1)

    def wanted(self, tenant: Tenant | None, options: dict[str, Any], now: datetime) -> list[Planned]:
        """Return the suites to run."""
        paths = options["files"] or ([] if tenant is not None else [SHIPPED])
        found = suites_in(paths)
        if tenant is None:
            plans = planned_of_files(found, now=now)
        else:
            with tenant_scope(tenant):
                plans = planned_of_tenant(found, now=now)
        names = options["suite"]
        if names:
            missing = sorted(set(names) - {plan.suite for plan in plans})
            if missing:
                raise CommandError(f"There is no suite {missing[0]}.", returncode=2)
            plans = [plan for plan in plans if plan.suite in names]
        if not plans:
            raise CommandError("There is no case to run.", returncode=2)
        return plans

    def before(
        self, options: dict[str, Any], tenant: Tenant | None, plans: Sequence[Planned]
    ) -> tuple[str, dict[str, tuple[str, Mapping[str, Outcome], SuiteRun | None]]]:
        """Return the release, and by suite the baseline's name, outcomes and row."""
        release = str(options["release"])[:120]
        if options["baseline_file"] is not None:
            try:
                raw = options["baseline_file"].read_bytes()
            except OSError as error:
                raise CommandError(f"{options['baseline_file']}: {error.strerror}", returncode=2) from error
            label, outcomes = read_outcomes(raw)
            return release, {suite: (label, found, None) for suite, found in outcomes.items()}
        if tenant is None:
            if options["baseline"]:
                raise CommandError("Without --tenant, say --baseline-file.", returncode=2)
            return release, {}
        found: dict[str, tuple[str, Mapping[str, Outcome], SuiteRun | None]] = {}
        with tenant_scope(tenant):
            for plan in plans:
                row = baseline_of(plan.suite, release, options["baseline"])
                if row is not None:
                    found[plan.suite] = (row.release, outcomes_of(row), row)
        if options["baseline"] and not found:
            raise CommandError(f"No suite was run on release {options['baseline']}.", returncode=2)
        return release, found

    def tell(self, one: Shown) -> None:
        """Print what a suite has shown."""
        summary = one.summary()
        estimates = summary["pass_hat"]
        assert isinstance(estimates, dict)
        told = ", ".join(f"pass^{k} {value:.2f}" for k, value in estimates.items() if k in ("1", str(one.repeat)))
        verdict = "passed" if one.passed else "FAILED"
        self.stdout.write(f"{one.planned.suite}: {verdict}, {len(one.cases)} cases, {told or 'all in quarantine'}")
        for case in one.cases:
            if case.failing is None:
                continue
            rests = " (in quarantine)" if case.outcome.quarantined else ""
            self.stdout.write(f"  {case.case.id}: {case.outcome.passes} of {case.outcome.trials} passed{rests}")
            for problem in case.failing.problems:
                self.stdout.write(f"    {problem.message}")
        if one.comparison is not None:
            c = one.comparison
            self.stdout.write(
                f"  against {c.baseline}: {c.verdict} ({len(c.newly_failing)} newly failing, "
                f"{len(c.newly_passing)} newly passing of {c.paired}; McNemar p {c.p:.3f})"
            )

    def write(self, shown: Sequence[Shown], options: dict[str, Any]) -> None:
        """Write the files that were asked for."""
        if options["junit"] is not None:
            options["junit"].write_text(junit(shown), "utf-8")
        if options["json"]:
            text = json.dumps(report(shown, str(options["release"])), ensure_ascii=False, indent=2)
            if options["json"] == "-":
                self.stdout.write(text)
            else:
                Path(options["json"]).write_text(text + "\n", "utf-8")

    # --- export -----------------------------------------------------------------------------------------------------

    def export(self, options: dict[str, Any]) -> None:
        """Write a tenant's suite as a file that can be committed."""
        with tenant_scope(self.tenant(options["tenant"])):
            rows = list(
                Case.objects.filter(suite=options["suite"], retired_at__isnull=True).order_by("created_at", "id")
            )
        if not rows:
            raise CommandError(f"There is no suite {options['suite']}.", returncode=2)
        text = write_suite(options["suite"], rows[0].task_type, [read_case(row.body) for row in rows])
        if options["output"] is not None:
            options["output"].write_text(text, "utf-8")
        else:
            self.stdout.write(text, ending="")

    def tenant(self, slug: str) -> Tenant:
        """Return the tenant."""
        found = tenants_named(slug)
        if not found:
            raise CommandError(f"There is no tenant {slug}.", returncode=2)
        return found[0]
