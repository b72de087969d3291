"""One way to windows of recordings, in a process of its own: `python series_ways.py WAY … trainer flags`.

Prints JSON: windows a second, or MB of a file a second, and the peak of memory. `series.py` starts it, in a
baked repo.
"""

import json
import os
import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from ways import make_training, prepare_batches, rate, train_on


def read(flags, data):
    """Our reader: windows are cut from mapped files, and normalised."""

    def epoch(number):
        for _ in data.train.batches(flags.batch_size, flags.seed, number):
            pass

    return rate(data.train.rows, epoch)


def gather(flags, data):
    """All samples in memory; windows are views that numpy gathers, and normalises as we do."""
    part, targets = _in_memory(data)

    def epoch(number):
        order = np.random.default_rng([flags.seed, number]).permutation(data.train.rows)
        for start in range(0, len(order), flags.batch_size):
            rows = order[start : start + flags.batch_size]
            part(rows), targets[rows]

    return rate(data.train.rows, epoch)


def _in_memory(data):
    """A function that gives the inputs of windows, from arrays in memory; and their targets."""
    samples, schema, train = np.array(data.recordings.samples()), data.schema, data.train
    windows = np.lib.stride_tricks.sliding_window_view(samples, schema.window, axis=0)
    starts, (mean, std) = np.array(train.start), schema.scale

    def take(rows):
        values = windows[starts[rows]].swapaxes(1, 2)  # [n, window, channels]
        mask = np.isfinite(values)
        return {"samples": np.where(mask, (values - mean) / std, np.float32(0)), "mask": mask}

    return take, data.recordings.targets[np.array(train.number)]


def keras_way(flags, data):
    """Keras's own windows over one array; windows cross from one recording to the next, and nothing is normalised."""
    import keras

    samples = np.array(data.recordings.samples())
    targets = np.repeat(data.recordings.targets, data.recordings.lengths)
    made = keras.utils.timeseries_dataset_from_array(
        samples,
        targets[: len(samples) - data.schema.window + 1],
        data.schema.window,
        sequence_stride=data.schema.hop,
        batch_size=flags.batch_size,
        shuffle=True,
        seed=flags.seed,
    )
    count = (len(samples) - data.schema.window) // data.schema.hop + 1

    def epoch(_):
        for _ in made:
            pass

    return rate(count, epoch)


def generate(flags, data):
    """As tutorials do it: pandas groups the rows of a recording, a generator yields windows."""
    import pandas
    import tensorflow as tf

    frame = pandas.read_parquet(flags.data)
    labels = {label: i for i, label in enumerate(data.schema.labels)}
    names, window = data.schema.names, data.schema.window

    def windows():
        for _, one in frame.groupby(["subject", "trial"]):
            values, label = one[names].to_numpy(), labels[one["label"].iloc[0]]
            values = (values - values.mean(axis=0)) / values.std(axis=0)
            for start in range(0, len(values) - window + 1, data.schema.hop):
                yield values[start : start + window], label

    shape = tf.TensorSpec((window, len(names)), tf.float32), tf.TensorSpec((), tf.int32)
    made = tf.data.Dataset.from_generator(windows, output_signature=shape)
    made = made.shuffle(1000).batch(flags.batch_size).prefetch(2)
    lengths = data.recordings.lengths
    count = int(((lengths - window) // data.schema.hop + 1).sum())

    def epoch(_):
        for _ in made:
            pass

    return rate(count, epoch)


def loop(flags, data):
    """The trainer's own loop."""
    training = make_training(flags, data)
    return rate(data.train.rows, train_on(training))


def ram(flags, data):
    """The same, with all samples in memory, and windows as numpy's views of them."""
    take, targets = _in_memory(data)
    kind = type(
        "InMemory", (type(data.train),), {"read": lambda _, rows: (take(rows), targets[rows])}
    )
    train = data.train
    changed = kind(train.path, train.rows, train.recordings, train.schema)
    return loop(flags, replace(data, train=changed))


def prepared(flags, data):
    """The compiled calls alone: every batch was prepared before timing starts."""
    training = make_training(flags, data)
    prepare_batches(training)
    return rate(data.train.rows, train_on(training))


def encode(flags, load):
    """Files to arrays on disk, then all windows once; MB/s are of the first alone."""
    begin, cpu = time.perf_counter(), time.process_time()
    data = load()
    seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    for _ in data.train.batches(flags.batch_size, flags.seed):
        pass
    epoch = time.perf_counter() - begin
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]
    rate = os.path.getsize(flags.data) / 1e6 / seconds
    cpu = time.process_time() - cpu
    return {"rate": rate, "seconds": seconds, "epoch": epoch, "cpu": cpu, "peak": 1024 * int(peak)}


def parse(flags, _):
    """pyarrow's parse of the same columns, by blocks of which none is kept."""
    import pyarrow as pa
    from pyarrow import csv

    types = {"subject": pa.string(), "trial": pa.string(), "t": pa.float64(), "label": pa.string()}
    types |= {f"c{i}": pa.float32() for i in range(6)}
    begin = time.perf_counter()
    options = csv.ConvertOptions(column_types=types)
    with csv.open_csv(flags.data, convert_options=options) as reader:
        for _ in reader:
            pass
    return {"rate": os.path.getsize(flags.data) / 1e6 / (time.perf_counter() - begin)}


WAYS = (read, gather, keras_way, generate, loop, ram, prepared, encode, parse)

if __name__ == "__main__":
    from trainer import data as recordings
    from trainer import task
    from trainer.engine import runtime

    way = {way.__name__: way for way in WAYS}[sys.argv[1]]
    flags = task.parse(sys.argv[2:])

    def load():
        return recordings.load(flags, runtime.read("unused"))

    print(json.dumps(way(flags, load if way in (encode, parse) else load())), flush=True)
    os._exit(0)
