#!/usr/bin/env python3
"""Run a management command."""

import os
import sys

# Commands that change tables or roles connect as the role that owns them, when DATABASE_OWNER_URL names it.
OWNER_COMMANDS = frozenset({"migrate", "dbrole"})


def main() -> None:
    """Hand the command line to Django; a configuration mistake is one sentence, not a traceback."""
    if sys.version_info < (3, 11):
        sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ".")
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "agentops.settings")
    if command in OWNER_COMMANDS:
        os.environ.setdefault("AGENTOPS_PROCESS", "owner")
    elif command == "demo":
        os.environ.setdefault("AGENTOPS_PROCESS", "embedded")
        os.environ.setdefault("LOG_FORMAT", "console")
        os.environ.setdefault("LOG_LEVEL", "WARNING")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed in this Python: run `make install`, then .venv/bin/python manage.py ...")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(f"Configuration: {error}")
    except KeyboardInterrupt:
        sys.exit(0 if command == "demo" else 130)


if __name__ == "__main__":
    main()
