"""How long somebody with an empty cache looks at nothing, against a floor page in the same minutes."""

from collections.abc import Iterator, Mapping

from playwright.sync_api import Browser

from tests.bench.report import Row
from tests.bench_ui.hands import new_context
from tests.bench_ui.site import Site, quantile
from tests.bench_ui.world import Place

FLOOR = "floor page"
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime || 0"


def first_paint(
    browser: Browser, site: Site, place: Place, pages: Mapping[str, str], *, contexts: int, above: Mapping[str, int]
) -> Iterator[Row]:
    """Open the floor page and `pages`, addresses by name, in turns, each time in a browser with nothing in its cache.

    `above` says of some how many milliseconds after the floor page they are to be painted.
    """
    addresses = {FLOOR: site.floor_url, **pages}
    painted: dict[str, list[float]] = {name: [] for name in addresses}
    for _ in range(contexts):
        for name, address in addresses.items():
            context = new_context(browser, site, place)
            page = context.new_page()
            page.goto(address)
            # A function, not a text: the content policy of the pages lets nobody evaluate one.
            page.wait_for_function(f"() => ({PAINTED}) > 0", polling=20)
            painted[name].append(float(page.evaluate(PAINTED)))
            context.close()
    floor = quantile(painted[FLOOR], 0.75)
    for name, found in painted.items():
        p75 = quantile(found, 0.75)
        target = f"<= {floor + above[name]:.0f}" if name in above else ""
        yield Row("first paint", f"{name}, p75", p75, "ms", p75 / floor, target, f"p50 {quantile(found, 0.5):.0f} ms")
