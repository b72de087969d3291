"""Benchmark: windows of recordings, alone and while training, beside other ways; and reading long tables."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from measure import ROOT, Lab, interleave, middle, missed, short, shown, standalone, table, verdict

TITLE = "Recordings"
CHANNELS, LENGTH, LABELS = 6, 10_000, 4  # samples of a recording
WINDOW, HOP, BATCH = 256, 64, 64
BLOCK = 1_000_000  # samples that are made at once
PANDAS = f"{ROOT / 'build' / 'pandas'}"
ALONE = {  # name: (way, whether it needs pandas)
    "ours": ("read", False),
    "(a) all windows in memory, numpy's `sliding_window_view`": ("gather", False),
    "(b) `keras.utils.timeseries_dataset_from_array`": ("keras_way", False),
    "(c) pandas groupby, `tf.data.from_generator`": ("generate", True),
}
TRAINED = {
    "ours, from the mapped files": "loop",
    "(a) ours, all windows in memory": "ram",
    "every batch prepared before timing": "prepared",
}
OURS, PARSE = "ours: a CSV to arrays on disk", "pyarrow's parse alone, by blocks"
IN_MEMORY, KERAS, GENERATOR, OF_PARSE, FLAT = 0.95, 3, 20, 0.5, 1.1  # aims


def measure(lab):
    lab = Lab(lab.quick, "problem=series")
    many, few, read = (200_000, 60_000, 60_000) if lab.quick else (2_000_000, 500_000, 2_000_000)
    sizes = [60_000, 120_000] if lab.quick else [1_000_000, 10_000_000, 100_000_000]
    model = ["--hidden-units", "16", "--kernel", 3]
    flags = ["--target", "label", "--window", WINDOW, "--hop", HOP, "--batch-size", BATCH]

    def child(way, path, *more, **environment):
        cache = lab.job_dir().parent if way == "encode" else lab.folder / "cache"
        words = ["--data", path, *flags, *more, "--cache-dir", cache]
        done = lab.child("series_ways.py", way, *words, **environment)
        if way == "encode":
            shutil.rmtree(cache)
        return done.answer

    def alone(way, needs_pandas):
        environment = {"PYTHONPATH": f"{lab.repo}:{PANDAS}"} if needs_pandas else {}
        return child(way, table_of(lab, many), **environment)["rate"]

    ways = {name: lambda how=how: alone(*how) for name, how in ALONE.items()}
    ways |= {
        name: lambda way=way: child(way, table_of(lab, few), *model)["rate"]
        for name, way in TRAINED.items()
    }
    ways |= {
        name: lambda way=way: child(way, table_of(lab, read, "csv"))["rate"]
        for name, way in ((OURS, "encode"), (PARSE, "parse"))
    }
    found = interleave(lab.repeats, ways)
    peaks = {size: child("encode", table_of(lab, size))["peak"] for size in sizes}  # bytes
    medians = {name: middle(values) for name, values in found.items()}
    ours, gathered, keras, generated = (medians[name] for name in ALONE)
    trained, ram, prepared = (medians[name] for name in TRAINED)
    aims = [
        ["training, ours ÷ (a) in memory", *verdict(trained / ram, IN_MEMORY)],
        ["training, ours ÷ every batch prepared", f"{trained / prepared:.3g}", "", ""],
        ["alone, ours ÷ (a)", f"{ours / gathered:.3g}", "", ""],
        ["alone, ours ÷ (b)", *verdict(ours / keras, KERAS)],
        ["alone, ours ÷ (c)", *verdict(ours / generated, GENERATOR)],
        ["encoding ÷ pyarrow's parse", *verdict(medians[OURS] / medians[PARSE], OF_PARSE)],
        [
            f"peak memory, {sizes[-1]:,} samples ÷ {sizes[0]:,}",
            *verdict(peaks[sizes[-1]] / peaks[sizes[0]], FLAT, below=True),
        ],
    ]
    whys = [
        f"Missed, {row[0]}: {row[1]}. In the same run numpy gathers {short(gathered)} windows/s that lie "
        f"in memory, compiled calls alone train on {short(prepared)}, the whole reading of a CSV reaches "
        f"{medians[OURS]:.0f} MB/s beside {medians[PARSE]:.0f} of the parse, and peaks are "
        f"{', '.join(f'{peak / 1e6:.0f} MB' for peak in peaks.values())}.\n"
        for row in aims
        if missed(row)
    ]
    return "\n".join(
        [
            f"Windows of {WINDOW} samples, one each {HOP}, of {CHANNELS} channels, in batches of {BATCH}, "
            f"shuffled, normalised, with a mask; nobody trains; {many:,} samples in recordings of "
            f"{LENGTH:,}:\n",
            table(["", "windows/s"], *([name, shown(found[name])] for name in ALONE)),
            f"While a small network ({' '.join(map(str, model))}) trains on {few:,} samples:\n",
            table(["", "windows/s"], *([name, shown(found[name])] for name in TRAINED)),
            f"A CSV of {read:,} samples, nothing in the cache:\n",
            table(["", "MB/s"], *([name, shown(found[name])] for name in (OURS, PARSE))),
            "Peak memory while a Parquet file is read, encoded, and its windows are read once (one run each):\n",
            table(
                ["samples", "peak"], *([f"{n:,}", f"{p / 1e6:.0f} MB"] for n, p in peaks.items())
            ),
            table(["", "value", "aim", ""], *aims),
            *whys,
        ]
    )


def table_of(lab, samples, form="parquet"):
    """A file of recordings of ten participants or more; the same one each time."""
    path = lab.folder / f"recordings-{samples}.{form}"
    if not path.exists():
        partial = path.with_suffix(".partial")
        names = ["subject", "trial", "t", *(f"c{i}" for i in range(CHANNELS)), "label"]
        kinds = [pa.string(), pa.string(), pa.float64(), *[pa.float32()] * CHANNELS, pa.string()]
        schema = pa.schema(zip(names, kinds, strict=True))
        make = pa.csv.CSVWriter if form == "csv" else pa.parquet.ParquetWriter
        with make(partial, schema) as writer:
            for start in range(0, samples, BLOCK):
                writer.write_table(_make(start, min(BLOCK, samples - start), samples, schema))
        partial.rename(path)
    return path


def _make(start, count, samples, schema):
    random, row = np.random.default_rng(start), start + np.arange(count)
    recording = row // min(LENGTH, samples // 20)
    label = recording % LABELS
    turns = row[:, np.newaxis] * (0.01 + 0.01 * label[:, np.newaxis])
    values = np.sin(turns + np.arange(CHANNELS)) + random.normal(0, 0.3, (count, CHANNELS))
    columns = [
        np.char.add("s", (recording % 10).astype(str)),
        recording.astype(str),
        row * 0.01,
        *np.round(values, 2).astype(np.float32).T,
        np.char.add("l", label.astype(str)),
    ]
    return pa.table(columns, schema)


if __name__ == "__main__":
    standalone(measure)
