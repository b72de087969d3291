"""How a job spreads over devices and processes: the strategy, and each process's share of the work.

A strategy must be the first thing that TensorFlow is asked for, so `create` runs before any tensor
or variable is made, and nothing here runs at import.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from trainer.runtime import JobError, Runtime


def create(name: str, runtime: Runtime) -> tf.distribute.Strategy:
    """The strategy of that name, or for "auto" the one that the cluster and the devices call for.

    Raises:
        JobError: the cluster and the strategy do not go together.
    """
    cluster = runtime.cluster
    if name == "auto":
        name = _choose(cluster)
    needs = {
        "multi-worker": bool(cluster) and "ps" not in cluster,
        "parameter-server": "ps" in cluster,
    }
    if not needs.get(name, not cluster):
        shape = {role: len(hosts) for role, hosts in cluster.items()}
        raise JobError(
            f"--strategy {name} does not go with the cluster {shape or 'of one process'}"
        )
    if name == "one-device":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "tpu":  # not tried by us: no TPU was at hand
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    if name == "multi-worker":
        return tf.distribute.MultiWorkerMirroredStrategy(resolver_of(runtime))
    return tf.distribute.ParameterServerStrategy(resolver_of(runtime))


def _choose(cluster) -> str:
    if "ps" in cluster:
        return "parameter-server"
    if cluster:
        return "multi-worker"
    if tf.config.list_logical_devices("TPU"):
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one-device"


def resolver_of(runtime: Runtime) -> tf.distribute.cluster_resolver.ClusterResolver:
    """The cluster in TensorFlow's words; TF_CONFIG was read, and checked, by `runtime`."""
    role = runtime.role if runtime.role in runtime.cluster else "worker"
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({role: list(hosts) for role, hosts in runtime.cluster.items()}),
        task_type=role,
        task_id=runtime.index,
        rpc_layer="grpc",
    )


def share(strategy: tf.distribute.Strategy, runtime: Runtime) -> tuple[int, int, int]:
    """(first replica, replicas here, replicas in all): this process's part of every batch."""
    total = strategy.num_replicas_in_sync
    workers = len(runtime.cluster.get("chief", ())) + len(runtime.cluster.get("worker", ()))
    if "ps" in runtime.cluster or not workers:
        return 0, total, total
    here = total // workers
    before = (
        runtime.index if runtime.role == "chief" else runtime.index + ("chief" in runtime.cluster)
    )
    return before * here, here, total


def distribute(strategy, block: dict[str, np.ndarray], here: int) -> dict:
    """Hands each local replica its part of the block's batches; `rows` goes to all."""
    if strategy.num_replicas_in_sync == 1:
        return {name: tf.constant(array) for name, array in block.items()}

    def part(name: str) -> Callable:
        def of(context):
            array = block[name]
            if name == "rows":
                return tf.constant(array)
            width = array.shape[1] // here
            place = context.replica_id_in_sync_group % here  # replicas of a process are neighbours
            return tf.constant(array[:, place * width : (place + 1) * width])

        return of

    make = strategy.experimental_distribute_values_from_function
    return {name: make(part(name)) for name in block}


def total(strategy, value: float, here: int) -> float:
    """The sum of `value` over all processes; every process calls this at the same point."""
    if strategy.num_replicas_in_sync == here:
        return value
    each = strategy.experimental_distribute_values_from_function(
        lambda _: tf.constant(value / here, tf.float32)
    )
    return float(strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None))


def read_variables(strategy, variables: Sequence[tf.Variable]) -> list[np.ndarray]:
    """The values of all variables; every process calls this at the same point.

    Each replica adds up its own metrics, in variables that it shares with nobody. Their values
    come as [replicas, …]: a float32 sum that is cut into equal parts no longer adds up to the same.
    """
    apart = {i: variable for i, variable in enumerate(variables) if _is_per_replica(variable)}
    values = {}
    if apart:
        stacked = strategy.run(lambda: {i: v.read_value()[tf.newaxis] for i, v in apart.items()})
        values = {i: strategy.gather(value, axis=0).numpy() for i, value in stacked.items()}
    return [values[i] if i in values else v.numpy() for i, v in enumerate(variables)]


def write_variables(strategy, variables: Sequence[tf.Variable], values, first: int) -> None:
    """Assigns what `read_variables` gave, also when another number of replicas gave it.

    Args:
        first: the number of this process's first replica, as `share` gives it.
    """
    for variable, value in zip(variables, values, strict=True):
        every_replica = (strategy.num_replicas_in_sync, *variable.shape)
        if _is_per_replica(variable) and value.shape == every_replica:
            for own, part in zip(variable.values, value[first:], strict=False):
                own.assign(part)
        else:  # TensorFlow shares a sum out equally
            variable.assign(value if value.shape == variable.shape else value.sum(axis=0))


def _is_per_replica(variable) -> bool:
    distributed = isinstance(variable, tf.distribute.DistributedValues)
    return distributed and variable.synchronization == tf.VariableSynchronization.ON_READ
