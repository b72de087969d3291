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

from codec import files


def count_cores() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def start_processes(count: int) -> ProcessPoolExecutor:
    """A pool of fresh processes, which share nothing of this one's memory."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(
        count, mp_context=context, initializer=_begin, initargs=(files.GFILE,)
    )


def run_in_order(
    pool: Executor | None, function: Callable, tasks: Iterable[tuple], ahead: int
) -> Iterator:
    """The results of function(*task) in the order of the tasks, of which at most `ahead` wait or run
    beside the one whose result comes next. Without a pool: in this thread, one after the other."""
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


def _begin(gfile: str | None) -> None:
    files.GFILE = gfile
    _keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner handles Ctrl-C
    threading.Thread(target=_end_with_owner, daemon=True).start()


def _end_with_owner() -> None:
    """An owner that was killed cannot end its workers, which would wait for work for ever."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _keep_memory() -> None:
    """Keep the memory of one image for the next. The C library would return it to the system page
    by page: a third of the time for an image (glibc; nothing is done elsewhere)."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD, bytes
            mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD
