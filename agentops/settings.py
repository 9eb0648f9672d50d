"""Settings: one module, read from the environment only, strictly parsed.

Unset, everything describes the embedded mode: SQLite, a worker inside the web process, mail into files, all below
`AGENTOPS_DATA_DIR`. Setting `BROKER_URL` to Redis or RabbitMQ is what makes a process a production process.
"""

import logging
import os
from pathlib import Path
from typing import Any

import structlog
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from agentops.environment import Environment, make_private_directory, own_names, persistent_secret
from agentops.logs import add_place, hide_links

env = Environment()

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = (BASE_DIR / Path(env.text("AGENTOPS_DATA_DIR", ".data")).expanduser()).resolve()

# What this process is for. `asgi.py` says web, the one-process mode says embedded, `manage.py migrate` says owner.
PROCESS = env.choice("AGENTOPS_PROCESS", ("command", "web", "worker", "embedded", "owner"), "command")

# --- Broker: decides between embedded and production -----------------------------------------------------------------

BROKER_URL = env.url(
    "BROKER_URL",
    ("memory", "redis", "rediss", "amqp", "amqps"),
    "memory://",
    example="redis://host:6379/0 or amqp://user:password@host:5672/agentops",
)
EMBEDDED = BROKER_URL.startswith("memory://")
BROKER_QUEUE = env.text("BROKER_QUEUE", "agentops")

# --- Secrets and hosts -----------------------------------------------------------------------------------------------

DEBUG = env.flag("DEBUG", default=False)
HTTPS = env.flag("HTTPS", default=not EMBEDDED)

SECRET_KEY = env.text("SECRET_KEY")
if not SECRET_KEY:
    if not EMBEDDED:
        raise ImproperlyConfigured(
            "SECRET_KEY is required when BROKER_URL is set: 50 or more random characters, the same in every process."
        )
    SECRET_KEY = persistent_secret(DATA_DIR / "secret-key")
elif len(SECRET_KEY) < 50:
    raise ImproperlyConfigured("SECRET_KEY is too short: use 50 or more random characters.")
SECRET_KEY_FALLBACKS = env.names("SECRET_KEY_FALLBACKS")

ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", own_names(env.text("HOST")) if EMBEDDED else ())
if not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS is required when BROKER_URL is set: list the host names people will use.")
CSRF_TRUSTED_ORIGINS = env.origins("CSRF_TRUSTED_ORIGINS")

# --- Database --------------------------------------------------------------------------------------------------------


def _database() -> dict[str, Any]:
    """Return the one database; owner commands use the role that owns the tables when it is given."""
    name = "DATABASE_URL"
    if PROCESS == "owner" and env.text("DATABASE_OWNER_URL"):
        name = "DATABASE_OWNER_URL"
    config = env.database(name, f"sqlite:///{DATA_DIR / 'agentops.sqlite3'}")
    suffix = env.text("TEST_DB_SUFFIX", "agentops")
    config["CONN_MAX_AGE"] = 0
    if config["ENGINE"].endswith("sqlite3"):
        path = BASE_DIR / Path(config["NAME"])
        if path.parent == DATA_DIR:
            make_private_directory(DATA_DIR)
        config["NAME"] = str(path)
        config["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;PRAGMA busy_timeout=20000;",
        }
        config["TEST"] = {"NAME": str(path.parent / f"test_{suffix}.sqlite3")}
        return config
    config["ENGINE"] = "django.db.backends.postgresql"
    options = dict(config.get("OPTIONS", {}))
    options.setdefault("connect_timeout", 5)
    options.setdefault("application_name", f"agentops-{PROCESS}")
    if PROCESS == "web":
        options["pool"] = {"min_size": 1, "max_size": env.number("DATABASE_POOL", 8, low=1, high=200), "timeout": 5}
    config["OPTIONS"] = options
    config["TEST"] = {"NAME": f"test_{suffix}"}
    return config


DATABASES = {"default": _database()}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- Applications ----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "agentops.apps.TenantAdminConfig",
    "agentops.apps.ProjectConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "csp",
    "django_htmx",
    "template_partials.apps.SimpleAppConfig",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "agentops.tenancy",
    "agentops.payloads",
    "agentops.audit",
    "tools",
    "tools.backoffice",
    "agentops.providers",
    "agentops.prompts",
    "agentops.budgets",
    "agentops.halts",
    "agentops.screening",
    "agentops.runs",
    "agentops.webhooks",
    "approvals",
    "agentops.memory",
    "agentops.metrics",
    "agentops.retention",
    "agentops.worker",
    "agentops.gateway",
    "agentops.regression",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "agentops.headers.PermissionsPolicyMiddleware",
    "agentops.compression.PageCompressionMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "agentops.sessions.PersonMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "agentops.tenancy.middleware.TenantMiddleware",
]

