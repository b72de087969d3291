"""Benchmark: how long a person waits for an answer, and a job for its first step."""

import limits
from measure import interleave, middle, missed, shown, standalone, table, verdict

TITLE = "Start"

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
            "the same with XLA (`--jit on`)": lambda: (
                lab.child("first_step.py", *data, "--job-dir", lab.job_dir(), "--jit", "on").seconds
            ),
            **limits.start(lab, [*data, "--job-dir", lab.job_dir()]),
        },
    )
    names = [name for name in found if not name.startswith("laps")]
    rows = [[name, shown(found[name], " s")] for name in names]
    mid = {name: middle(found[name]) for name in names}
    aims = [[name, *verdict(mid[name], 0.2, below=True)] for name in names[:2]]
    ratio = mid[names[4]] / mid[names[3]]
    aims.append(["first step ÷ import and model", *verdict(ratio, 1.3, below=True)])
    ratio = mid[names[5]] / mid[names[3]]
    aims.append(["with XLA (`--jit on`) ÷ import and model", f"{ratio:.3g}", "", ""])
    profile, laps = limits.start_text(found)
    whys = []
    whys += [
        f"Missed, {name}: it takes {seconds} s, and Python itself {laps['Python itself']:.2f} s.\n"
        for name, seconds, *told in aims[:2]
        if missed(told)
    ]
    if missed(aims[2]):
        *_, trace, compiled = laps
        over = mid[names[4]] - 1.3 * mid[names[3]]
        whys.append(
            f"Missed by {over:.1f} s: of the first step's {mid[names[4]]:.1f} s, TensorFlow's "
            f"tracing takes {laps[trace]:.1f} s and the step itself {laps[compiled]:.1f} s; bare "
            "import and model do neither.\n"
        )
    return "\n".join(
        [
            table(["from nothing to", "seconds"], *rows),
            table(["", "value", "aim", ""], *aims),
            *whys,
            profile,
        ]
    )


if __name__ == "__main__":
    standalone(measure)
