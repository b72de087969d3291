"""How a job spreads over devices and processes: the strategy, and each process's share of the work.

A strategy must be TensorFlow's first call, so `create` runs before any tensor
or variable is made, and nothing here runs at import.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from trainer.engine.batching import part
from trainer.engine.runtime import JobError, Runtime


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


def distribute(strategy, block, here: int):
    """Hands each local replica its rows of every batch of a block, arrays [steps, rows, …]."""
    if strategy.num_replicas_in_sync == 1:
        return keras.tree.map_structure(tf.constant, block)

    def distribute_array(array: np.ndarray):
        def rows_of(context):
            # Replicas of a process are neighbours.
            number = context.replica_id_in_sync_group % here
            return tf.constant(array[:, part(array.shape[1], number, here)])

        return strategy.experimental_distribute_values_from_function(rows_of)

    return keras.tree.map_structure(distribute_array, block)


def total(strategy, value: float, here: int) -> float:
    """The sum of `value` over all processes; every process calls this at the same point."""
    if strategy.num_replicas_in_sync == here:
        return value
    shares = strategy.experimental_distribute_values_from_function(
        lambda _: tf.constant(value / here, tf.float32)
    )
    return float(strategy.reduce(tf.distribute.ReduceOp.SUM, shares, axis=None))


def read_variables(
    strategy, variables: Sequence[tf.Variable], share: tuple[int, int, int]
) -> list[np.ndarray]:
    """The values of all variables; every process calls this at the same point.

    Each replica adds up its own metrics, in variables that it shares with nobody. Their values
    come as [replicas, …]: a float32 sum that is cut into equal parts no longer adds up to the same.
    """
    apart = [variable for variable in variables if _is_per_replica(variable)]
    gathered = iter(_gather(strategy, apart, share) if apart else ())
    return [next(gathered) if _is_per_replica(v) else v.numpy() for v in variables]


def _gather(strategy, variables: Sequence[tf.Variable], share) -> Iterator[np.ndarray]:
    """[replicas, …] of each variable. One sum of arrays that are 0 but for a replica's own row:
    `strategy.gather` compiles a function at each call."""
    first, _, replicas = share
    sizes = [variable.shape.num_elements() for variable in variables]

    def own_row(context):
        number = context.replica_id_in_sync_group
        rows = np.zeros((replicas, sum(sizes)))  # float64 holds every float32
        own = [np.ravel(variable.values[number - first].numpy()) for variable in variables]
        rows[number] = np.concatenate(own)
        return tf.constant(rows)

    rows = strategy.experimental_distribute_values_from_function(own_row)
    table = strategy.reduce(tf.distribute.ReduceOp.SUM, rows, axis=None).numpy()
    columns = np.split(table, np.cumsum(sizes)[:-1], axis=1)
    for variable, values in zip(variables, columns, strict=True):
        shape, dtype = (replicas, *variable.shape), variable.dtype.as_numpy_dtype
        yield values.reshape(shape).astype(dtype)


def write_variables(
    variables: Sequence[tf.Variable], values: Sequence[np.ndarray], share: tuple[int, int, int]
) -> None:
    """Assigns what `read_variables` returned, even where it ran with another number of replicas."""
    first, _, replicas = share
    for variable, value in zip(variables, values, strict=True):
        if _is_per_replica(variable) and value.shape == (replicas, *variable.shape):
            for own, part in zip(variable.values, value[first:], strict=False):
                own.assign(part)
        else:  # TensorFlow shares a sum out equally
            variable.assign(value if value.shape == variable.shape else value.sum(axis=0))


def _is_per_replica(variable) -> bool:
    distributed = isinstance(variable, tf.distribute.DistributedValues)
    return distributed and variable.synchronization == tf.VariableSynchronization.ON_READ
