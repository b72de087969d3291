"""Ways of reading images, or of training on them: `python image_ways.py WAY:CACHE,… trainer flags`.

Prints JSON: for each, images a second of the first epoch and of those after it, and the processor
time of an image in these. `reader.py` starts it, in a bake for images.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from trainer import data as images
from trainer import model, task
from trainer.engine import batching, parallel, runtime
from trainer.images import shards
from ways import make_training, prepare_batches, train_on

TIMED = 1.5  # seconds that are timed at least, after the first epoch
SHUFFLED = 1000  # the buffer of tutorials
FITTED = 3  # epochs of `fit`


class Watch(tf.keras.callbacks.Callback):
    """How many seconds each epoch of `fit` takes."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(time.perf_counter() - self.begin)


def rates(count, epoch):
    """Images a second, and seconds of processors for one; epoch() goes through `count` of them."""

    def once():
        start = time.perf_counter()
        epoch()
        return time.perf_counter() - start

    first, later = once(), []
    worked = time.process_time()
    while sum(later) < TIMED:
        later.append(once())
    worked, read = time.process_time() - worked, count * len(later)
    return {"first": count / first, "rate": read / sum(later), "cpu": worked / read}


def read(flags, data):
    """Our batches, prepared a block ahead, on the device; no training."""
    replicas = parallel.create_replicas(flags.strategy, runtime.read("unused"))
    number = iter(range(1_000_000))

    def epoch():
        blocks = data.train.batches(flags.batch_size, flags.seed, next(number))
        for _, block in batching.ahead(blocks):
            replicas.distribute(block)

    return rates(data.train.rows, epoch)


def gather(flags, data):
    """Decoded images in memory, batches taken out of them in random order, by numpy alone."""
    images, labels = _memory(data)
    random = np.random.default_rng(0)

    def epoch():
        order = random.permutation(len(images))
        for start in range(0, len(order), flags.batch_size):
            some = order[start : start + flags.batch_size]
            np.take(images, some, axis=0), labels[some]

    return rates(len(images), epoch)


def decode(flags, data):
    """The shards' JPEG files, already in memory, decoded on all cores: no reader can be faster."""
    dataset, count = data.train.pixels.dataset, data.train.rows
    records = tf.data.TFRecordDataset(_shards(data)).as_numpy_iterator()
    files = [shards.parse(record)[0].numpy() for record in records]

    def decode_one(file):
        return shards.decode(file, dataset.manifest.encoding, dataset.shape)

    decoded = tf.data.Dataset.from_tensor_slices(files).map(decode_one, os.cpu_count())
    return rates(count, lambda: decoded.reduce(0, lambda number, _: number + 1))


def tutorial(flags, data):
    """As tutorials do it: a record at a time, decoded to floats, shuffled as floats."""
    return _through(_tutorial(flags, data), flags, data)


def directory(flags, data):
    """Keras's loader, on the files that the shards were made from, those held out among them."""
    loaded = tf.keras.utils.image_dataset_from_directory(
        os.environ["IMAGES"],
        image_size=data.train.pixels.dataset.shape[:2],
        batch_size=flags.batch_size,
        seed=0,
        verbose=False,
    )
    count = sum(1 for _ in Path(os.environ["IMAGES"]).rglob("*.jpg"))
    loaded = loaded.prefetch(tf.data.AUTOTUNE)

    def epoch():
        for _ in loaded:
            pass

    return rates(count, epoch)


def loop(flags, data):
    """The trainer's own loop."""
    epoch, number = train_on(make_training(flags, data)), iter(range(1_000_000))
    return rates(data.train.rows, lambda: epoch(next(number)))


def prepared(flags, data):
    """The same, with every batch prepared before timing: no reader can be faster."""
    training = make_training(flags, data)
    prepare_batches(training)
    epoch, number = train_on(training), iter(range(1_000_000))
    return rates(data.train.rows, lambda: epoch(next(number)))


def fit(flags, data):
    """The same model, by `fit` on the tutorials' loader."""
    built = model.build(data, flags)
    # The model takes pixels from 0 to 255, and scales them itself.
    batches = _tutorial(flags, data).map(lambda image, label: ({"image": image * 255}, label))
    # One call for all epochs: each call would fill the shuffle buffer anew.
    steps, watch = data.train.rows // flags.batch_size, Watch()
    built.fit(batches, steps_per_epoch=steps, epochs=FITTED, callbacks=[watch], verbose=0)
    first, *later = (steps * flags.batch_size / seconds for seconds in watch.epochs)
    return {"first": first, "rate": len(later) / sum(1 / rate for rate in later)}


def _tutorial(flags, data):
    shape = data.train.pixels.dataset.shape
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.int64),
    }

    def decode_one(record):
        found = tf.io.parse_single_example(record, features)
        pixels = tf.io.decode_jpeg(found["image"], channels=3)
        return tf.reshape(tf.cast(pixels, tf.float32) / 255, shape), found["label"]

    records = tf.data.TFRecordDataset(_shards(data), num_parallel_reads=tf.data.AUTOTUNE)
    decoded = records.map(decode_one).repeat().shuffle(SHUFFLED)
    return decoded.batch(flags.batch_size).prefetch(tf.data.AUTOTUNE)


def _through(batches, flags, data):
    batches, steps = iter(batches), data.train.rows // flags.batch_size

    def epoch():
        for _ in range(steps):
            next(batches)

    return rates(steps * flags.batch_size, epoch)


def _shards(data):
    dataset = data.train.pixels.dataset
    return [f"{dataset.path}/{shard.file}" for shard in dataset.splits["train"].shards]


def _memory(data):
    return data.train.pixels.dataset.read("train", range(data.train.rows))


WAYS = (read, gather, decode, tutorial, directory, loop, prepared, fit)

if __name__ == "__main__":
    ways, measured = {way.__name__: way for way in WAYS}, {}
    for word in sys.argv[1].split(","):
        way, cache = word.split(":")
        flags = task.parse([*sys.argv[2:], "--cache", cache])
        measured[word] = ways[way](flags, images.load(flags, runtime.read("unused")))
    print(json.dumps(measured), flush=True)
    os._exit(0)
