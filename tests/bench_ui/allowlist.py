"""The allowlist's table at its largest, in a tenant of its own: 200 tools and 20 kinds of task are 4,000 cells."""

from collections.abc import Iterator

from playwright.sync_api import Browser

from agentops.runs.models import TaskType
from agentops.tenancy.scope import tenant_scope
from tests.bench.report import Row
from tests.bench_ui import painting
from tests.bench_ui.site import Site
from tests.bench_ui.world import Place, another_place
from tests.conftest import person
from tools.allowing import seed_rules
from tools.allowlist import AllowlistRule, AllowlistState, Constraint

TOOLS, TYPES = 200, 20
PAINT_MS = 400
"""How long after the floor page it may be painted."""


def fill_table(tools: int = TOOLS, types: int = TYPES) -> None:
    """Fill every cell of the tenant that is in scope."""
    states = tuple(AllowlistState)
    small = (Constraint("small", "args.n < 5"),)
    for number in range(types):
        kind = TaskType.objects.create(slug=f"kind-{number:02}", name=f"Kind of work {number:02}", input_schema={})
        seed_rules(
            kind.pk,
            [
                AllowlistRule(
                    f"area{at % 10}.tool_{at:03}",
                    states[(at + number) % len(states)],
                    max_calls=3,
                    constraints=small if at % 5 else (),
                )
                for at in range(tools)
            ],
        )


def first_paint(browser: Browser, site: Site, contexts: int) -> Iterator[Row]:
    """Open the whole table, as an admin, and the floor page."""
    tenant = another_place().tenant
    with tenant_scope(tenant):
        fill_table()
        place = Place(tenant, [person(f"ada-{tenant.slug}", tenant, "admin")], 0)
    name = "allowlist, 4,000 cells"
    pages = {name: site.path(place, "admin/tools/allowlistentry/")}
    yield from painting.first_paint(browser, site, place, pages, contexts=contexts, above={name: PAINT_MS})
