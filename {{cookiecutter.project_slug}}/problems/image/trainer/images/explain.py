"""Which images the report shows, and what the model looked at in some of them."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from codec import saliency
from trainer.engine import sections
from trainer.images import gradients
from trainer.images.png import encode_image

MAPS = 8  # images of which a map says what the model looked at
# Multiplications that all maps may take, forward alone: a few seconds. On a CPU it is enough for
# MAPS of a small network, and for two of densenet121 with 160 pixels.
BUDGET = {"CPU": 5e10, "GPU": 5e11}
TITLE = "What it looked at"
TEXT = (
    "Blue places speak for the class that was predicted, orange ones against it: integrated "
    "gradients, beginning from an image of one colour, the median of this one's edge. Places of "
    "that colour have no part in it.\n"
    "Added up, all places should give the difference between the scores of the two images; the "
    "largest error among these maps is "
)


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


def gallery(model: keras.Model, examples, context, samples: list, mistakes: list, items) -> dict:
    """Maps of some images: half of them the worst mistakes, the others from the samples.

    Where there can be no maps the section has no images, and its text says why.

    Args:
        samples, mistakes: a `Prediction` of each.
        items: {row: item of a gallery} of both.
    """
    try:
        steps = max(1, gradients.cost(model) * saliency.STEPS)
        device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        count = int(min(MAPS, BUDGET[device] // steps))
        if not count:
            return _without("one map would take this model too long")
        chosen = _choose(samples, mistakes, count)
        classes = np.array([examples.classes.index(sample.guess) for sample in chosen])
        images = examples.eval.read([sample.row for sample in chosen])
        maps = gradients.attributions(model, images, classes)
    except Exception as error:  # a model of any kind may stand here: no map is worth its run
        return _without(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
    shown = []
    for sample, image, attribution in zip(chosen, images, maps, strict=True):
        drawn = encode_image(saliency.draw(image, attribution.values))
        path = context.save_image(f"eval-{sample.row:06d}-map", drawn)
        item = items[sample.row]
        shown.append(item | {"images": [*item["images"], path]})
    worst = max(attribution.error for attribution in maps)
    text = TEXT + ("less than 0.1 %." if worst < 0.001 else f"{worst:.1%}.")
    return sections.gallery(TITLE, shown, text, ("image", "map"))


def _without(why: str) -> dict:
    return sections.gallery(TITLE, [], f"No maps were made: {why}.")


def _choose(samples: list, mistakes: list, count: int) -> list:
    worst = mistakes[: count // 2]
    known = {sample.row for sample in worst}
    others = [sample for sample in samples if sample.row not in known]
    every = max(1, len(others) // (count - len(worst)))  # so that they are of many classes
    return others[::every][: count - len(worst)] + worst
