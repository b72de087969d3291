"""Benchmark: how long a person waits for an answer, and a job for its first step."""

from measure import interleave, middle, shown, standalone, table, verdict

BARE = """
import os
import tensorflow
import keras
from keras import layers
numbers = keras.Input((6,))
places = keras.Input((8,), dtype="int32")
x = layers.Concatenate()([numbers, layers.Flatten()(layers.Embedding(105, 8)(places))])
for units in (64, 32):
    x = layers.Dense(units, activation="relu")(x)
model = keras.Model([numbers, places], layers.Dense(2)(x))
os._exit(0)
"""


def measure(lab):
    data = [*lab.data_flags(1_000), "--cache-dir", lab.folder / "cache"]
    lab.train(*data, "--epochs", 1, "--job-dir", lab.job_dir())  # so that all later runs reuse
    found = interleave(
        lab.repeats,
        {
            "`--help`": lambda: lab.train("--help").seconds,
            "a wrong flag": lambda: lab.train("--epochs", "many", code=2).seconds,
            "a file that is not there": lambda: (
                lab.train("--train-files", "none.csv", "--target", "x", code=2).seconds
            ),
            "`import tensorflow`, and the same model built": lambda: lab.run(["-c", BARE]).seconds,
            "`python -m trainer.task` to the end of its first step": lambda: (
                lab.child("first_step.py", *data, "--job-dir", lab.job_dir()).seconds
            ),
            "the same without XLA": lambda: (
                lab.child(
                    "first_step.py", *data, "--job-dir", lab.job_dir(), "--jit", "off"
                ).seconds
            ),
        },
    )
    names = list(found)
    rows = [[name, shown(seconds, " s")] for name, seconds in found.items()]
    mid = {name: middle(seconds) for name, seconds in found.items()}
    aims = [[name, *verdict(mid[name], 0.2, below=True)] for name in names[:2]]
    ratio = mid[names[4]] / mid[names[3]]
    aims.append(["first step ÷ import and model", *verdict(ratio, 1.3, below=True)])
    ratio = mid[names[5]] / mid[names[3]]
    aims.append(["without XLA ÷ import and model", f"{ratio:.3g}", "", ""])
    return (
        f"## Start\n\n{table(['from nothing to', 'seconds'], *rows)}\n"
        f"{table(['', 'value', 'aim', ''], *aims)}"
    )


if __name__ == "__main__":
    standalone(measure)
