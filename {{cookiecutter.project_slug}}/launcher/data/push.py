"""Copy new files of data/raw, or a run, to the bucket; nothing there is ever overwritten."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from launcher.cloud import local_files
from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import SHOWN, Entry
from launcher.cloud.storage import Store
from launcher.common.document import SpecError
from launcher.data.copying import Count, hash_files, work_through
from launcher.data.pull import list_raw, read_manifest, write_manifest
from launcher.data.sources import RawData, open_store, read_raw_data
from launcher.local.run_dirs import RUNS
from launcher.project.settings import ROOT, read_settings
from launcher.project.sources import RAW


def push(options: Namespace) -> int:
    """Copy the files and folders `options.path` of data/raw, or the run `options.run`.

    Raises:
        SpecError: a path is not in data/raw; the bucket has another file of a name, or refuses.
    """
    with local_files.disk_errors(ROOT):
        if options.run:
            return _push_run(options.run)
        raw = read_raw_data()
        paths = [_take_path(path, raw) for path in options.path] or [RAW]
        if not raw.source.startswith("gs://"):
            raise SpecError(f"data.yaml: source is {raw.source}; push needs gs://BUCKET/FOLDER")
        names = [n for n in list_raw() if {RAW / n, *(RAW / n).parents}.intersection(paths)]
        local_files.refuse_names("data/raw", names, "such files")
        entries = hash_files(RAW, names)
        _copy_new(open_store(), RAW, entries, raw.source)
        write_manifest({**read_manifest(), **entries})
    return 0


def _take_path(text: str | Path, raw: RawData) -> Path:
    path = Path(os.path.abspath(text))
    within = (path, *path.parents)
    if RAW in within and path.exists():
        return path
    for folder, command in raw.derived.items():
        if ROOT / folder in within:
            raise SpecError(f"{text}: is derived, and not copied; to make it again: {command}")
    if RUNS in path.parents:
        name = path.relative_to(RUNS).parts[0]
        raise SpecError(
            f"{text}: is of a run; to copy that: python scripts/data.py push --run {name}"
        )
    raise SpecError(f"{text}: is no file in data/raw, and only those are copied; see data.yaml")


def _push_run(name: str) -> int:
    settings, folder = read_settings(), RUNS / name
    if faults := settings.missing("bucket"):
        raise SpecError(*faults)
    if folder.parent != RUNS or not any((folder / r).is_file() for r in ("run.json", "study.json")):
        raise SpecError(f"runs/{name}: is no run; write the name of a folder in runs/")
    entries, store = hash_files(folder, local_files.list_names(folder)), open_store()
    records = {n: entries.pop(n) for n in list(entries) if n.rpartition("/")[2] == "run.json"}
    for part in (entries, records):  # a folder is a run once its record is there
        _copy_new(store, folder, part, f"gs://{settings.bucket}/runs/{name}")
    return 0


def _copy_new(store: Store, folder: Path, entries: Mapping[str, Entry], target: str) -> None:
    """Copy the files of a folder that a folder of a bucket lacks."""
    there = store.list(target)
    new = {name: entry.size for name, entry in entries.items() if name not in there}
    others = [n for n, entry in entries.items() if there.get(n, entry) != entry]

    def work(name: str, count: Count) -> None:
        if not store.upload(folder / name, f"{target}/{name}", new=True):
            others.append(name)

    work_through("copying", new, work)
    print(f"{target}: copied {len(new)} files, {sum(new.values()) / 1e6:.1f} MB", flush=True)
    if others:
        names = ", ".join(sorted(others)[:SHOWN]) + (", …" if len(others) > SHOWN else "")
        what = "are others there, and nothing is overwritten; give yours another name"
        raise CloudError(f"{target}: {len(others)} files ({names}) {what}")
