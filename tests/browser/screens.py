"""Take pictures of the site, wide and narrow, light and dark: `python -m tests.browser.screens OUTDIR [BASE_URL]`.

Without a URL it starts the demonstration on a free port, with a data directory of its own that is removed afterwards.
With one it looks at a demonstration that runs already, changing nothing.
"""

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, sync_playwright

from tests import chromium

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "look-before-you-approve"
OPERATOR, ADMIN = "olga@harbor.example", "ada@harbor.example"
SIZES = {"1440": (1440, 900), "390": (390, 844)}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
TENANT = "/t/harbor-shop"


@contextlib.contextmanager
def demonstration() -> Iterator[str]:
    """Run the demonstration in a process of its own; give its URL once the agents have done what they can."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="agentops-screens-") as data:
        environment = {
            **os.environ,
            "AGENTOPS_DATA_DIR": data,
            "PORT": str(port),
            "HOST": "127.0.0.1",
            "LOG_LEVEL": "ERROR",
        }
        process = subprocess.Popen([sys.executable, "manage.py", "demo"], cwd=ROOT, env=environment)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_up(url)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def wait_until_up(url: str, within_s: float = 120) -> None:
    """Wait until the site answers; raises the last refusal when it never does."""
    give_up = time.monotonic() + within_s
    while True:
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except OSError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.2)


def sign_in(page: Page, email: str) -> None:
    """Sign a person of the demonstration in, through the form."""
    page.goto("/sign-in")
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def addresses(page: Page) -> dict[str, str]:
    """Return the pages worth a picture, by name; a proposal and a run are found by following links."""
    page.goto(f"{TENANT}/queue")
    link = page.locator("#list").get_by_role("link").filter(has_text="Refund").first
    link.wait_for(timeout=60_000)
    card = link.get_attribute("href") or ""
    page.goto(card)
    run = page.get_by_role("link", name="Open the run").get_attribute("href") or ""
    page.goto(f"{TENANT}/audit")
    event = page.locator("tbody").get_by_role("link").first.get_attribute("href") or ""
    return {
        "queue": f"{TENANT}/queue?open={card.rsplit('/', 1)[-1]}",
        "card": card,
        "card-edit": f"{card}?open=edit",
        "card-reject": f"{card}?open=reject",
        "card-approve": f"{card}?open=approve",
        "card-handle": f"{card}?open=handle",
        "me": f"{TENANT}/me",
        "escalations": f"{TENANT}/escalations",
        "reject-several": f"{TENANT}/queue/reject",
        "run": run,
        "runs": f"{TENANT}/runs",
        "audit": f"{TENANT}/audit",
        "audit-event": event,
        "submit": f"{TENANT}/submit",
        "submit-form": f"{TENANT}/submit?task_type=customer-letter",
        "tenants": "/",
    }


def take(browser: Browser, base_url: str, directory: Path, only: set[str]) -> list[Path]:
    """Take every picture and return the files. Each is the page as far as it goes, the queue and sign-in one screen."""
    taken = []
    for size, (width, height) in SIZES.items():
        for scheme in SCHEMES:
            context = browser.new_context(
                base_url=base_url,
                color_scheme=scheme,
                viewport={"width": width, "height": height},
                reduced_motion="reduce",
                locale="en-GB",
                timezone_id="UTC",
            )
            page = context.new_page()

            def picture(
                name: str,
                path: str,
                page: Page = page,
                ending: str = f"{size}-{scheme}.png",
                whole: bool = size == "390",
            ) -> None:
                if only and name not in only:
                    return
                page.goto(path)
                page.evaluate("document.fonts.ready.then(() => true)")
                file = directory / f"{name}-{ending}"
                page.screenshot(path=file, full_page=whole or name in {"run", "card"})
                taken.append(file)

            picture("sign-in", "/sign-in")
            sign_in(page, OPERATOR)
            for name, path in addresses(page).items():
                picture(name, path)
            context.clear_cookies()
            sign_in(page, ADMIN)
            picture("admin", f"{TENANT}/admin/")
            picture("admin-task-types", f"{TENANT}/admin/runs/tasktype/")
            if not only or "admin-task-type" in only:
                page.goto(f"{TENANT}/admin/runs/tasktype/")
                change = page.get_by_role("link", name="Answer a support e-mail").get_attribute("href") or ""
                picture("admin-task-type", change)
            context.close()
    return taken


def main() -> int:
    """Take the pictures; return 1 when no Chromium is installed."""
    parser = argparse.ArgumentParser(prog="tests.browser.screens", description="Take pictures of the site.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("base_url", nargs="?", default="", help="of a demonstration that runs already")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="such as queue or card")
    asked = parser.parse_args()
    found = chromium.find()
    if found is None:
        sys.stderr.write("No Chromium found: install one, or name it in AGENTOPS_CHROMIUM.\n")
        return 1
    asked.directory.mkdir(parents=True, exist_ok=True)
    running = contextlib.nullcontext(asked.base_url) if asked.base_url else demonstration()
    with running as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        for file in take(browser, url, asked.directory, set(asked.only)):
            sys.stdout.write(f"{file}\n")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
