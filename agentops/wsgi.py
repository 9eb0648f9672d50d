"""A synchronous web process, for hosts that offer nothing else; live updates need `agentops.asgi`."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentops.settings")
os.environ.setdefault("AGENTOPS_PROCESS", "web")

from django.core.wsgi import get_wsgi_application

_pages = get_wsgi_application()

# It reads the settings, and the storage of the files.
from agentops.static_files import StaticFiles  # noqa: E402

application = StaticFiles().before(_pages)
