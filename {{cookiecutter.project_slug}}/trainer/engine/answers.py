"""What many models answer, for `answer` in `outputs.py`: tensors [batch, …] by name.

TensorFlow is imported inside of functions: the launcher reads `outputs.py` without waiting for it.
"""

from collections.abc import Sequence


def name_classes(logits, classes: Sequence[str]) -> dict:
    """The likeliest class and the probability of each, from `logits` float32 [batch, classes].

    Returns `class` string [batch], `probabilities` float32 and their `labels` string [batch, classes].
    """
    import tensorflow as tf

    labels = tf.constant(classes)
    return {
        "class": tf.gather(labels, tf.argmax(logits, axis=1)),
        "probabilities": tf.nn.softmax(logits),
        "labels": tf.tile(labels[tf.newaxis], [tf.shape(logits)[0], 1]),
    }
