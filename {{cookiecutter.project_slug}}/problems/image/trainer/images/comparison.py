"""For the report, when a model makes images: held-out images beside what it makes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from codec.intervals import bootstrap
from trainer.engine import sections
from trainer.images.png import encode_image


def compare(examples, context, measure: Callable, count: int) -> list[dict]:
    """The mean of each value over the held-out images, and the first `count` images with theirs.

    Args:
        examples, context: as `outputs.evaluate` gets them.
        measure: called with a batch: images uint8 [batch, height, width, channels], target, output.
            Returns {column: images [batch, height, width, 1 or 3]} to stand beside them, uint8 or
            from 0 to 1, and {name: values [batch]}.
    """
    import keras

    items, columns, collected, row = [], [], {}, 0
    for target, output in context.predictions():
        batch = len(keras.tree.flatten(output)[0])
        images = examples.eval.read(range(row, row + batch))
        beside, values = measure(images, target, output)
        columns = ["image", *beside]
        for i in range(min(batch, count - len(items))):
            shown = [array[i] for array in (images, *beside.values())]
            paths = [
                context.save_image(f"eval-{row + i:06d}-{j}", encode_image(x))
                for j, x in enumerate(shown)
            ]
            lines = [f"{name} {value[i]:.3g}" for name, value in values.items()]
            items.append({"images": paths, "lines": lines})
        for name, value in values.items():
            collected.setdefault(name, []).append(value)
        row += batch
    means = {
        name: (bootstrap(lambda mean: mean, np.concatenate(values)), "")
        for name, values in collected.items()
    }
    text = f"Means over {row} held-out images."
    return [
        sections.numbers("Held-out images", means, text),
        sections.gallery("Images and what the model makes of them", items, columns=columns),
    ]
