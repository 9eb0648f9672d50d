"""Must show 4, the server's part: two hundred open streams hear everything, and its memory stays what it is."""

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from approvals.queue.live import TOPICS
from tests.bench.report import Row
from tests.bench_ui.people import cookie_of
from tests.bench_ui.site import Site, arriving, memory_mb
from tests.bench_ui.world import Place

WARM_UP_S = 20.0
LOOK_EVERY_S = 2.0
SETTLE_S = 5.0
COME_BACK_S = 30.0
"""A stream ends after ten minutes and its browser comes back: two hundred at once, when all were opened at once."""

A_SECOND = 5.0
BACK_AFTER_S = 2.0


@dataclass
class Listener:
    """One open stream, which comes back after its end with the last event it has heard, as browsers do."""

    host: str
    port: int
    path: str
    cookie: str
    begins_at: int | None = None
    last: int | None = None
    heard: list[int] = field(default_factory=list)
    opened: int = 0
    refused: int = 0
    again: list[range] = field(default_factory=list)
    """Ids of what it was told to read again as a whole, instead of each of them."""
    gaps: int = 0
    """Holes in the numbers that a stream gives to what it tells, where it does."""
    _numbered: int | None = None

    async def listen(self) -> None:
        """Listen until it is cancelled."""
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._once()
            await asyncio.sleep(BACK_AFTER_S)

    async def _once(self) -> None:
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            last = f"Last-Event-ID: {self.last}\r\n" if self.last is not None else ""
            head = f"GET {self.path} HTTP/1.1\r\nHost: {self.host}\r\nCookie: sessionid={self.cookie}\r\n{last}\r\n"
            writer.write(head.encode())
            status = await reader.readline()
            if b" 200 " not in status:
                self.refused += 1
                return
            self.opened += 1
            number: int | None = None
            self._numbered = None
            while line := await reader.readline():
                text = line.strip()
                if text.startswith(b"id: "):
                    number = int(text[4:])
                elif text.startswith(b"event: ") and number is not None:
                    self._take(text[7:].decode(), number)
                    number = None
                elif text.startswith(b"data: "):
                    self._count(json.loads(text[6:]).get("n"))
        finally:
            writer.close()

    def _take(self, name: str, number: int) -> None:
        if name == "resync" and self.last is not None:
            self.again.append(range(self.last + 1, number + 1))
        self.last = number
        if self.begins_at is None:
            self.begins_at = number
        if name not in ("hello", "resync"):
            self.heard.append(number)

    def _count(self, number: int | None) -> None:
        if number is not None and self._numbered is not None:
            self.gaps += number != self._numbered + 1
        self._numbered = number


def open_streams(site: Site, place: Place, *, count: int, minutes: float) -> Iterator[Row]:
    """Keep so many streams open for some minutes while five proposals arrive every second."""
    parts = urlsplit(site.url)
    cookies = [cookie_of(user) for user in place.operators]
    path = site.path(place, "live?topics=queue")
    everybody = [
        Listener(str(parts.hostname), parts.port or 80, path, cookies[number % len(cookies)]) for number in range(count)
    ]
    memory: list[float] = []
    asyncio.run(_hold(site, place, everybody, memory, minutes * 60))
    left = list(_missing(site, place, everybody))
    missed = sum(map(len, left))
    late = sum(
        len([number for number in ids if number > (one.last or 0)]) for one, ids in zip(everybody, left, strict=True)
    )
    doubled = sum(len(one.heard) - len(set(one.heard)) for one in everybody)
    heard = statistics.median(len(one.heard) for one in everybody)
    name = f"{count} open for {minutes:g} min"
    back, refused = sum(one.opened for one in everybody) - count, sum(one.refused for one in everybody)
    again = sum(len(one.again) for one in everybody)
    told = (
        f"{heard:.0f} events on each, {back} came back, {again} times with too much to tell (all is read again then), "
        f"{refused} times the server had no room at first"
    )
    gaps = sum(one.gaps for one in everybody)
    if missed or gaps:
        told += f"; {late} of the missed were newer than the last that was heard, {gaps} gaps in the numbers"
    missed += gaps
    yield Row("streams", f"{name}: missed events", missed, "", target="0", note=told)
    yield Row("streams", f"{name}: events told twice", doubled, "", target="0")
    quarter = max(len(memory) // 4, 1)
    first, last = statistics.median(memory[:quarter]), statistics.median(memory[-quarter:])
    told = f"{first:.0f} MB in the first quarter, {last:.0f} MB in the last"
    yield Row("streams", f"{name}: memory grew by", (last / first - 1) * 100, "%", target="<= 5", note=told)


async def _hold(site: Site, place: Place, everybody: Sequence[Listener], memory: list[float], seconds: float) -> None:
    tasks = [asyncio.create_task(one.listen()) for one in everybody]
    until = time.monotonic() + 60
    while any(one.begins_at is None for one in everybody):
        _fail(tasks)
        shut = sum(one.begins_at is None for one in everybody)
        assert time.monotonic() < until, f"{shut} streams did not open:\n{site.web.said}"
        await asyncio.sleep(0.1)
    with arriving(site.deployment, place, a_second=A_SECOND):
        warm = time.monotonic() + min(WARM_UP_S, seconds / 4)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            await asyncio.sleep(min(LOOK_EVERY_S, seconds / 20))
            _fail(tasks)
            if time.monotonic() > warm:
                memory.append(memory_mb(site.web))
    await asyncio.sleep(SETTLE_S)
    [(newest,)] = site.deployment.rows(
        "select coalesce(max(id), 0) from audit_event where tenant_id = %s and type = any(%s)",
        place.tenant.pk,
        list(TOPICS),
    )
    late = time.monotonic() + COME_BACK_S
    while any((one.last or 0) < newest for one in everybody) and time.monotonic() < late:
        _fail(tasks)
        await asyncio.sleep(0.2)
    _fail(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _fail(tasks: Sequence["asyncio.Task[None]"]) -> None:
    for task in tasks:
        if task.done() and task.exception() is not None:
            raise task.exception() or AssertionError


def _missing(site: Site, place: Place, everybody: Sequence[Listener]) -> Iterator[set[int]]:
    """Yield for each stream what was recorded since it opened and reached it neither alone nor with everything."""
    rows = site.deployment.rows(
        "select id from audit_event where tenant_id = %s and type = any(%s)", place.tenant.pk, list(TOPICS)
    )
    recorded = {number for (number,) in rows}
    for one in everybody:
        assert one.begins_at is not None
        began = one.begins_at
        left = {number for number in recorded if number > began} - set(one.heard)
        yield {number for number in left if not any(number in ids for ids in one.again)}
