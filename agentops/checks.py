"""Deployment checks: what `manage.py check --deploy` says about a production configuration of ours."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connections

from agentops.providers.chain import chain_problems, default_chain

Message = checks.CheckMessage


def production_services(app_configs: Any, **kwargs: Any) -> list[Message]:
    """Warn about embedded-mode parts left in a configuration that is to serve many processes."""
    found: list[Message] = []
    if settings.EMBEDDED:
        found.append(
            checks.Warning(
                "BROKER_URL is not set, so tasks stay inside one process.",
                hint="Set BROKER_URL to Redis or RabbitMQ, and run a Celery worker and beat (`celery -A agentops`).",
                id="agentops.W001",
            )
        )
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"):
        found.append(
            checks.Warning(
                "The database is SQLite, which one machine can write to and row-level security does not protect.",
                hint="Set DATABASE_URL to PostgreSQL.",
                id="agentops.W002",
            )
        )
    if "locmem" in settings.CACHES["default"]["BACKEND"]:
        found.append(
            checks.Warning(
                "Rate limits are counted per process.",
                hint="Set CACHE_URL to a Redis database, so that all web processes count together.",
                id="agentops.W003",
            )
        )
    if "filebased" in settings.EMAIL_BACKEND:
        found.append(
            checks.Warning("Mail is written to files.", hint="Set EMAIL_URL to your mail server.", id="agentops.W004")
        )
    if not settings.SITE_URL.startswith("https://"):
        found.append(
            checks.Warning(
                "Links in e-mails do not say where the desk is.",
                hint="Set SITE_URL to the address people use, such as https://desk.example.com.",
                id="agentops.W007",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            checks.Warning(
                "ALLOWED_HOSTS takes a request for any host as one for this site.",
                hint="List the names that people use.",
                id="agentops.W008",
            )
        )
    return found


def shared_rate_limits(app_configs: Any, **kwargs: Any) -> list[Message]:
    """Warn, at every command and not only before a deployment, about a production whose limits hold per process.

    Sign-ins, bad tokens and API calls are counted in the cache; n web processes without a shared one let n times as
    many through.
    """
    if settings.EMBEDDED or "locmem" not in settings.CACHES["default"]["BACKEND"]:
        return []
    return [
        checks.Warning(
            "Rate limits (sign-in, bad tokens, API) are counted per web process, because CACHE_URL is not set.",
            hint="Set CACHE_URL to a Redis database.",
            id="agentops.W005",
        )
    ]


def runtime_role(app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any) -> list[Message]:
    """Refuse a PostgreSQL role that row-level security does not hold: a superuser, BYPASSRLS, or the tables' owner.

    Runs with `check --deploy --database default`, as the role the web and worker processes use.
    """
    found: list[Message] = []
    for alias in databases or ():
        connection = connections[alias]
        if connection.vendor != "postgresql" or settings.PROCESS == "owner":
            continue
        try:
            with connection.cursor() as cursor:
                cursor.execute("select rolname, rolsuper, rolbypassrls from pg_roles where rolname = current_user")
                name, superuser, bypass = cursor.fetchone()
                cursor.execute(
                    "select count(*) from pg_tables where schemaname = current_schema() and tableowner = current_user"
                )
                (owned,) = cursor.fetchone()
        except DatabaseError as error:
            found.append(checks.Error(f"The database cannot be asked about its role: {error}", id="agentops.E002"))
            continue
        if superuser or bypass or owned:
            found.append(
                checks.Error(
                    f"Row-level security does not hold the database role {name}.",
                    hint="Run `manage.py dbrole` as the owner, and put the role it makes into DATABASE_URL.",
                    id="agentops.E001",
                )
            )
    return found


def models(app_configs: Any, **kwargs: Any) -> list[Message]:
    """Refuse models that are named in the environment and cannot be asked; without any the model planner is off."""
    named = list(default_chain())
    if settings.AGENTOPS_MODEL and settings.AGENTOPS_MODEL not in named:
        named.append(settings.AGENTOPS_MODEL)
    found: list[Message] = [
        checks.Error(problem.message, id=f"agentops.{problem.code}")
        for problem in (chain_problems(named) if named else ())
    ]
    if not named and settings.AGENTOPS_MODEL_API_KEY:
        found.append(
            checks.Warning(
                "AGENTOPS_MODEL_API_KEY is set and no model is named.",
                hint="Set AGENTOPS_MODELS or AGENTOPS_MODEL.",
                id="agentops.W006",
            )
        )
    return found


def register() -> None:
    """Register the checks with Django; called once, when the project's application is ready."""
    checks.register(shared_rate_limits, checks.Tags.caches)
    checks.register(production_services, checks.Tags.security, deploy=True)
    checks.register(models, "models")
    checks.register(runtime_role, checks.Tags.database, deploy=True)
