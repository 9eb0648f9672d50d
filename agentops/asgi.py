"""The web process: `uvicorn agentops.asgi:application --timeout-graceful-shutdown 3 --lifespan off`."""

import gc
import logging
import os
import warnings
from importlib import import_module

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentops.settings")
os.environ.setdefault("AGENTOPS_PROCESS", "web")
# WhiteNoise streams files with a plain iterator; they are small and local.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

from django.core.asgi import get_asgi_application  # noqa: E402

application = get_asgi_application()

from agentops.checks import shared_rate_limits  # noqa: E402

# A web process runs no checks, and this is where it matters.
for _message in shared_rate_limits(None):
    logging.getLogger("agentops").warning("%s %s", _message.msg, _message.hint)

from agentops.tenancy.links import tenant_urlconf  # noqa: E402

# What is loaded by now stays until the process ends. Left out of the collections, they take a millisecond instead of a
# hundred, in the middle of somebody's request.
import_module(tenant_urlconf())
gc.collect()
gc.freeze()
gc.set_threshold(10_000, 20, 20)
