"""Derive recorded runs again and compare."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agentops.audit.removals import removal_of, words_of
from agentops.regression.recordings import MAX_BYTES, BadRecording, read_recording
from agentops.regression.selectors import newest_runs, runs_named, tenants_named
from agentops.regression.verdicts import EXIT, Outcome, Verdict, verdict_of_record, verdict_of_recording
from agentops.runs.recording import load, stream_of
from agentops.tenancy.scope import tenant_scope


class Command(BaseCommand):
    """Ask the engine again what it would have done, at every place of a record, and compare."""

    help = (
        "Re-execute the engine against recorded runs: by id, from exported files, or all of a tenant. Nothing is "
        "executed and nothing is written. Exit code 0: identical. 1: a run diverged; the first event that does not "
        "follow is named with what was expected and what is recorded. 2: something could not be read or checked."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take runs and files, or --all."""
        parser.add_argument("what", nargs="*", metavar="RUN|FILE", help="Ids of runs, or files written by run_export.")
        parser.add_argument("--all", action="store_true", help="Replay the newest runs of every tenant.")
        parser.add_argument("--limit", type=int, default=1000, help="How many runs of each tenant --all takes.")
        parser.add_argument("--tenant", metavar="SLUG", help="Look in this tenant only.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object a run.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line for each run; the worst verdict is the exit code."""
        if bool(options["what"]) == options["all"]:
            raise CommandError("Name runs or files, or say --all.", returncode=2)
        counts = dict.fromkeys(Outcome, 0)
        for name, verdict in self.verdicts(options):
            counts[verdict.outcome] += 1
            if options["json"]:
                self.stdout.write(json.dumps({"run": name, **verdict.to_json()}, ensure_ascii=False))
            elif verdict.outcome is not Outcome.IDENTICAL or not options["all"]:
                self.stdout.write(f"{name}: {verdict.sentence()}")
        total = sum(counts.values())
        told = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        if not options["json"]:
            self.stdout.write(f"{total} run{'' if total == 1 else 's'} replayed: {told or 'none'}")
        if worst := max((EXIT[outcome] for outcome, count in counts.items() if count), default=0):
            code = 1 if counts[Outcome.DIVERGED] else worst
            raise CommandError("Not every record is what this engine would have done.", returncode=code)

    def verdicts(self, options: dict[str, Any]) -> Iterator[tuple[str, Verdict]]:
        """Yield what each run or file says."""
        tenants = tenants_named(options["tenant"])
        if tenants is None:
            raise CommandError(f"There is no tenant {options['tenant']}.", returncode=2)
        if options["all"]:
            for tenant in tenants:
                with tenant_scope(tenant):
                    for run_id in newest_runs(options["limit"]):
                        yield str(run_id), _verdict(run_id)
            return
        for name in options["what"]:
            try:
                run_id = UUID(name)
            except ValueError:
                yield name, _of_file(name)
                continue
            found = None
            for tenant in tenants:
                with tenant_scope(tenant):
                    if runs_named([run_id]):
                        found = _verdict(run_id)
                        break
            if found is None:
                raise CommandError(f"There is no run {name}.", returncode=2)
            yield name, found


def _verdict(run_id: UUID) -> Verdict:
    removed = removal_of(stream_of(run_id))
    if removed is not None:
        return Verdict(Outcome.REMOVED, 0, message=words_of(removed))
    return verdict_of_record(lambda: load(run_id))


def _of_file(name: str) -> Verdict:
    path = Path(name)
    if not path.is_file():
        raise CommandError(f"{name} is neither the id of a run nor a file.", returncode=2)
    if path.stat().st_size > MAX_BYTES:
        return Verdict(Outcome.UNREADABLE, 0, message=f"The file is larger than {MAX_BYTES} bytes.")
    try:
        return verdict_of_recording(read_recording(path.read_bytes()))
    except BadRecording as error:
        return Verdict(Outcome.UNREADABLE, 0, message=str(error))
