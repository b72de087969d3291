"""The matrix products of a training step, one by one: `python product_ways.py numpy|xla … trainer flags`.

Prints JSON: {setting: {batch: {name: microseconds}}}. `products.py` starts it, in a baked repo.
"""

import json
import multiprocessing
import os
import sys
import time

import numpy as np
import ways
from products import BATCHES, SETTINGS, STEP
from trainer import data as tables
from trainer import task
from trainer.engine import runtime

SECONDS = 0.05  # of rounds of 2 ms and more; the fastest counts
ROUND = 0.002
ways.TIMED = 0.3  # seconds of whole steps


def list_products(flags, data):
    """Yield (name, left, right, whether each is transposed): three products of each layer."""
    values, weights = ways.layers(flags, data)
    for value, weight, after in zip(values, weights, values[1:], strict=False):
        inputs, outputs = weight.shape
        yield f"forward, n×{inputs} by {inputs}×{outputs}", value, weight, False, False
        yield f"gradient of weights, {inputs}×n by n×{outputs}", value, after, True, False
        yield f"gradient of inputs, n×{outputs} by {outputs}×{inputs}", after, weight, False, True


def repeat_numpy(left, right, transpose_left, transpose_right):
    """A function that multiplies `count` times."""
    left, right = left.T if transpose_left else left, right.T if transpose_right else right
    result = left @ right
    return lambda count: [np.matmul(left, right, out=result) for _ in range(count)]


def repeat_xla(left, right, transpose_left, transpose_right):
    """The same in one compiled call, as in the training loop."""
    import tensorflow as tf

    @tf.function(jit_compile=True)
    def multiply(left, right, count):
        i = 0
        while i < count:
            result = tf.matmul(left, right, transpose_left, transpose_right)
            # The next product depends on this one: XLA would move a constant one out of the loop.
            right = tf.tensor_scatter_nd_update(right, [[0, 0]], result[0, :1] * 1e-9)
            i += 1
        return right

    left, right = tf.constant(left), tf.constant(right)
    return lambda count: multiply(left, right, tf.constant(count)).numpy()


def time_call(repeat):
    """Microseconds of one of the calls that repeat(count) makes."""
    repeat(1)  # compiles it
    times, count, end = [], 1, time.perf_counter() + SECONDS
    while time.perf_counter() < end or not times:
        start = time.perf_counter()
        repeat(count)
        seconds = time.perf_counter() - start
        if seconds < ROUND:
            count *= 2
        else:
            times.append(1e6 * seconds / count)
    return min(times)


def measure(way, setting, words):
    """{batch: {name: microseconds}}: of each product, where a setting is of threads, and of a step."""
    os.environ.update(SETTINGS[setting])
    flags = task.parse(words)
    data = tables.load(flags, runtime.read("unused"))
    found = {}
    for batch in BATCHES:
        flags.batch_size = batch
        repeat_with = repeat_numpy if way == "numpy" else repeat_xla
        products = [] if "XLA_FLAGS" in SETTINGS[setting] else list_products(flags, data)
        found[batch] = {name: time_call(repeat_with(*product)) for name, *product in products}
        if way == "xla":
            found[batch][STEP] = 1e6 * batch / ways.prepared(flags, data)["rate"]
    return found


if __name__ == "__main__":
    way, words = sys.argv[1], sys.argv[2:]
    if way == "xla":
        import tensorflow as tf  # noqa: F401, once for all processes below
    # Each setting has a process of its own, because TensorFlow reads it once.
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        names = SETTINGS if way == "xla" else [next(iter(SETTINGS))]
        times = {name: pool.apply(measure, (way, name, words)) for name in names}
    print(json.dumps(times), flush=True)
