"""Browsers for these tests: each signed in as somebody, each watched for what no page may do."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect

from agentops.tenancy.models import Tenant
from tests.shop import open_shop

expect.set_options(timeout=20_000)

# Chromium writes every answer from 400 on to the console; which answer it is, the tests check themselves.
_ANSWERS = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d")


@dataclass
class Watch:
    """What went wrong in the browsers of a test: console errors, broken policies, requests to other origins.

    `expected` are patterns of console errors that the test provokes itself; `requested` is every address asked for.
    """

    origin: str
    expected: list[str] = field(default_factory=list)
    requested: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def follow(self, context: BrowserContext) -> None:
        """Watch every page of a context from now on."""
        context.on("request", lambda request: self.requested.append(request.url))
        context.on("console", self._hear)
        context.on("weberror", lambda error: self.console.append(f"uncaught: {error.error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _ANSWERS.search(message.text):
            self.console.append(f"{message.type}: {message.text}")

    @property
    def complaints(self) -> list[str]:
        """Everything that should not have happened."""
        said = [line for line in self.console if not any(re.search(known, line) for known in self.expected)]
        foreign = {url for url in self.requested if not url.startswith((f"{self.origin}/", "data:", "about:", "blob:"))}
        return [*said, *(f"left the origin: {url}" for url in sorted(foreign))]


class OpenBrowser(Protocol):
    """Open a page in a browser of its own, signed in as a person when one is given; addresses are below the tenant."""

    def __call__(
        self,
        user: User | None = None,
        *,
        javascript: bool = True,
        scheme: Literal["light", "dark"] = "light",
        size: tuple[int, int] = (1440, 900),
    ) -> Page: ...


@pytest.fixture
def watch(site_url: str) -> Iterator[Watch]:
    """Fail the test when a page complained in the console or asked another origin for something."""
    found = Watch(site_url)
    yield found
    assert not found.complaints


@pytest.fixture
def open_browser(site_url: str, watch: Watch, new_context: Callable[..., BrowserContext]) -> OpenBrowser:
    """Return the function that opens watched browsers; they close before the site stops."""

    def make(
        user: User | None = None,
        *,
        javascript: bool = True,
        scheme: Literal["light", "dark"] = "light",
        size: tuple[int, int] = (1440, 900),
    ) -> Page:
        context = new_context(
            base_url=f"{site_url}/t/acme/",
            java_script_enabled=javascript,
            color_scheme=scheme,
            viewport={"width": size[0], "height": size[1]},
        )
        watch.follow(context)
        if user is not None:
            context.add_cookies([session_of(user, site_url)])
        return context.new_page()

    return make


def session_of(user: User, url: str) -> Any:
    """Return the cookie of a signed-in session, for tests that are not about signing in."""
    client = Client()
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    host = urlsplit(url).hostname
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "domain": host, "path": "/"}


@pytest.fixture
def shop(transactional_db: None, scoped: Tenant) -> Tenant:
    """Open the test shop in acme, and acme's scope in the test."""
    open_shop(scoped)
    return scoped
