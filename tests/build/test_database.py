"""What the embedded mode promises of its file."""

import pytest
from django.db import connection


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL syncs its commits unless it is told not to")
def test_a_commit_survives_a_power_cut_and_readers_do_not_wait_for_writers() -> None:
    found = {}
    with connection.cursor() as cursor:
        for name in ("synchronous", "journal_mode"):
            cursor.execute(f"PRAGMA {name}")
            found[name] = cursor.fetchone()[0]
    assert found == {"synchronous": 2, "journal_mode": "wal"}