ROOT_URLCONF = "agentops.urls"
ASGI_APPLICATION = "agentops.asgi.application"
WSGI_APPLICATION = "agentops.wsgi.application"
# One spelling per address; the tenant middleware resolves paths itself and must not be second-guessed.
APPEND_SLASH = False

_LOADERS: list[Any] = ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    _LOADERS if DEBUG else [("django.template.loaders.cached.Loader", _LOADERS)],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- Sign-in ---------------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/sign-in"

ACCOUNT_ADAPTER = "agentops.accounts.InvitedOnlyAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_LOGOUT_REDIRECT_URL = LOGOUT_REDIRECT_URL
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = True
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "10/m/ip,5/5m/key", "reset_password": "20/m/ip,5/m/key"}
MFA_ADAPTER = "agentops.factors.Factors"
MFA_SUPPORTED_TYPES = ["webauthn", "totp", "recovery_codes"]
MFA_FORMS = {"add_webauthn": "agentops.factors.AddPasskeyForm"}
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
# People are invited by their address; nobody confirms one.
MFA_ALLOW_UNVERIFIED_EMAIL = True
REQUIRE_SECOND_FACTOR = env.flag("REQUIRE_SECOND_FACTOR", default=False)
ALLAUTH_TRUSTED_PROXY_COUNT = env.number("TRUSTED_PROXY_COUNT", 0, low=0, high=10)

SESSION_ENGINE = "agentops.sessions"
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"

# --- Browser security ------------------------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"

SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if ALLAUTH_TRUSTED_PROXY_COUNT else None

HTMX_CONFIG = {
    "allowEval": False,
    "allowScriptTags": False,
    "defaultSettleDelay": 0,
    "historyCacheSize": 0,
    "includeIndicatorStyles": False,
    "responseHandling": [
        {"code": "204", "swap": False},
        {"code": "[23]..", "swap": True},
        {"code": "4..", "swap": True, "error": False},
        {"code": "503", "swap": True, "error": False},
        {"code": "5..", "swap": False, "error": True},
    ],
    "selfRequestsOnly": True,
}

# --- Static files, language, time ------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = env.text("STATIC_ROOT") or None
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "agentops.static_files.BundledStorage"
        if STATIC_ROOT
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

LANGUAGE_CODE = "en"
USE_I18N = True
FORMAT_MODULE_PATH = ["agentops.formats"]
USE_TZ = True
TIME_ZONE = "UTC"

# --- Cache (rate limits live here) -----------------------------------------------------------------------------------

_CACHE_URL = env.url("CACHE_URL", ("redis", "rediss"), example="redis://host:6379/1")
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _CACHE_URL}
    if _CACHE_URL
    else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "agentops"}
}

# --- Mail ------------------------------------------------------------------------------------------------------------

_EMAIL = env.email("EMAIL_URL")
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = str(DATA_DIR / "mail")
if _EMAIL:
    EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    EMAIL_HOST = _EMAIL["EMAIL_HOST"]
    EMAIL_PORT = _EMAIL["EMAIL_PORT"] or 25
    EMAIL_HOST_USER = _EMAIL["EMAIL_HOST_USER"] or ""
    EMAIL_HOST_PASSWORD = _EMAIL["EMAIL_HOST_PASSWORD"] or ""
    EMAIL_USE_TLS = bool(_EMAIL.get("EMAIL_USE_TLS"))
    EMAIL_USE_SSL = bool(_EMAIL.get("EMAIL_USE_SSL"))
    EMAIL_TIMEOUT = 10
# Where links in e-mails lead; without it they name the path only.
SITE_URL = env.url("SITE_URL", ("http", "https"), example="https://desk.example.com")
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "support@example.com")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --- Model planner (off unless named) --------------------------------------------------------------------------------

AGENTOPS_MODEL = env.text("AGENTOPS_MODEL")
AGENTOPS_MODEL_API_KEY = env.text("AGENTOPS_MODEL_API_KEY")
AGENTOPS_MODEL_BASE_URL = env.url("AGENTOPS_MODEL_BASE_URL", ("http", "https"), example="http://127.0.0.1:8080/v1")
# Models in the order they are tried; without it AGENTOPS_MODEL is the only one. Task types may name their own.
AGENTOPS_MODELS = env.names("AGENTOPS_MODELS")
MODEL_PROVIDERS = env.providers("AGENTOPS_PROVIDER_")
# Requests to models that one process has under way at once; more wait for their turn.
MODEL_IN_FLIGHT = env.number("MODEL_IN_FLIGHT", 1000, low=1, high=10_000)

