"""The web process: `uvicorn agentops.asgi:application --timeout-graceful-shutdown 3 --lifespan off`."""

import os
import warnings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentops.settings")
os.environ.setdefault("AGENTOPS_PROCESS", "web")
# WhiteNoise streams files with a plain iterator; they are small and local.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

from django.core.asgi import get_asgi_application  # noqa: E402

application = get_asgi_application()
