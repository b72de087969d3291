"""How the hidden recordings were made from data/watch.parquet (python teacher/make_data.py).

Those of the ten people can be looked up. The hidden ones are of people who are made up: somebody's
recording, slower or faster, with the watch turned on the wrist, other vigour, and noise.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

ROOT = Path(__file__).resolve().parents[1]
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
LENGTH = 200  # samples of a hidden recording: eight seconds
PEOPLE = 8


def turn(angles: np.ndarray) -> np.ndarray:
    """The rotation [3, 3] by angles around the three axes, in radians."""
    turned = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        one = np.eye(3)
        one[i, i] = one[j, j] = np.cos(angle)
        one[i, j], one[j, i] = -np.sin(angle), np.sin(angle)
        turned = one @ turned
    return turned


def main(seed: int = 2027) -> None:
    draw, order = np.random.default_rng(seed), np.random.default_rng(seed + 1)
    table = pa.parquet.read_table(ROOT / "data/watch.parquet")
    columns = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
    exercises = sorted(set(columns["exercise"]))
    rows, labels = {name: [] for name in ("participant", "recording", "seconds", *CHANNELS)}, []
    for person in range(PEOPLE):
        rotation, vigour = turn(draw.normal(0, 0.15, 3)), draw.uniform(0.8, 1.2)
        made = []
        for exercise in exercises:
            chosen = draw.choice(np.unique(columns["recording"][columns["exercise"] == exercise]))
            own = columns["recording"] == chosen
            samples = np.stack([columns[name][own] for name in CHANNELS], axis=1)
            begin, speed = draw.uniform(0, 0.3) * len(samples), draw.uniform(0.85, 1.15)
            places = begin + speed * np.arange(LENGTH)
            moved = [np.interp(places, np.arange(len(samples)), column) for column in samples.T]
            a, w = (
                np.stack(moved[:3], axis=1) @ rotation,
                vigour * np.stack(moved[3:], axis=1) @ rotation,
            )
            noisy = np.hstack([a, w]) + draw.normal(0, 0.02, (LENGTH, 6))
            made.append((exercise, noisy))
        for i in order.permutation(len(made)):  # in the same order for all it would be guessed
            exercise, noisy = made[i]
            labels.append(exercise)
            rows["participant"] += [f"h{person + 1}"] * LENGTH
            rows["recording"] += [len(labels)] * LENGTH
            rows["seconds"] += (np.arange(LENGTH) / 25).round(2).tolist()
            for name, values in zip(CHANNELS, noisy.T, strict=True):
                rows[name] += values.round(2).tolist()
    pa.parquet.write_table(
        pa.table(rows), ROOT / "teacher/hidden/features.parquet", compression="zstd"
    )
    text = "\n".join(["exercise", *labels]) + "\n"
    (ROOT / "teacher/hidden/labels.csv").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
