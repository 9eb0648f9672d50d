"""Templates are inert: no inline script, style or handler, nothing from elsewhere, nothing unescaped."""

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.template import engines

from agentops.static_files import BUNDLES, spare

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
STYLES = sorted((ROOT / "static" / "css").glob("*.css"))
SCRIPTS = sorted((ROOT / "static" / "js").glob("*.js"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_a_template_compiles(path: Path) -> None:
    assert engines["django"].get_template(str(path.relative_to(ROOT / "templates"))) is not None


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_nothing_is_printed_unescaped(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\|\s*safe(seq)?\b", text)
    assert not re.search(r"autoescape\s+off", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_no_style_script_or_handler_is_inline(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<style\b", text, re.IGNORECASE)
    assert not re.search(r"\sstyle\s*=", text, re.IGNORECASE)
    assert not re.search(r"<script\b(?![^>]*\bsrc=)", text, re.IGNORECASE)
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text, re.IGNORECASE)
    assert not re.search(r"\bhx-(on|vals\s*=\s*[\"']js)", text, re.IGNORECASE)
    assert "javascript:" not in text.lower()


@pytest.mark.parametrize("path", TEMPLATES + STYLES, ids=name_of)
def test_nothing_comes_from_another_host(path: Path) -> None:
    assert not re.search(r"(?:src|href|action|url)\s*[=(]\s*[\"']?\s*(?:https?:)?//", path.read_text(), re.IGNORECASE)
    assert "@import" not in path.read_text()


@pytest.mark.parametrize("path", TEMPLATES, ids=name_of)
def test_a_form_that_writes_carries_the_token(path: Path) -> None:
    for form in re.findall(r"<form\b[^>]*method=\"post\".*?</form>", path.read_text(), re.DOTALL | re.IGNORECASE):
        assert re.search(r"csrf_token|{% binding %}|slot body", form)


class Elements(HTMLParser):
    """Collect ids and what refers to them."""

    def __init__(self) -> None:
        super().__init__()
        self.controls: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"button", "a"}:
            self.controls.append(dict(attrs))


def test_reject_edit_and_approve_have_the_same_weight() -> None:
    page = Elements()
    page.feed((ROOT / "templates" / "approvals" / "_bar.html").read_text())
    pending = [c for c in page.controls if c.get("data-panel") in ("reject", "edit", "approve") or "data-approve" in c]
    assert [control["class"] for control in pending] == ["btn"] * 4  # approving is one of two, by band


def test_the_site_stays_light() -> None:
    styles = b"".join(path.read_bytes() for path in STYLES if path.name != "admin.css")
    bundle = b"\n".join(spare((ROOT / "static" / name).read_bytes()) for name in BUNDLES["js/pages.js"])
    htmx = len(gzip.compress(Path(str(finders.find("django_htmx/htmx-2.min.js"))).read_bytes()))
    assert len(gzip.compress(styles)) <= 25 * 1024
    assert htmx + len(gzip.compress(bundle)) <= 25_600, "what every page loads"
    of_one_page = [path for path in SCRIPTS if f"js/{path.name}" not in BUNDLES["js/pages.js"]]
    assert max(len(gzip.compress(path.read_bytes())) for path in of_one_page) <= 1024
    assert sum(path.stat().st_size for path in (ROOT / "static" / "fonts").glob("*.woff2")) <= 32 * 1024


def test_the_script_needs_no_permission_from_the_policy() -> None:
    for path in SCRIPTS:
        script = path.read_text()
        assert not re.search(r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", script)
        assert "localStorage" not in script
