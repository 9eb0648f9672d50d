"""Sweeps in a thread of their own, so that the doorbell is heard meanwhile. One at a time in a process."""

import logging
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from agentops.tenancy.scope import give_back_connection
from agentops.webhooks.couriers import COURIERS
from agentops.worker.sweeper import sweep

logger = logging.getLogger(__name__)

UPKEEP_EVERY_S: Final = 3.0
"""Each pass reads what is new as a whole, so a run that is under way is read again in every one."""

_lock = threading.Lock()
_kept_up_at = -UPKEEP_EVERY_S
_thread: ThreadPoolExecutor | None = None
_under_way: "Future[None] | None" = None


def begin() -> bool:
    """Begin to sweep unless this process is sweeping already; return whether it began."""
    global _thread, _under_way
    with _lock:
        if _under_way is not None and not _under_way.done():
            return False
        if _thread is None:
            _thread = ThreadPoolExecutor(1, thread_name_prefix="agentops-sweeper")
        _under_way = _thread.submit(_sweep)
        return True


def stop() -> None:
    """Begin no more sweeps; one under way goes on to its end, and what it leaves the next one finds."""
    global _thread
    with _lock:
        thread, _thread = _thread, None
    if thread is not None:
        thread.shutdown(wait=False, cancel_futures=True)
    COURIERS.stop()


def _sweep() -> None:
    global _kept_up_at
    upkeep = time.monotonic() - _kept_up_at >= UPKEEP_EVERY_S
    try:
        if upkeep:
            _kept_up_at = time.monotonic()
        sweep(upkeep=upkeep)
    except Exception:
        logger.exception("a sweep failed; the next one tries again")
    finally:
        give_back_connection()


def _forked() -> None:
    """The thread stayed with the parent."""
    global _lock, _thread, _under_way
    _lock, _thread, _under_way = threading.Lock(), None, None


os.register_at_fork(after_in_child=_forked)
