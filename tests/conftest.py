"""What every test has: the same people, an own data directory, no network, small deterministic searches."""

import atexit
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import pytest

# Settings are read when Django is first imported, so the environment comes first. Worker processes inherit it.
if "AGENTOPS_TEST_DATA_DIR" not in os.environ:
    _directory = tempfile.mkdtemp(prefix="agentops-tests-")
    os.environ["AGENTOPS_TEST_DATA_DIR"] = _directory
    atexit.register(shutil.rmtree, _directory, ignore_errors=True)
os.environ["AGENTOPS_DATA_DIR"] = os.environ["AGENTOPS_TEST_DATA_DIR"]
os.environ["DJANGO_SETTINGS_MODULE"] = "agentops.settings"
os.environ["SECRET_KEY"] = "only-for-tests-" * 4
# Approved calls start at once, unless a test is about the delay.
os.environ["RELEASE_DELAYS_S"] = "0,0,0,0"
for _name in (
    "AGENTOPS_MODEL",
    "AGENTOPS_MODEL_API_KEY",
    "AGENTOPS_MODEL_BASE_URL",
    "AGENTOPS_MODELS",
    "AGENTOPS_PROCESS",
    "ALLOWED_HOSTS",
    "BROKER_URL",
    "CACHE_URL",
    "DATABASE_OWNER_URL",
    "DEBUG",
    "EMAIL_URL",
    "HTTPS",
):
    os.environ.pop(_name, None)

import django  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests import chromium  # noqa: E402

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from agentops.tenancy.access import Actor
    from agentops.tenancy.models import Tenant

django.setup()

pytest_plugins = ["tests.replaying"]

