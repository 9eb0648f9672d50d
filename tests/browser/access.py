"""What is wrong with a page for anybody: axe in every look and width, and nothing that has to be scrolled sideways.

A page is loaded once; the looks and widths are those of the browser, changed under it.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from playwright.sync_api import Page

WIDTHS: Final = (1440, 390, 320)
NARROW: Final = 400
CONTRAST: Final = "color-contrast"
LOOKS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "light": ({"color_scheme": "light", "forced_colors": "none"}, {}),
    # The same elements in other colours: only a rule about colours can find something new.
    "dark": ({"color_scheme": "dark", "forced_colors": "none"}, {"runOnly": [CONTRAST]}),
    # The colours are the reader's own, and what the browser paints behind a text to keep it legible is in no style
    # that the rule could read. Everything else is judged again, because other borders and outlines may hide things.
    "forced colours": ({"color_scheme": "light", "forced_colors": "active"}, {"rules": {CONTRAST: {"enabled": False}}}),
}
"""Name -> what is emulated, and what axe is told besides."""

UNFOLD: Final = "document.querySelectorAll('details:not(.menu)').forEach(one => { one.open = true })"
TOO_WIDE: Final = """() => {
  const page = document.documentElement;
  if (page.scrollWidth <= page.clientWidth) return "";
  const sticks = (one) => one.getBoundingClientRect().right > page.clientWidth + 1;
  const first = [...document.querySelectorAll("body *")].find(sticks);
  return `${page.scrollWidth} px wide: ${first?.outerHTML.slice(0, 120)}`;
}"""
_JUDGE: Final = """async options => {
  // Django's admin fades from one colour to the next.
  for (const one of document.getAnimations()) if (one instanceof CSSTransition) one.finish();
  const found = await axe.run(document, options);
  return found.violations.flatMap(
    one => one.nodes.map(node => `${one.id}: ${node.html.slice(0, 160)} ${node.failureSummary}`));
}"""


def faults(page: Page, address: str) -> list[str]:
    """Load a page, unfold everything on it, and return what is wrong with it in each look at each width."""
    page.goto(address)
    return faults_here(page)


def faults_here(page: Page) -> list[str]:
    """Return the same of the page that is open."""
    page.evaluate(UNFOLD)
    page.evaluate(Axe().axe_script)
    found: list[str] = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for look, (emulated, told) in LOOKS.items():
            page.emulate_media(**emulated)
            # Without preloading: axe would copy our style sheets into style elements, which our policy rightly refuses.
            said = page.evaluate(_JUDGE, {"resultTypes": ["violations"], "preload": False} | told)
            found += [f"{width} px, {look}: {one}" for one in said]
        if width <= NARROW and (wide := page.evaluate(TOO_WIDE)):
            found.append(f"{width} px: {wide}")
    return found


def page_names(urlconf: str) -> dict[str, str]:
    """Return the names of every address outside of the admin, each with the pattern of its path."""
    return {name: path for path, name in _walk(get_resolver(urlconf).url_patterns) if name}


def _walk(patterns: Iterable[Any], before: str = "") -> Iterator[tuple[str, str | None]]:
    for one in patterns:
        path = before + str(one.pattern)
        if isinstance(one, URLResolver):
            if one.app_name != "admin":
                yield from _walk(one.url_patterns, path)
        elif isinstance(one, URLPattern):
            yield path, one.name


def name_of(address: str, urlconf: str) -> str:
    """Return the name of the page at an address, given as in `open_browser`."""
    return str(resolve("/" + address.partition("?")[0].removeprefix("/"), urlconf=urlconf).url_name)
