"""Raw data here, at its source and in the bucket: compare data/raw with its manifest, pull, push.

The manifest, data/MANIFEST.csv, is in git and lists path, size and crc32c of each file: a commit names
the data, too, and its hash is in the record of each run. Nothing in the bucket is ever overwritten.
"""

import csv
import io
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from launcher.cloud import local_files
from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import Count, Entry, hash_files, is_litter, work_through
from launcher.cloud.storage import open_store, upload_new
from launcher.common.document import SpecError
from launcher.common.files import write_file
from launcher.common.terminal import confirm
from launcher.data.sources import RawData, list_source, read_raw_data
from launcher.local.run_dirs import RUNS
from launcher.project.settings import ROOT, read_settings
from launcher.project.sources import MANIFEST, RAW, hash_manifest

HEAD = ["path", "size", "crc32c"]


def pull(options: Namespace) -> int:
    """Make data/raw hold the files of the source, and write the manifest; return the exit code.

    Raises:
        SpecError: the source, or the disk, refuses; what was copied stays.
    """
    raw = read_raw_data()
    listed, read = list_source(raw, whole=options.delete)
    # `status` ignores litter, too.
    wanted = {name: entry for name, entry in listed.items() if not is_litter(name)}
    if not wanted:
        raise CloudError(f"{raw.source}: no files are there; look at source in data.yaml")
    local_files.refuse_names(raw.source, wanted, "such files at the source")
    local_files.refuse_obstacles(RAW, wanted)
    with local_files.disk_errors(RAW):
        kind = next(iter(wanted.values())).kind
        here = hash_files(RAW, wanted, kind)
        sizes = {n: entry.size for n, entry in wanted.items() if not entry.fits(here.get(n))}
        surplus = sorted(set(list_raw()) - wanted.keys())
        lines = [f"{'replace' if name in here else 'copy'} {name}" for name in sorted(sizes)]
        lines += [f"{'delete' if options.delete else 'only here:'} {name}" for name in surplus]
        if options.dry_run:
            print("\n".join(lines or ["nothing to do"]))
            return 0
        print("".join(f"{line}\n" for line in lines if not line.startswith("copy")), end="")

        def work(name: str, count: Count) -> None:
            source, path = f"{raw.source}/{name}", RAW / name
            local_files.write_rest(path, source, wanted[name], lambda i: count(read(name, i)))

        work_through("copying", sizes, work)
        entries = wanted if kind == "crc32c" else hash_files(RAW, wanted)
        write_manifest(entries)
        size = sum(entries[name].size for name in sizes) / 1e6
        print(f"data/raw: {len(wanted)} files of {raw.source}; copied {len(sizes)}, {size:.1f} MB")
        if options.delete and surplus:
            if not options.yes:
                question = f"Delete {len(surplus)} files from data/raw?"
                confirm(question, "nothing was deleted", "give --yes")
            for name in surplus:
                (RAW / name).unlink()
    return 0


def push(options: Namespace) -> int:
    """Copy the files and folders `options.path` of data/raw, or the run `options.run`.

    Raises:
        SpecError: a path is not in data/raw; the bucket has another file of a name, or refuses.
    """
    with local_files.disk_errors(ROOT):
        if options.run is not None:
            return _push_run(options.run)
        raw = read_raw_data()
        paths = [_take_path(path, raw) for path in options.path] or [RAW]
        if not raw.source.startswith("gs://"):
            raise SpecError(f"data.yaml: source is {raw.source}; push needs gs://BUCKET/FOLDER")
        names = [n for n in list_raw() if {RAW / n, *(RAW / n).parents}.intersection(paths)]
        store = open_store()
        # Beside what is there: nobody could pull `A.csv` and `a.csv`.
        local_files.refuse_names(raw.source, {*store.list(raw.source), *names}, "such files")
        entries = hash_files(RAW, names)
        upload_new(store, RAW, entries, raw.source)
        write_manifest({**read_manifest(), **entries})
    return 0


def _take_path(text: str, raw: RawData) -> Path:
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
        upload_new(store, folder, part, f"gs://{settings.bucket}/runs/{name}")
    return 0


def show_status(options: Namespace) -> int:
    """Compare data/raw with its manifest; return 1 where they differ. Sends no request."""
    manifest, here = read_manifest(), hash_files(RAW, list_raw())
    size = sum(entry.size for entry in here.values()) / 1e6
    print(f"data/MANIFEST.csv: {len(manifest)} files, {hash_manifest() or 'no'} hash")
    print(f"data/raw: {len(here)} files, {size:.1f} MB")
    differing = [n for n in sorted({*manifest, *here}) if manifest.get(n) != here.get(n)]
    for name in differing:
        what = "is another file" if name in here else "is missing"
        print(f"data/raw/{name} {what if name in manifest else 'is not in the manifest'}")
    return int(bool(differing))


def list_raw() -> list[str]:
    """The files in data/raw."""
    return local_files.list_names(RAW) if RAW.is_dir() else []


def read_manifest() -> dict[str, Entry]:
    """The files by their paths in data/raw; none where there is no manifest yet.

    Raises:
        SpecError: it is not what `write_manifest` writes.
    """
    if not MANIFEST.exists():
        return {}
    entries: dict[str, Entry] = {}
    try:
        rows = [*csv.reader(io.StringIO(MANIFEST.read_text(encoding="utf-8"), newline=""))]
        if rows[:1] != [HEAD]:
            raise ValueError(f"line 1 is not {','.join(HEAD)}")
        for line, row in enumerate(rows[1:], 2):
            if len(row) != 3 or not row[1].isdecimal() or row[0] in entries:
                what = "or names a file a second time"
                raise ValueError(f"line {line} is not {','.join(HEAD)}, {what}")
            entries[row[0]] = Entry(int(row[1]), row[2])
        return entries
    except (ValueError, csv.Error) as error:
        fix = "git checkout data/MANIFEST.csv brings back the committed one"
        raise SpecError(f"{MANIFEST}: {error}; {fix}") from None


def write_manifest(entries: Mapping[str, Entry]) -> None:
    """Write the manifest, where it changes."""
    text = io.StringIO()
    rows = [[path, entries[path].size, entries[path].checksum] for path in sorted(entries)]
    csv.writer(text, lineterminator="\n").writerows([HEAD, *rows])
    if not MANIFEST.exists() or MANIFEST.read_bytes() != text.getvalue().encode():
        write_file(MANIFEST, text.getvalue())
        print("data/MANIFEST.csv has changed: commit it, so that everyone gets these bytes")
