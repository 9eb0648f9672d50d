"""Check, publish and compare the contracts of tools."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from agentops.wire.parse import WireError
from tools import publishing
from tools.compatibility import PARTS, compare, needed_part
from tools.contract_checks import problems
from tools.contracts import ContractError
from tools.registry import registry


class Command(BaseCommand):
    """`check` for CI, `publish` when a version is done, `diff` before it is."""

    help = (
        "check: exit code 1 if a contract breaks a rule, is not published, or differs from what is. "
        "publish: add new versions that break no rule to the file of published versions; exit code 1 if one does. A "
        "published one is never replaced. "
        "diff: say what differs between two versions, and which number has to grow. Needs no database."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what to do."""
        parser.add_argument("--published", metavar="FILE", type=Path, default=publishing.FILE)
        what = parser.add_subparsers(dest="what", required=True)
        check = what.add_parser("check")
        check.add_argument("--json", action="store_true", help="One JSON document instead of lines.")
        what.add_parser("publish")
        diff = what.add_parser("diff")
        diff.add_argument("tool")
        diff.add_argument("old")
        diff.add_argument("new", nargs="?", default="")
        diff.add_argument("--json", action="store_true", help="One JSON document instead of lines.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        try:
            match options["what"]:
                case "check":
                    self._check(options["published"], as_json=options["json"])
                case "publish":
                    self._publish(options["published"])
                case _:
                    self._diff(options)
        except (ContractError, WireError) as error:
            raise CommandError(str(error), returncode=2) from error

    def _check(self, path: Path, *, as_json: bool) -> None:
        found = problems(registry, publishing.read(path))
        count = len(registry.all_versions())
        if as_json:
            report = {"contracts": count, "ok": not found, "problems": [one.to_json() for one in found]}
            self.stdout.write(json.dumps(report, indent=1))
        else:
            for one in found:
                self.stdout.write(f"{one.tool} {one.version}: {one.code}: {one.message}")
            self.stdout.write(f"{count} contracts, {len(found)} problems")
        if found:
            raise SystemExit(1)

    def _publish(self, path: Path) -> None:
        """Publish what is in order: what is published can never be mended, only followed by another version."""
        published = publishing.read(path)
        known = {(one.tool, one.version) for one in published}
        wrong = [
            one
            for one in problems(registry, published)
            if one.code != "not_published" and (one.tool, one.version) not in known
        ]
        held_back = {(one.tool, one.version) for one in wrong}
        ready = [one for one in registry.all_versions() if (one.name, one.version) not in held_back]
        for name in publishing.write(ready, today=timezone.now().date().isoformat(), path=path):
            self.stdout.write(f"published {name}")
        for one in wrong:
            self.stdout.write(f"not published: {one.tool} {one.version}: {one.code}: {one.message}")
        if wrong:
            raise SystemExit(1)

    def _diff(self, options: dict[str, Any]) -> None:
        bodies = {one.version: one.body for one in publishing.read(options["published"]) if one.tool == options["tool"]}
        bodies |= {one.version: one.to_json() for one in registry.all_versions() if one.name == options["tool"]}
        newest = registry.get(options["tool"])
        new = options["new"] or (newest.version if newest is not None else "")
        for version in (options["old"], new):
            if version not in bodies:
                known = ", ".join(bodies) or "none"
                raise CommandError(f"There is no {options['tool']} {version}; known versions: {known}.", returncode=2)
        found = compare(bodies[options["old"]], bodies[new])
        if options["json"]:
            needs = PARTS[needed_part(found)] if found else None
            document = {"needs": needs, "differences": [one.to_json() for one in found]}
            self.stdout.write(json.dumps(document, indent=1, ensure_ascii=False))
            return
        for one in found:
            self.stdout.write(f"{one.matter.replace('_', ' ')}: {one.words}")
        self.stdout.write(f"needs a new {PARTS[needed_part(found)]} version" if found else "no difference")
