"""The one event loop of a process in which everything that waits for a model lives, in a thread of its own.

Clients of the provider libraries must not be used from two loops, and a waiting coroutine costs some kilobytes where a
waiting thread costs a stack. The thread starts with the first submission, hence after a worker process was forked. No
coroutine in here may touch the database: its connections belong to threads.
"""

import asyncio
import atexit
import inspect
import os
import resource
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Final, TypeVar

from django.conf import settings

THREAD_NAME: Final = "agentops-model"
CLOSE_S: Final = 2.0
"""Seconds that cancelled work and open connections get to end when the loop is closed."""

OTHER_FILES: Final = 256
"""Open files that the rest of the process is left, of those the system allows it."""

T = TypeVar("T")
Closer = Callable[[], Awaitable[None]]

_closers: list[Closer] = []


class _LoopThread:
    """One event loop in one daemon thread, at most `limit` coroutines at work in it; more wait for their turn."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.loop = asyncio.new_event_loop()
        self.slots = asyncio.Semaphore(limit)
        self.lock = threading.Lock()
        self.count = 0
        self.thread = threading.Thread(target=self.loop.run_forever, name=THREAD_NAME, daemon=True)
        self.thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        with self.lock:
            self.count += 1
        future = asyncio.run_coroutine_threadsafe(self._in_turn(work), self.loop)
        future.add_done_callback(lambda done: self._ended(done, work))
        return future

    async def _in_turn(self, work: Coroutine[Any, Any, T]) -> T:
        async with self.slots:
            return await work

    def _ended(self, future: "Future[Any]", work: Coroutine[Any, Any, Any]) -> None:
        with self.lock:
            self.count -= 1
        if future.cancelled():
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(_forget, work)

    async def _wind_up(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=CLOSE_S / 2)
        for closer in _closers:
            await closer()

    def stop(self) -> None:
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._wind_up(), self.loop).result(CLOSE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(CLOSE_S)
        if not self.thread.is_alive():
            self.loop.close()


def _forget(work: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that was cancelled before its turn came, so that nobody waits for it to begin."""
    if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()


class _PerProcess:
    """The loop thread of this process, or none yet."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: _LoopThread | None = None


_process = _PerProcess()


def _connections(wanted: int) -> int:
    """Return how many connections this process may have for models, after asking the system for room for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + OTHER_FILES:
        return wanted
    raised = wanted + OTHER_FILES if hard == resource.RLIM_INFINITY else min(hard, wanted + OTHER_FILES)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, raised), hard))
        soft = max(soft, raised)
    return max(1, min(wanted, soft - OTHER_FILES))


def submit(work: Coroutine[Any, Any, T]) -> "Future[T]":
    """Run a coroutine in the loop and return its future at once; cancelling the future cancels the coroutine.

    At most MODEL_IN_FLIGHT run at a time, the others wait for a slot in the order they came. Callbacks of the future
    run in the loop's thread and must return quickly. After `close` the future is cancelled.
    """
    with _process.lock:
        if _process.running is None:
            _process.running = _LoopThread(_connections(settings.MODEL_IN_FLIGHT))
        return _process.running.run(work)


def in_flight() -> int:
    """Return how many submitted coroutines have not ended yet."""
    running = _process.running
    return running.count if running is not None else 0


def room() -> int:
    """Return how many more coroutines could run at once; whoever takes up runs asks this first."""
    running = _process.running
    limit = running.limit if running is not None else settings.MODEL_IN_FLIGHT
    return max(0, limit - in_flight())


def on_close(closer: Closer) -> None:
    """Have something awaited in the loop before it closes, for connections that belong to it."""
    if closer not in _closers:
        _closers.append(closer)


def close() -> None:
    """Cancel what is in flight, close the connections and stop the thread; the next submission starts a new one."""
    with _process.lock:
        running, _process.running = _process.running, None
    if running is not None:
        running.stop()


def _start_afresh() -> None:
    """Threads do not survive a fork, and another thread may have held the lock at that moment."""
    _process.lock = threading.Lock()
    _process.running = None


os.register_at_fork(after_in_child=_start_afresh)
atexit.register(close)
