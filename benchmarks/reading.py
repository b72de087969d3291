"""What reading a CSV file costs, part by part: `python reading.py FILE TARGET` prints MB/s as JSON.

`limits.py` starts it, in a baked repo.
"""

import json
import os
import sys
import tempfile
import time

import pyarrow.csv
from trainer import data
from trainer.columns import encode, infer, tables
from trainer.columns.rows import Rows


def from_disk(path):
    """With nothing of the file in the system's cache."""
    with open(path, "rb", buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(1 << 20):
            pass


def parse(path):
    """pyarrow alone, a block after the other as the trainer reads them; kinds found by itself."""
    for _ in pyarrow.csv.open_csv(path, pyarrow.csv.ReadOptions(block_size=tables.BLOCK_BYTES)):
        pass


def main(path, target):
    rows = Rows([tables.open_source(path)])
    schema = []

    def first():
        schema.append(infer.infer(rows, target, None, {}))

    def second():
        with tempfile.TemporaryDirectory(dir=".") as folder:
            encode.encode(schema[0], rows, os.path.join(folder, "train"))

    parts = {
        "the file read from disk, not cached": lambda: from_disk(path),
        "our digest of it": lambda: data._identity(path),
        "pyarrow's parse alone, by blocks": lambda: parse(path),
        "pyarrow's parse alone, whole file at once": lambda: pyarrow.csv.read_csv(path),
        "our first pass: kinds, means, categories": first,
        "our second pass: encode and write": second,
    }
    if not hasattr(os, "posix_fadvise"):
        del parts["the file read from disk, not cached"]
    found = {}
    for name, part in parts.items():
        start = time.perf_counter()
        part()
        found[name] = os.path.getsize(path) / 1e6 / (time.perf_counter() - start)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
