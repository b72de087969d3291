"""EDIT THIS FILE: what an output means: metric names, the report's sections, a client's answer.

TensorFlow is imported inside of functions: the launcher reads METRICS without waiting for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codec.intervals import wilson
from trainer.engine import answers, sections
from trainer.images.comparison import compare
from trainer.images.png import draw_image, encode_image, encode_images

# By task, the names that `model.compile` gives its loss and its metrics: which way is better, which
# --monitor follows, and what they are. A tuning study may use them, and val_ before them.
METRICS = {
    "classification": {
        "loss": ("min", "cross-entropy, the mean over the images"),
        "accuracy": ("max", "share of images whose class is predicted right"),
    },
    "reconstruction": {"loss": ("min", "the model's own: its add_loss")},
    "segmentation": {
        "loss": ("min", "cross-entropy, the mean over the pixels"),
        "iou": (
            "max",
            "pixels in both the true and the predicted mask, divided by those in either",
        ),
    },
}
SAMPLES, MISTAKES = 24, 24  # images in the report
CLASSES, EACH = 12, 3  # images in a notebook


def describe_data(examples) -> list[dict]:
    """The sections of the report that say what the model is trained on."""
    height, width, channels = examples.shape
    colour = ", grey" if channels == 1 else ""
    notes = [*examples.schema.notes, f"The model sees {height} × {width} pixels{colour}."]
    counts = zip(examples.train.class_counts(), examples.eval.class_counts(), strict=True)
    folders = examples.train.pixels.dataset.labels  # the classes, where they are the target
    rows = [[label, *pair] for label, pair in zip(folders, counts, strict=True)]
    names = ("class", "training", "held-out")
    return [sections.table("Classes", names, rows, text="\n".join(notes))]


def show_examples(examples) -> list[dict]:
    """The sections for a notebook that explores the data: a few images of each class."""
    dataset, items = examples.train.pixels.dataset, []
    targets = dataset.targets("train")
    for number, label in enumerate(dataset.labels[:CLASSES]):
        rows = np.flatnonzero(targets == number)[:EACH]
        names = examples.train.names(rows)
        for pixels, name in zip(examples.train.read(rows), names, strict=True):
            items.append({"images": [draw_image(pixels)], "lines": [label, name]})
    return [sections.gallery("Images of each class", items)]


@dataclass(frozen=True)
class Prediction:
    """What the model says of one held-out image."""

    row: int  # its number among the held-out images
    truth: str
    guess: str
    truth_share: float  # the probability of each
    guess_share: float

    def item(self, image: str, name: str) -> dict:
        """An item of a gallery, of the image at this path."""
        lines = [f"{self.guess} {self.guess_share:.1%}"]
        if self.guess != self.truth:
            lines.append(f"truth: {self.truth} {self.truth_share:.1%}")
        return {"images": [image], "lines": [*lines, name], "right": self.guess == self.truth}


def evaluate(model, examples, context) -> list[dict]:
    """The sections of the report that say how good the model is, of the held-out images.

    Args:
        model: the exported one, a `keras.Model`.
        examples: the data, as `model.build` sees it.
        context: yields predictions and keeps images, see `engine/evaluation.py`.
    """
    if not examples.classes:
        return compare(examples, context, _measure, SAMPLES)
    from trainer.images import explain

    labels, row = examples.classes, 0
    classes = np.array(labels, object)
    counts = np.zeros((len(labels), len(labels)), np.int64)
    targets = examples.eval.targets(range(examples.eval.rows))
    chosen = dict.fromkeys(explain.choose(targets, SAMPLES).tolist())
    mistakes: list[Prediction] = []
    for target, logits in context.predictions():  # [batch], [batch, classes]
        guess = logits.argmax(axis=1)
        names = {"truth": classes[target], "prediction": classes[guess]}
        context.add_rows(**names, accuracy=guess == target)
        np.add.at(counts, (target, guess), 1)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        for i, (true, seen) in enumerate(zip(target, guess, strict=True), row):
            if true == seen and i not in chosen:
                continue
            pair = shares[i - row, true], shares[i - row, seen]
            prediction = Prediction(i, labels[true], labels[seen], *map(float, pair))
            if i in chosen:
                chosen[i] = prediction
            if true != seen:
                mistakes.append(prediction)
        mistakes = sorted(mistakes, key=lambda p: (p.truth_share, p.row))[:MISTAKES]
        row += len(target)
    samples = [*chosen.values()]
    items = _items(examples, context, [*samples, *mistakes])
    usual, rows = examples.train.class_counts().argmax(), counts.sum()
    quality = {
        "accuracy": (wilson(counts.trace(), rows), "share of images predicted right"),
        "baseline": (wilson(counts[usual].sum(), rows), f"always guesses {labels[usual]}"),
    }
    made = [
        sections.numbers("How good it is", quality),
        sections.confusion("What it confuses", labels, counts),
        sections.gallery(
            "Images and predictions",
            [items[p.row] for p in samples],
            "Held-out images, chosen by lot, evenly over the classes. Below each stands what the "
            "model takes it for, and with what probability. Right answers are blue, mistakes orange.",
        ),
    ]
    if mistakes:
        worst = [items[p.row] for p in mistakes]
        text = "Those in which the model thought the truth least likely. Look for wrong labels "
        made.append(sections.gallery("The worst mistakes", worst, text + "among them first."))
    return [*made, explain.gallery(model, examples, context, samples, mistakes, items)]


def _measure(images, target, output) -> tuple[dict, dict]:
    """Of a batch: images to show beside those held out, and values for each that say how good it is.

    Args:
        target: masks, uint8 [batch, height, width, 1]; or None, and the output has its own `image`.
    """
    if target is None:
        images, made = images / 255, output["image"]
        errors = {
            "squared error": made - images,
            "error of the mean image": images.mean(axis=0) - images,
        }
        values = {name: np.square(error).mean(axis=(1, 2, 3)) for name, error in errors.items()}
        return {"reconstruction": made}, values
    truth, guess = target > 127, output > 0.5
    either = (truth | guess).sum(axis=(1, 2, 3))
    shares = (truth & guess).sum(axis=(1, 2, 3)) / np.maximum(1, either)
    values = {
        "IoU": np.where(either, shares, 1.0),
        "IoU of an all-white mask": truth.mean(axis=(1, 2, 3)),
    }
    return {"prediction": output, "truth": target}, values


def _items(examples, context, predictions: list[Prediction]) -> dict[int, dict]:
    """An item of a gallery for each row among the predictions; their images are read together."""
    by_row = {prediction.row: prediction for prediction in predictions}
    rows = sorted(by_row)
    shown = zip(rows, examples.eval.read(rows), examples.eval.names(rows), strict=True)
    return {
        row: by_row[row].item(context.save_image(f"eval-{row:06d}", encode_image(image)), name)
        for row, image, name in shown
    }


def answer(examples, output) -> dict:
    """A model's output as a client gets it: tensors [batch, …] by name. Images are PNG files."""
    if examples.schema.task == "segmentation":
        return {"mask": encode_images(output)}
    if examples.schema.task == "reconstruction":
        return output | {"image": encode_images(output["image"])}
    return answers.name_classes(output, examples.classes)
