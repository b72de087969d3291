"""What an exported model takes: what the model itself does. A kind of data may bring a file instead
of this one, and prepare raw input in the graph."""

import tensorflow as tf


class Inputs(tf.Module):
    """Raw input to what `model.build` takes, in a graph."""

    def __init__(self, schema):
        """Keeps what the signatures need.

        Args:
            schema: `codec.schema.Schema`, of the training data.
        """
        super().__init__()

    def signatures(self, encoded: dict[str, tf.TensorSpec]) -> dict:
        """{name: (what prepares its inputs for the model, what they are)}, beside `encoded`.

        Args:
            encoded: what the model itself takes, [batch, …] by name.
        """
        return {"serving_default": (lambda inputs: inputs, encoded)}
