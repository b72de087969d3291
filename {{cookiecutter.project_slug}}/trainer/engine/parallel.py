"""How a job spreads over devices and processes: the strategy, and each process's part of the work.

A strategy must be TensorFlow's first call, so `create_replicas` runs before any tensor
or variable is made, and nothing here runs at import.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from trainer.engine.batching import part
from trainer.engine.runtime import JobError, Runtime


class Replicas:
    """Copies of the model, each on a device of its own, that share every batch.

    Attributes:
        strategy: TensorFlow's.
        first, here, count: of `count` replicas, this process has `here`, from number `first` on.
        servers: whether parameter servers hold the weights, and each worker trains by itself.
    """

    def __init__(self, strategy: tf.distribute.Strategy, runtime: Runtime):
        self.strategy, self.count = strategy, strategy.num_replicas_in_sync
        self.first, self.here, self.servers = 0, self.count, "ps" in runtime.cluster
        if runtime.cluster and not self.servers:
            chiefs, workers = (len(runtime.cluster.get(role, ())) for role in ("chief", "worker"))
            self.here = self.count // (chiefs + workers)
            number = runtime.index + (chiefs if runtime.role == "worker" else 0)
            self.first = number * self.here

    @property
    def share(self) -> tuple[int, int, int]:
        """This process's part of every batch, as `batching.arrange` takes it."""
        return self.first, self.here, self.count

    def distribute(self, block):
        """Hands each replica of this process its rows of a block: arrays [steps, rows, …]."""
        if self.servers:
            return block  # `AsyncSteps` hands it out piece by piece
        if self.count == 1:
            # `tf.constant` would copy each array once or twice; nobody writes to a block.
            return keras.tree.map_structure(lambda array: tf.raw_ops.Identity(input=array), block)

        def distribute_array(array: np.ndarray):
            def rows_of(context):
                number = context.replica_id_in_sync_group - self.first
                return tf.constant(array[:, part(array.shape[1], number, self.here)])

            return self._make_values(rows_of)

        return keras.tree.map_structure(distribute_array, block)

    def mean(self, value: float) -> float:
        """The mean over all processes, each of which calls this at the same point."""
        if self.count == self.here:
            return value
        return float(self._sum(lambda _: tf.constant(value / self.count, tf.float32)))

    def any(self, value: bool) -> bool:
        """Whether it holds for one of the processes, or for more."""
        return self.mean(float(value)) > 0

    def read(self, variables: Sequence[tf.Variable]) -> list[np.ndarray]:
        """The values of all variables; every process calls this at the same point.

        Each replica adds up its own metrics, in variables that it shares with nobody. Their values
        come as [replicas, …]: a float32 sum that is cut into equal parts no longer adds up to the same.
        """
        return [self._gather(v) if _is_per_replica(v) else v.numpy() for v in variables]

    def write(self, variables: Sequence[tf.Variable], values: Sequence[np.ndarray]) -> None:
        """Assigns what `read` returned, even where it ran with another number of replicas."""
        for variable, value in zip(variables, values, strict=True):
            if _is_per_replica(variable) and value.shape == (self.count, *variable.shape):
                for own, part in zip(variable.values, value[self.first :], strict=False):
                    own.assign(part)
            else:  # TensorFlow shares a sum out equally
                variable.assign(value if value.shape == variable.shape else value.sum(axis=0))

    def _gather(self, variable) -> np.ndarray:
        """[replicas, …]: the sum of arrays that are 0 but for a replica's own row.

        `strategy.gather` compiles a function at each call.
        """

        def own_row(context):
            number = context.replica_id_in_sync_group
            rows = np.zeros((self.count, *variable.shape))  # float64 holds every float32
            rows[number] = variable.values[number - self.first].numpy()
            return tf.constant(rows)

        return self._sum(own_row).numpy().astype(variable.dtype.as_numpy_dtype)

    def _make_values(self, value_of) -> tf.distribute.DistributedValues:
        return self.strategy.experimental_distribute_values_from_function(value_of)

    def _sum(self, value_of) -> tf.Tensor:
        values = self._make_values(value_of)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)


def _is_per_replica(variable) -> bool:
    distributed = isinstance(variable, tf.distribute.DistributedValues)
    return distributed and variable.synchronization == tf.VariableSynchronization.ON_READ


def create_replicas(name: str, runtime: Runtime) -> Replicas:
    """The replicas of a strategy; for "auto", of the one that cluster and devices call for.

    A JobError if the cluster and the strategy do not go together.
    """
    cluster, servers = runtime.cluster, "ps" in runtime.cluster
    if name == "auto":
        name = "parameter-server" if servers else "multi-worker" if cluster else _choose_devices()
    fits = {"multi-worker": cluster and not servers, "parameter-server": servers}
    if not fits.get(name, not cluster):
        shape = {role: len(hosts) for role, hosts in cluster.items()}
        raise JobError(
            f"--strategy {name} does not go with the cluster {shape or 'of one process'}"
        )
    if name == "one-device":
        strategy = tf.distribute.get_strategy()
    elif name == "mirrored":
        strategy = tf.distribute.MirroredStrategy()
    elif name == "multi-worker":
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver_of(runtime))
    elif name == "parameter-server":
        strategy = tf.distribute.ParameterServerStrategy(resolver_of(runtime))
    else:  # TPUs: not tried by us, since none was at hand
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    return Replicas(strategy, runtime)


def _choose_devices() -> str:
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
