"""What a client sends: {"samples": [0.1, …]}."""

import numpy as np

from predictor.instances import InstanceError, JsonInputs


class Inputs(JsonInputs):
    def __init__(self, schema):
        self.length = schema.length

    def check(self, where, instance):
        samples = np.asarray(instance.get("samples") if isinstance(instance, dict) else None)
        if samples.shape != (self.length,) or samples.dtype.kind not in "fi":
            raise InstanceError(f"{where}: expected samples, {self.length} numbers")
        return samples

    def encode(self, waves):
        return {"samples": np.stack(waves)}
