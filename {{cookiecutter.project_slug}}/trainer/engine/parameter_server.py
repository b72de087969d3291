"""Asynchronous training: the chief deals out pieces of work, the servers hold the weights.

The chief reads the data and sends each worker a few batches at a time; a worker takes the newest
weights from the parameter servers, trains on them, and puts its updates there, without waiting for
the others. So a slow or lost worker holds nobody up, but two runs are never quite the same.
"""

import json
import socket
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from codec import files
from trainer.engine.ending import note_termination
from trainer.engine.parallel import Replicas, resolver_of
from trainer.engine.runtime import JobError, Runtime, join
from trainer.engine.steps import Steps

BATCHES_A_CALL = 16  # enough to hide the call, few enough to spread the end of a block evenly
CHIEF_PATIENCE = 300  # seconds in which the chief must appear
POLL = 2.0  # seconds between looks at the chief


class AsyncSteps(Steps):
    """The chief's steps: blocks are cut into pieces that go to whichever worker is free."""

    def __init__(self, model: keras.Model, replicas: Replicas, *how):
        super().__init__(model, replicas, *how)
        self.coordinator = tf.distribute.coordinator.ClusterCoordinator(self.strategy)

    def _compile(self, run: Callable) -> tuple[Callable, Callable]:
        whole = tf.function(run, jit_compile=self.jit)  # a worker takes no other callable
        return whole, whole

    def _call(self, compiled: tuple, block, first: int, last: int, rows: int) -> None:
        for start in range(first, last, BATCHES_A_CALL):
            stop = min(start + BATCHES_A_CALL, last)
            piece = keras.tree.map_structure(lambda a: tf.constant(a[start:stop]), block)  # noqa: B023
            self.coordinator.schedule(
                compiled[0], (piece, tf.constant(0), tf.constant(stop - start))
            )
        self.coordinator.join()  # a checkpoint after the call must find all of it done


def serve(runtime: Runtime) -> bool:
    """What a worker and a parameter server do: serve, until the chief has come and gone.

    Returns whether the job is done. If not, the chief was lost: a new one needs new servers. A
    polite stop waits for the chief, whose checkpoint needs the servers; a second one does not.

    Raises:
        JobError: the chief never came.
    """
    resolver = resolver_of(runtime)
    server = tf.distribute.Server(
        resolver.cluster_spec(), resolver.task_type, resolver.task_id, protocol="grpc", start=True
    )
    print(f"{runtime.role} {runtime.index} serves at {server.target}", flush=True)
    chief = runtime.cluster["chief"][0]
    deadline = time.monotonic() + CHIEF_PATIENCE
    with note_termination() as terminated:
        while not _answers(chief):
            if terminated():
                return False
            if time.monotonic() > deadline:
                raise JobError(f"the chief at {chief} did not appear in {CHIEF_PATIENCE} s")
            time.sleep(POLL)
        while _answers(chief):
            time.sleep(POLL)
    record = join(runtime.job_dir, "run.json")
    done = files.exists(record) and json.loads(files.read_text(record))["status"] == "succeeded"
    advice = "done" if done else "start all of them again to resume"
    print(f"the chief is gone: {advice}", flush=True)
    return done


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=POLL):
            return True
    except OSError:
        return False
