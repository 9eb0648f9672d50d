"""Where a Chromium is, for the browser tests."""

import os
import shutil
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MAC_APPS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find() -> str | None:
    """Return the path of an installed Chromium: AGENTOPS_CHROMIUM, one on the path, or an application of macOS."""
    chosen = os.environ.get("AGENTOPS_CHROMIUM", "")
    if chosen:
        return chosen if Path(chosen).is_file() else None
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    return next((app for app in MAC_APPS if Path(app).is_file()), None)
