"""What `python -m trainer.task` does up to the end of its first step, a lap at a time.

`python starting.py … trainer flags` prints JSON: seconds of each lap. `limits.py` starts it, in a
baked repo.
"""

import gc
import json
import os
import sys
import time

laps, before = {}, time.perf_counter()


def lap(name):
    global before
    now = time.perf_counter()
    laps[name], before = now - before, now


if __name__ == "__main__":
    from trainer import data as tables
    from trainer import task
    from trainer.engine import runtime

    flags, place = task.parse(sys.argv[1:]), runtime.read("unused")
    data = tables.load(flags, place)
    lap("flags, and the encoded data found")
    gc.disable()  # as task.py does
    import tensorflow as tf
    from trainer.engine import export, telemetry  # noqa: F401
    from trainer.engine.training import Training

    lap("`import tensorflow`, with Keras and the trainer's own modules")
    training = Training(flags, place, data)
    lap("model, optimizer and metrics built")
    _, _, block = next(training.blocks(0))
    step = block, tf.constant(0), tf.constant(1)
    lap("first batches shuffled and copied")
    whole, _ = training.steps._train  # of batches of the usual size
    if not training.steps.jit:
        whole(block, tf.constant(0), tf.constant(0))  # traces, and runs no step
    else:
        whole.get_concrete_function(*step)
    lap("step traced to a graph")
    whole(*step)
    float(training.model.metrics[0].result())
    lap("graph compiled, and the first step")
    print(json.dumps(laps), flush=True)
    os._exit(0)
