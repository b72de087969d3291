"""What the report shows of pictures: some, the worst mistakes, and what the model looked at.

A few small PNG files in the run's directory, `pictures/`, and in evaluation.json what is to be said
of each. The same model and data give the same pictures.
"""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

from trainer import files, saliency
from trainer.record import Record, timed
from trainer.runtime import join

FOLDER = "pictures"
SAMPLES = 24  # of the held-out pictures; the mistakes are as many as evaluation.json has
MAPS = 8  # pictures of which it is told what the model looked at
SIDE = 128  # pixels, at most: of a larger picture the file has a small copy
# Multiplications that all maps may take, forward alone: a few seconds. On a CPU it is enough for
# MAPS of a small network, and for two of densenet121 with 160 pixels.
BUDGET = {"CPU": 5e10, "GPU": 5e11}
AT_ONCE = 16  # files at a time: in a bucket each takes its time


def write(record: Record, model: keras.Model, data, evaluation: dict) -> dict:
    """Writes the pictures; returns what evaluation.json is to say of them.

    `mistakes` and `samples`: {row, name, truth, prediction, truth_probability,
    prediction_probability, picture}; `saliency`: see `_saliency`. Paths are relative to the run's.
    """
    folder = join(record.runtime.job_dir, FOLDER)
    with timed(record.timings, "explain"):
        files.remove_tree(folder)  # those of a shorter training of the same run
        files.make_dirs(folder)
        shown = {
            "samples": _predict(model, data, choose(_targets(data), SAMPLES)),
            "mistakes": evaluation["mistakes"],
        }
        rows = sorted({found["row"] for part in shown.values() for found in part})
        pixels = dict(zip(rows, _read(data, rows), strict=True))
        names = dict(zip(rows, _names(data, rows), strict=True))
        for part, found in shown.items():
            shown[part] = [f | {"name": names[f["row"]], "picture": _path(f["row"])} for f in found]
        explained = _saliency(model, data.schema.labels, pixels, shown)
        images = {_path(row): _small(picture) for row, picture in pixels.items()}
        images |= explained.pop("images")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda path: _write(record, path, images[path]), images))
    return {**shown, "saliency": explained}


def choose(targets: np.ndarray, count: int) -> np.ndarray:
    """Rows by lot, of each class as many as of any other as long as there are; sorted by class.

    Args:
        targets: int [rows], the class of each.
    """
    order = np.random.default_rng(0).permutation(len(targets))
    turn = np.empty(len(order), int)  # of each row: how many of its class come before it
    by_class = order[np.argsort(targets[order], kind="stable")]
    _, starts, sizes = np.unique(targets[by_class], return_index=True, return_counts=True)
    turn[by_class] = np.arange(len(order)) - np.repeat(starts, sizes)
    chosen = order[np.argsort(turn[order], kind="stable")[:count]]
    return chosen[np.lexsort((chosen, targets[chosen]))]


def _targets(data) -> np.ndarray:
    return data.eval.pixels.dataset.targets(data.eval.split)


def _read(data, rows) -> np.ndarray:
    return data.eval.pixels.read(data.eval.split, np.asarray(rows))


def _names(data, rows) -> list[str]:
    dataset, split = data.eval.pixels.dataset, data.eval.split
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda row: dataset.names(split, [row])[0], rows))


def _predict(model: keras.Model, data, rows: np.ndarray) -> list[dict]:
    """What the model says of these rows, in the words of `results.py` for mistakes."""
    labels, found = data.schema.labels, []
    # In a graph: called as it is, Keras keeps what every layer puts out, five times the memory.
    predict = tf.function(lambda image: tf.nn.softmax(model({"image": image}, training=False)))
    probabilities = predict(tf.constant(_read(data, rows))).numpy()
    for row, target, shares in zip(rows, _targets(data)[rows], probabilities, strict=True):
        guess = shares.argmax()
        found.append(
            {
                "truth_probability": float(shares[target]),
                "prediction_probability": float(shares[guess]),
                "row": int(row),
                "truth": labels[target],
                "prediction": labels[guess],
            }
        )
    return found


def _saliency(model, labels: list[str], pixels: dict, shown: dict) -> dict:
    """Maps of some pictures: half of them the worst mistakes, the others from the samples.

    Returns {"steps", "maps": [{…, "map": path, "score", "baseline", "error"}], "note": why there
    are none, or None, "images": {path: uint8 [height, width, 3]}}.
    """
    told = {"steps": saliency.STEPS, "maps": [], "note": None, "images": {}}
    try:
        each = max(1, saliency.cost(model) * saliency.STEPS)
        device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        count = int(min(MAPS, BUDGET[device] // each))
        if not count:
            told["note"] = "one map would take this model too long"
            return told
        chosen = _some(shown, count)
        classes = np.array([labels.index(found["prediction"]) for found in chosen])
        pictures = np.stack([pixels[found["row"]] for found in chosen])
        maps = saliency.attributions(model, pictures, classes)
    except Exception as error:  # a model of any kind may stand here: no map is worth its run
        told["note"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return told
    for found, attribution in zip(chosen, maps, strict=True):
        path = _path(found["row"], "-map")
        told["images"][path] = _small(saliency.draw(pixels[found["row"]], attribution.values))
        facts = {key: getattr(attribution, key) for key in ("score", "baseline", "error")}
        told["maps"].append({**found, "map": path, **facts})
    return told


def _some(shown: dict, count: int) -> list[dict]:
    worst = shown["mistakes"][: count // 2]
    known = {found["row"] for found in worst}
    others = [found for found in shown["samples"] if found["row"] not in known]
    every = max(1, len(others) // (count - len(worst)))  # so that they are of many classes
    return others[::every][: count - len(worst)] + worst


def _path(row: int, what: str = "") -> str:
    return f"{FOLDER}/eval-{row:06d}{what}.png"


def _small(picture: np.ndarray) -> np.ndarray:
    """Not larger than SIDE."""
    size = max(picture.shape[:2])
    if size <= SIDE:
        return picture
    shape = [round(side * SIDE / size) for side in picture.shape[:2]]
    smaller = tf.image.resize(picture, shape, antialias=True)
    return tf.saturate_cast(tf.round(smaller), tf.uint8).numpy()


def _write(record: Record, path: str, picture: np.ndarray) -> None:
    data = tf.io.encode_png(picture).numpy()
    files.write_from(io.BytesIO(data), join(record.runtime.job_dir, path))
