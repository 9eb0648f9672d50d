"""A deployment with a database of its own, for a benchmark that fills it first."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.run import clean_environment, say


@contextmanager
def deployed(keep: str) -> Iterator[Any]:
    """Give a deployment whose database is migrated, with this process a part of it.

    `keep` is the name the database is kept under, or used again; empty: it is gone afterwards.
    """
    from tests.bench.deployment import Deployment
    from tests.bench.servers import servers
    from tests.proof.databases import own_database

    files = tempfile.TemporaryDirectory(prefix="agentops-bench-", ignore_cleanup_errors=True)
    with files as directory, servers() as found:
        for name, origin in found.origins.items():
            say(f"{name} is {origin}.")
        forget_configuration()
        with own_database(found.postgresql, Path(directory) / "owner", keep=keep) as database:
            place = Deployment(database, found.redis, Path(directory))
            place.become()
            try:
                yield place
            finally:
                from django.db import connections

                connections.close_all()
                place.sql.close()


def forget_configuration() -> None:
    """Drop what configures the product in the environment, so that every machine measures the same.

    A browser works beside the database in some.
    """
    kept = clean_environment()
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
