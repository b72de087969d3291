"""Copy what is new or changed at the source to data/raw; compare data/raw with data/MANIFEST.csv.

The manifest is in git and lists path, size and crc32c of each file: a commit names the data, too, and
its hash is in the record of each run.
"""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from collections.abc import Mapping

from launcher.cloud import local_files
from launcher.cloud.errors import CloudError
from launcher.cloud.local_files import Entry
from launcher.common.document import SpecError
from launcher.common.files import write_file
from launcher.common.terminal import confirm
from launcher.data.copying import Count, hash_files, work_through
from launcher.data.sources import list_source, read_raw_data
from launcher.project.sources import MANIFEST, RAW, hash_manifest

HEAD = ["path", "size", "crc32c"]


def pull(options: Namespace) -> int:
    """Make data/raw hold the files of the source, and write the manifest; return the exit code.

    Args:
        options: dry_run: only print what would happen; delete: also delete what the source lacks,
            after a confirmation, or with yes.

    Raises:
        SpecError: the source, or the disk, refuses; what was copied stays.
    """
    raw = read_raw_data()
    wanted, read = list_source(raw)
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
    try:
        head, *rows = csv.reader(io.StringIO(MANIFEST.read_text(encoding="utf-8"), newline=""))
        if head != HEAD:
            raise ValueError(f"line 1 is not {','.join(HEAD)}")
        return {path: Entry(int(size), crc32c) for path, size, crc32c in rows}
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