settings.register_profile(
    "ci", max_examples=40, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("dev", max_examples=200, deadline=None, database=None)
settings.register_profile("deep", max_examples=5000, deadline=None, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

PASSWORD = "correct horse battery staple"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse marks that `tests.run` would not find, and let tests in a browser touch the database.

    Playwright keeps an event loop in the main thread, where Django would refuse to.
    """
    for mark in ("browser", "integration"):
        for path in {item.path for item in items if item.get_closest_marker(mark)}:
            if f"mark.{mark}" not in path.read_text("utf-8"):
                raise pytest.UsageError(f"{path} has {mark} tests and does not name pytest.mark.{mark}")
    if "browser" in config.option.markexpr.replace("not browser", ""):
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"


@pytest.fixture(autouse=True)
def _fast_and_alone(settings: Any) -> None:
    """Hash passwords cheaply, keep mail in memory, and forget rate limits, budgets and stops between tests."""
    from django.core.cache import cache

    from agentops.budgets import snapshot
    from agentops.halts import covering
    from approvals.assessing import ladder
    from approvals.proposals import names
    from approvals.queue import figures

    covering.forget()
    ladder.forget()
    figures.forget()
    names.forget()

    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    cache.clear()
    snapshot.forget()


def reached_by() -> dict[str, Any]:
    """Return how psycopg reaches the PostgreSQL database of the tests, as whoever runs them."""
    from django.db import connection

    parameters = connection.get_connection_params()
    return {name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if name in parameters}


# --- Tenants and people ----------------------------------------------------------------------------------------------


@pytest.fixture
def acme(db: None) -> "Tenant":
    """Return the tenant that most tests happen in."""
    from agentops.tenancy.access import SYSTEM
    from agentops.tenancy.services import create_tenant

    return create_tenant(slug="acme", name="Acme", environment="test", actor=SYSTEM)


@pytest.fixture
def globex(db: None) -> "Tenant":
    """Return the other tenant, which must never notice the first."""
    from agentops.tenancy.access import SYSTEM
    from agentops.tenancy.services import create_tenant

    return create_tenant(slug="globex", name="Globex", environment="test", actor=SYSTEM)


def person(name: str, tenant: "Tenant", *roles: str) -> "User":
    """Create a person with these roles; the e-mail is `<name>@<tenant>.example`, the password `PASSWORD`."""
    from django.contrib.auth.models import User

    from agentops.tenancy.access import SYSTEM
    from agentops.tenancy.services import add_member

    user = User.objects.create_user(name, f"{name}@{tenant.slug}.example", PASSWORD, first_name=name.title())
    for role in roles:
        add_member(tenant=tenant, user=user, role=role, actor=SYSTEM)
    return user


@pytest.fixture
def alice(acme: "Tenant") -> "User":
    """Return the admin of acme."""
    return person("alice", acme, "admin")


@pytest.fixture
def bob(acme: "Tenant") -> "User":
    """Return an operator of acme."""
    return person("bob", acme, "operator")


@pytest.fixture
def sam(acme: "Tenant") -> "User":
    """Return a senior of acme."""
    return person("sam", acme, "senior")


@pytest.fixture
def ann(acme: "Tenant") -> "User":
    """Return the auditor of acme."""
    return person("ann", acme, "auditor")


@pytest.fixture
def charlie(globex: "Tenant") -> "User":
    """Return an operator of globex."""
    return person("charlie", globex, "operator")


@pytest.fixture
def actor_of() -> Callable[["User", "Tenant"], "Actor"]:
    """Return a function from a person and a tenant to the actor the tenant middleware would make, just signed in."""
    from agentops import clock
    from agentops.tenancy.access import Actor
    from agentops.tenancy.selectors import membership_of

    def make(user: "User", tenant: "Tenant") -> Actor:
        member = membership_of(user, tenant.slug)
        return Actor.user(user, member[1] if member else (), clock.now())

    return make


@pytest.fixture
def scoped(acme: "Tenant") -> Iterator["Tenant"]:
    """Run the whole test inside acme's scope."""
    from agentops.tenancy.scope import tenant_scope

    with tenant_scope(acme):
        yield acme


@pytest.fixture
def in_tenant() -> Callable[["Tenant"], AbstractContextManager[None]]:
    """Return the context manager that opens a tenant's scope, for tests that visit both."""
    from agentops.tenancy.scope import tenant_scope

    return tenant_scope


@pytest.fixture
def signed_in() -> Callable[["User"], "Client"]:
    """Return a function that gives a browser-less client signed in as a person."""
    from django.test import Client

    def make(user: "User") -> Client:
        client = Client()
        client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
        session = client.session
        session["account_authentication_methods"] = [{"method": "password", "at": time.time()}]
        session["account_authentication_methods_user"] = str(user.pk)
        session.save()
        return client

    return make


# --- Browser and brokers ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Start the Chromium that is installed; nothing is downloaded."""
    path = chromium.find()
    if path is None:
        pytest.skip("BROWSER TEST NOT RUN: no Chromium found")
    return {"executable_path": path, "args": ["--no-sandbox", "--disable-dev-shm-usage"]}


@pytest.fixture(scope="session")
def browser_context_args() -> dict[str, Any]:
    """Give every page the same clock zone, language and stillness."""
    return {"locale": "en-GB", "timezone_id": "UTC", "reduced_motion": "reduce"}


@pytest.fixture(scope="session", params=["redis", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """Return the URL of each broker that listens on this machine; the test is skipped, loudly, for the others."""
    from tests.run import LISTENING, listens

    name, url = {
        "redis": ("Redis", "redis://127.0.0.1:6379/0"),
        "rabbitmq": ("RabbitMQ", "amqp://guest:guest@127.0.0.1:5672//"),
    }[request.param]
    if not listens(LISTENING[name]):
        pytest.skip(f"INTEGRATION TEST NOT RUN: {name} does not listen on 127.0.0.1:{LISTENING[name]}")
    return url


# --- The site and the worker, for tests that need them running -------------------------------------------------------


@pytest.fixture
def site_url(transactional_db: None) -> Iterator[str]:
    """Serve the whole site, live updates included, from this process on the test database; return its URL."""
    import uvicorn

    from agentops.handler import web_application
    from agentops.worker import embedded

    ready = threading.Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            ready.set()

    listener = embedded.listen("127.0.0.1", 0)
    server = Server(embedded.speaking(web_application(), grace_s=1))
    url = embedded.url_of(listener)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert ready.wait(30), "the site did not start"
    yield url
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the site did not stop"


@pytest.fixture
def worker(transactional_db: None) -> Iterator[None]:
    """Run the embedded worker and its sweeper in this process on the test database."""
    from agentops.worker import embedded
    from agentops.worker.sweeper import sweep

    working, sweeping = embedded.EmbeddedWorker(), embedded.Sweeper(sweep)
    working.start()
    sweeping.start()
    yield
    sweeping.stop()
    sweeping.join(30)
    working.stop(30)
    working.thread.join(30)
