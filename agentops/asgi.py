"""The web process: the command is in the README, "run it in production"."""

import logging
import os
import warnings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentops.settings")
os.environ.setdefault("AGENTOPS_PROCESS", "web")
# WhiteNoise streams files with a plain iterator; they are small and local.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

from agentops.handler import settle, web_application  # noqa: E402

application = web_application()

from agentops.checks import shared_rate_limits  # noqa: E402

# A web process runs no checks, and this is where it matters.
for _message in shared_rate_limits(None):
    logging.getLogger("agentops").warning("%s %s", _message.msg, _message.hint)

settle()
