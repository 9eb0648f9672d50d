"""Write a recorded run as a file."""

from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentops.regression.exporting import Mask, export_run
from agentops.regression.selectors import runs_named, tenants_named
from agentops.tenancy.access import SYSTEM
from agentops.tenancy.scope import tenant_scope


class Command(BaseCommand):
    """Export one run: JSON with everything that is recorded of it, masked on request."""

    help = "Write everything recorded of a run as JSON that `replay` reads. The export is recorded in the audit trail."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the run and what to hide."""
        parser.add_argument("run", metavar="RUN", help="Id of the run.")
        parser.add_argument("--tenant", metavar="SLUG", help="Look in this tenant only.")
        parser.add_argument("--output", metavar="FILE", help="Write here; without it, to standard output.")
        parser.add_argument(
            "--mask",
            choices=("secrets", "personal", "all"),
            help="Hide secrets, personal data, or both. The same value becomes the same token everywhere.",
        )
        parser.add_argument(
            "--mask-key-file", metavar="FILE", help="Key of the tokens, to have the same in more files."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file."""
        try:
            run_id = UUID(options["run"])
        except ValueError:
            raise CommandError(f"{options['run']} is not the id of a run.", returncode=2) from None
        tenants = tenants_named(options["tenant"])
        if tenants is None:
            raise CommandError(f"There is no tenant {options['tenant']}.", returncode=2)
        wanted = options["mask"]
        key_file = options["mask_key_file"]
        key = Path(key_file).read_bytes() if key_file else b""
        if key_file and len(key) < 16:
            raise CommandError("The key of the tokens must have at least 16 bytes.", returncode=2)
        mask = Mask(wanted in ("secrets", "all"), wanted in ("personal", "all"), key) if wanted else None
        for tenant in tenants:
            with tenant_scope(tenant):
                found = runs_named([run_id])
                if not found:
                    continue
                recording = export_run(run=found[0], actor=SYSTEM, mask=mask)
            if options["output"]:
                Path(options["output"]).write_text(recording.text(), "utf-8")
            else:
                self.stdout.write(recording.text(), ending="")
            if recording.masked is not None:
                for one in recording.masked.unchecked:
                    self.stderr.write(f"Not to be compared any more: {one}.")
            return
        raise CommandError(f"There is no run {run_id}.", returncode=2)
