"""The floor: what the durable steps of any engine cost at least on this machine, with nothing around them."""

import sqlite3
import statistics
import threading
import time
from pathlib import Path

PAYLOAD = "x" * 200
STEPS = 5
_TABLES = """
create table floor_run (id bigint primary key, seq int not null);
create table floor_event (run bigint not null, seq int not null, body text not null, primary key (run, seq));
"""


class Floor:
    """Measures INSERT + UPDATE + COMMIT per step over raw psycopg, and remembers what it found."""

    def __init__(self, url: str) -> None:
        import psycopg

        self.url = url
        self.found: list[float] = []
        self._next = 0
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_TABLES)

    def measure(self, seconds: float) -> float:
        """Return and remember the steps per second of one connection."""
        rate = self.rate(1, seconds)
        self.found.append(rate)
        return rate

    @property
    def median(self) -> float:
        """The median of what was measured so far, in steps per second."""
        return statistics.median(self.found)

    def rate(self, connections: int, seconds: float) -> float:
        """Return the steps per second of so many connections together."""
        counts: list[int] = []
        threads = []
        for _ in range(connections):
            self._next += 10_000_000
            threads.append(threading.Thread(target=self._work, args=(self._next, seconds, counts)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / seconds

    def _work(self, first: int, seconds: float, counts: list[int]) -> None:
        import psycopg

        done, run = 0, first
        with psycopg.connect(self.url, prepare_threshold=0) as connection:
            cursor = connection.cursor()
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                seq = done % STEPS
                if seq == 0:
                    run += 1
                    cursor.execute("insert into floor_run values (%s, 0)", (run,))
                cursor.execute("insert into floor_event values (%s, %s, %s)", (run, seq, PAYLOAD))
                cursor.execute("update floor_run set seq = %s where id = %s", (seq, run))
                connection.commit()
                done += 1
        counts.append(done)


def sqlite_rate(path: Path, seconds: float, synchronous: str) -> float:
    """Return the steps per second of one connection to a new SQLite file with a write-ahead log."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.executescript(f"pragma journal_mode=WAL; pragma synchronous={synchronous}; {_TABLES}")
        done, run = 0, 0
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            seq = done % STEPS
            connection.execute("begin immediate")
            if seq == 0:
                run += 1
                connection.execute("insert into floor_run values (?, 0)", (run,))
            connection.execute("insert into floor_event values (?, ?, ?)", (run, seq, PAYLOAD))
            connection.execute("update floor_run set seq = ? where id = ?", (seq, run))
            connection.execute("commit")
            done += 1
    finally:
        connection.close()
    return done / seconds