# --- Decisions -------------------------------------------------------------------------------------------------------

# Seconds in which an approval of low, medium, high and critical risk can be taken back; tenants may change it per band.
RELEASE_DELAYS_S = env.numbers("RELEASE_DELAYS_S", (10, 15, 30, 60), low=0, high=900)

# --- API -------------------------------------------------------------------------------------------------------------

# Requests of one process that may wait for their run at once (`?wait=`), and for a racing request with their key.
API_MAX_WAITERS = env.number("API_MAX_WAITERS", 8, low=0, high=1000)
# Tokens that are none which one address may show in a minute.
API_BAD_TOKENS_PER_MINUTE = env.number("API_BAD_TOKENS_PER_MINUTE", 30, low=1, high=1_000_000)
API_IDEMPOTENCY_WAIT_MS = env.number("API_IDEMPOTENCY_WAIT_MS", 5000, low=1, high=60_000)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["agentops.gateway.authentication.ServiceTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "agentops.gateway.openapi.Operation",
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.ScopedRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {
        "submit": f"{env.number('API_SUBMITS_PER_MINUTE', 120, low=1, high=1_000_000)}/min",
        "read": f"{env.number('API_READS_PER_MINUTE', 1200, low=1, high=1_000_000)}/min",
    },
    "EXCEPTION_HANDLER": "agentops.gateway.problems.exception_handler",
    "NUM_PROXIES": ALLAUTH_TRUSTED_PROXY_COUNT,
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AgentOps API",
    "DESCRIPTION": (
        "Submit tasks to agents, follow their runs, and read what they did and who allowed it.\n\n"
        "A body is JSON in UTF-8, 256 KiB and 64 levels at most, sent with its Content-Length and without a "
        "Content-Encoding. Requests are counted per token and minute, those that change something apart from those "
        "that read; 429 says in Retry-After when to come back. Every answer that is no success is a problem document "
        "(RFC 9457) with a stable `code`."
    ),
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "OAS_VERSION": "3.1.0",
    "POSTPROCESSING_HOOKS": ["agentops.gateway.openapi.complete"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None, "persistAuthorization": False},
}

# --- Metrics and traces ----------------------------------------------------------------------------------------------

# Whoever asks for /metrics shows this. Without it nobody may ask, unless this machine may: a proxy beside the server
# asks from this machine as well, for everybody, so that in production it has to be said.
METRICS_TOKEN = env.text("METRICS_TOKEN")
METRICS_LOCAL = env.flag("METRICS_LOCAL", default=EMBEDDED)
if METRICS_TOKEN and len(METRICS_TOKEN) < 20:
    raise ImproperlyConfigured("METRICS_TOKEN is too short: use 20 or more random characters.")
# Where ended runs go as OpenTelemetry traces (OTLP over HTTP); needs the extra `otel`.
OTEL_ENDPOINT = env.url("OTEL_EXPORTER_OTLP_ENDPOINT", ("http", "https"), example="http://127.0.0.1:4318")
OTEL_CONTENT = env.flag("OTEL_CONTENT", default=False)

# --- Logs ------------------------------------------------------------------------------------------------------------

LOG_FORMAT = env.choice("LOG_FORMAT", ("json", "console"), "json")
LOG_LEVEL = env.choice("LOG_LEVEL", ("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")

# A request is one line, when it has been answered: another one that it began costs a fortieth of a page.
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = logging.DEBUG
_LOG_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    add_place,
    hide_links,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_LOG_PROCESSORS,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            "foreign_pre_chain": _LOG_PROCESSORS,
        },
        "console": {
            "()": structlog.stdlib.ProcessorFormatter,
            "processors": [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer(
                    colors=os.isatty(2),
                    pad_event_to=0,
                    # The default prints the local variables of every frame: passwords, tokens, texts of people.
                    exception_formatter=structlog.dev.plain_traceback,
                ),
            ],
            "foreign_pre_chain": _LOG_PROCESSORS,
        },
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # The request middleware writes one line per request.
        "uvicorn.access": {"level": "WARNING"},
        "django.server": {"handlers": [], "propagate": False},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}
