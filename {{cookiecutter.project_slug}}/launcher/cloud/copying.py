"""Work through many files side by side, with a progress bar; after an error all of them stop soon."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import Entry, compute_entry, read_file
from launcher.common.terminal import new_bars

AT_ONCE = 8  # files that are copied side by side; the storage client keeps ten connections
Count = Callable[[Iterable[bytes]], Iterator[bytes]]  # passes parts of a file on, moves the bar


def work_through(
    title: str, sizes: Mapping[str, int | None], work: Callable[[str, Count], None]
) -> None:
    """Call `work(name, count)` for each of these files.

    Args:
        sizes: of the files, in bytes; None: unknown.
    """
    from rich.progress import DownloadColumn, TransferSpeedColumn

    bars = new_bars(DownloadColumn(), TransferSpeedColumn())
    task = bars.add_task(title, total=sum(size or 0 for size in sizes.values()) or None)
    stopped = threading.Event()

    def count(parts: Iterable[bytes]) -> Iterator[bytes]:
        for part in parts:
            if stopped.is_set():
                raise CloudError("stopped, since another file failed")
            yield part
            bars.advance(task, len(part))

    with bars, ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done in as_completed([pool.submit(work, name, count) for name in sizes]):
                done.result()
        except BaseException:  # Ctrl-C, too
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def hash_files(folder: Path, names: Iterable[str], kind: str = "crc32c") -> dict[str, Entry]:
    """Sizes and checksums of those of these files that are in a folder."""
    sizes = {name: (folder / name).stat().st_size for name in names if (folder / name).is_file()}
    entries = {}

    def work(name: str, count: Count) -> None:
        entries[name] = compute_entry(count(read_file(folder / name)), kind)

    work_through("comparing", sizes, work)
    return entries
