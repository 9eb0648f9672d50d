"""Verify the hash chains of the audit trail."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentops.audit.verify import verify_tenants
from agentops.tenancy.models import Tenant


class Command(BaseCommand):
    """Walk every chain; exit with 1 and name the first bad event of each broken stream."""

    help = (
        "Walk the hash chains of one or all tenants. Exit code 0: every event is what was written. Exit code 1: the "
        "first bad event of each broken stream is named. A stream that was removed as a whole is not noticed: that "
        "needs an anchor outside of this database."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take a tenant's slug."""
        parser.add_argument("--tenant", metavar="SLUG", help="Verify this tenant only.")
        parser.add_argument(
            "--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="Walk in so many processes at once."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Report one line for each tenant and each finding."""
        tenants = Tenant.objects.order_by("slug")
        if options["tenant"]:
            tenants = tenants.filter(slug=options["tenant"])
            if not tenants:
                raise CommandError(f"There is no tenant {options['tenant']}.", returncode=2)
        broken = 0
        for tenant, report in verify_tenants(list(tenants), processes=max(1, options["processes"])):
            broken += len(report.findings)
            for finding in report.findings:
                self.stdout.write(f"{tenant.slug}: {finding}")
            verdict = f"{len(report.findings)} broken" if report.findings else "intact"
            gone = f", {report.removed} removed by retention" if report.removed else ""
            self.stdout.write(
                f"{tenant.slug}: {report.events} events proven in {report.streams} streams{gone}, {verdict}"
            )
        if broken:
            raise CommandError(
                f"The audit trail is broken in {broken} stream{'s' if broken > 1 else ''}.", returncode=1
            )
