"""Count the whole record anew, for instance after a database was put together from parts."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Count

from agentops import clock
from agentops.metrics import aside
from agentops.metrics.models import RunFact
from agentops.metrics.rollup import roll_up, start_again
from agentops.tenancy.models import Tenant
from agentops.tenancy.scope import tenant_scope


class Command(BaseCommand):
    """Forget the rollups of a tenant, or of all, and make them again from the events."""

    help = "Make the rollups of metrics anew from the record. Alarms and drift charts stay as they are."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the tenant."""
        parser.add_argument("--tenant", default="", help="slug; all tenants without it")
        parser.add_argument(
            "--forget-removed",
            action="store_true",
            help="also where that loses runs whose records were removed before they were set aside",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say how many runs were counted."""
        tenants = Tenant.objects.order_by("pk")
        if options["tenant"]:
            tenants = tenants.filter(slug=options["tenant"])
            if not tenants:
                raise CommandError(f"There is no tenant {options['tenant']!r}.")
        shortened = [] if options["forget_removed"] else [one.slug for one in tenants if _has_lost_runs(one)]
        if shortened:
            raise CommandError(
                f"Records of runs were removed when their time was over, and cannot be counted again: "
                f"{', '.join(shortened)}. Nothing was changed; --forget-removed loses them from the metrics as well."
            )
        for tenant in tenants:
            counted = 0
            with tenant_scope(tenant):
                start_again()
                while done := roll_up(clock.now()):
                    counted += done
                kept = RunFact.objects.filter(aside__gt=0).values_list("aside").annotate(runs=Count("pk"))
                told = [
                    f", {runs} removed kept as version {version} counted them"
                    for version, runs in kept.order_by("aside")
                ]
            self.stdout.write(f"{tenant.slug}: {counted} run{'' if counted == 1 else 's'} counted{''.join(told)}")


def _has_lost_runs(tenant: Tenant) -> bool:
    with tenant_scope(tenant):
        return aside.lost()
