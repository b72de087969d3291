"""Work spread over processes or threads: bounded in memory, and gone when its owner is."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor


def cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes(count: int) -> ProcessPoolExecutor:
    """A pool of fresh processes, which have nothing of this one's memory."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=context, initializer=_begin)


def in_order(
    pool: Executor | None, function: Callable, tasks: Iterable[tuple], ahead: int
) -> Iterator:
    """The results of function(*task) in the order of the tasks, of which no more than `ahead` are
    taken before the results are wanted. Without a pool: here, one after the other."""
    waiting: deque = deque()
    for task in tasks:
        if pool is None:
            yield function(*task)
            continue
        waiting.append(pool.submit(function, *task))
        while waiting and (len(waiting) > ahead or waiting[0].done()):
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _begin() -> None:
    _keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the owner's to handle
    threading.Thread(target=_end_with_owner, daemon=True).start()


def _end_with_owner() -> None:
    """An owner that was killed cannot end its workers, who would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _keep_memory() -> None:
    """Keeps for the next picture what the last one took. The C library would give it back, page by
    page, and ask for it anew: a third of the time for a picture (glibc; elsewhere it is left)."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD, bytes
            mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
