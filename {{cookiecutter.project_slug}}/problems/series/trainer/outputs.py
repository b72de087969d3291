"""EDIT THIS FILE: what an output means: metric names, the report's sections, a client's answer.

TensorFlow is imported inside of functions: the launcher reads METRICS without waiting for it.
"""

from __future__ import annotations

import functools

import numpy as np

from codec import join
from codec.intervals import average, bootstrap
from trainer.engine import answers, sections
from trainer.series import answered, timelines
from trainer.series.answered import Answered

# By task, the names that `model.compile` gives its loss and its metrics: which way is better, which
# --monitor follows, and what they are. A tuning study may use them, and val_ before them.
METRICS = {
    "classification": {
        "loss": ("min", "cross-entropy, the mean over the windows"),
        "accuracy": ("max", "share of windows whose class is predicted right"),
    },
    "regression": {
        "loss": ("min", "mean squared error over the windows, divided by the variance of {target}"),
        "mae": ("min", "mean absolute error over the windows, in the unit of {target}"),
    },
    "labelling": {
        "loss": ("min", "cross-entropy, the mean over the windows, of each over its labels"),
        "accuracy": ("max", "share of labelled samples whose class is predicted right"),
    },
    "forecasting": {
        "loss": ("min", "mean squared error, each channel divided by its variance"),
        "mae": ("min", "mean absolute error over all steps, in the unit of {target}"),
    },
}


def describe_data(examples) -> list[dict]:
    """The sections of the report that say what the model is trained on."""
    schema, recordings, rows = examples.schema, examples.recordings, {}
    for side, part in (("training", examples.train), ("held out", examples.eval)):
        for number in np.unique(part.number):
            participant = recordings.participants[number] or "–"
            row = rows.setdefault((participant, side), [participant, side, 0, 0])
            row[2] += 1
            row[3] += int(recordings.lengths[number])
    samples = max(1, sum(row[3] for row in rows.values() if row[1] == "training"))
    channels = [[c.name, c.mean, c.std, f"{c.lost / samples:.1%}"] for c in schema.channels]
    names = ("channel", "mean", "standard deviation", "lost")
    made = [sections.table("Channels", names, channels, text="\n".join(schema.notes))]
    names = (schema.participant or "participant", "part", "recordings", "samples")
    return [*made, sections.table("Participants", names, [rows[key] for key in sorted(rows)])]


def show_examples(examples) -> list[dict]:
    """The sections for a notebook that explores the data: some recordings, of each class where it has one."""
    numbers = np.unique(examples.train.number)
    one_class = examples.classes and examples.recordings.targets is not None  # else none, or many
    classes = examples.recordings.targets[numbers] if one_class else 0 * numbers
    items = []
    for number in numbers[timelines.choose(classes)]:
        length = int(examples.recordings.lengths[number])
        lines = [examples.classes[examples.recordings.targets[number]]] if one_class else []
        items.append(timelines.make_item(examples, number, 0, length, [], lines))
    return [sections.timelines("Training recordings", items, examples.schema.unit)]


def evaluate(model, examples, context) -> list[dict]:
    """The sections of the report that say how good the model is, of the held-out recordings.

    Args:
        model: the exported one, a `keras.Model`.
        examples: the data, as `model.build` sees it.
        context: yields predictions and keeps images, see `engine/evaluation.py`.
    """
    make = {
        "classification": _evaluate_classes,
        "regression": _evaluate_values,
        "labelling": _evaluate_labels,
        "forecasting": _evaluate_forecasts,
    }
    return make[examples.schema.task](model, examples, context)


def _evaluate_classes(model, examples, context) -> list[dict]:
    labels, classes = np.array(examples.classes, object), len(examples.classes)
    counts, done = np.zeros((classes, classes), np.int64), []
    for one in answered.read_held(examples, context):  # outputs: [windows, classes]
        target, guess = one.targets, one.outputs.argmax(axis=1)
        names = {"truth": labels[target], "prediction": labels[guess]}
        context.add_rows(**answered.name_windows(examples, one), **names, accuracy=guess == target)
        shares = join.average(answered.softmax(one.outputs))
        truth, guess = int(target[0]), int(shares.argmax())
        counts[truth, guess] += 1
        done.append(Answered(one.number, one.rows, truth, guess, float(shares[truth])))
    truth, guess = (np.array([getattr(one, name) for one in done]) for name in ("truth", "guess"))
    groups, usual = answered.find_groups(examples, done), examples.train.class_counts().argmax()
    quality = {
        "accuracy": (average(guess == truth, groups), "share of recordings answered right"),
        "baseline": (average(truth == usual, groups), f"always answers {labels[usual]}"),
    }

    def draw(one: Answered) -> dict:
        starts, outputs = answered.predict_again(examples, context, one.rows)
        shares = timelines.spread(answered.softmax(outputs), starts, examples.window)
        rows = timelines.draw_shares(labels, shares, np.eye(classes)[[one.truth]])
        lines, end = [describe(one)], int(starts[-1]) + examples.window
        return timelines.make_item(
            examples, one.number, int(starts[0]), end, rows, lines, one.guess == one.truth
        )

    def describe(one: Answered) -> str:
        if one.guess == one.truth:
            return f"{labels[one.guess]} {one.sure:.0%}"
        return f"{labels[one.guess]}; truth: {labels[one.truth]} {one.sure:.0%}"

    pairs = zip(truth, guess, strict=True)
    wrong = ["" if t == g else f"{labels[t]} → {labels[g]}" for t, g in pairs]
    worst = [one for one in done if one.truth != one.guess]
    return [
        sections.numbers("How good it is", quality, answered.explain_groups(examples)),
        sections.confusion("What it confuses", examples.classes, counts),
        answered.list_participants(examples, done, wrong),
        *_show(model, examples, [done[i] for i in timelines.choose(truth)], worst, draw, describe),
    ]


def _show(model, examples, chosen: list, worst: list, draw, describe) -> list[dict]:
    """Some recordings, those with the worst mistakes, and what the model looked at.

    Args:
        chosen, worst: an `Answered` of each.
        draw: makes an item of a timeline of one; describe: a line.
    """
    unit, worst = examples.schema.unit, sorted(worst, key=lambda one: one.sure)[: timelines.SHOWN]
    text = "Held-out recordings, chosen by lot. Below the channels stands what the model says over time"
    text += ": the stronger the colour, the likelier; blue is right, orange is wrong."
    text = text if examples.schema.labels else text.partition(":")[0] + "."
    look = "Those farthest from the truth. Look for wrong labels among them first."
    made = [
        sections.timelines("Recordings and predictions", [*map(draw, chosen)], unit, text),
        sections.timelines("The worst mistakes", [*map(draw, worst)], unit, look),
    ]
    looked = [*worst[: timelines.LOOKED // 2], *chosen][: timelines.LOOKED]
    lines = [*map(describe, looked)]
    return [*made[: 1 + bool(worst)], timelines.show_attributions(model, examples, looked, lines)]


def _evaluate_values(model, examples, context) -> list[dict]:
    done = []
    for one in answered.read_held(examples, context):  # targets and outputs: [windows, 1]
        target, value = one.targets[:, 0].astype(np.float64), one.outputs[:, 0].astype(np.float64)
        rows = {"truth": target, "prediction": value, "mae": np.abs(value - target)}
        context.add_rows(**answered.name_windows(examples, one), **rows)
        truth, guess = float(target[0]), float(join.average(one.outputs)[0])
        done.append(Answered(one.number, one.rows, truth, guess, -abs(guess - truth)))
    truth, guess = (np.array([getattr(one, name) for one in done]) for name in ("truth", "guess"))
    groups, squares = answered.find_groups(examples, done), np.square(guess - truth)
    shifted = truth - examples.schema.mean  # so that the variance keeps its digits

    def r_squared(squares, shifted, shifted_squares):
        return 1 - squares / (shifted_squares - shifted**2)

    resample = functools.partial(bootstrap, groups=groups)
    quality = {
        "R²": (
            resample(r_squared, squares, shifted, shifted**2),
            "1 is perfect; 0 guesses the mean",
        ),
        "RMSE": (resample(np.sqrt, squares), "root of the mean squared error"),
        "baseline RMSE": (resample(np.sqrt, shifted**2), "always guesses the mean of training"),
    }

    def draw(one: Answered) -> dict:
        starts, outputs = answered.predict_again(examples, context, one.rows)
        values = timelines.spread(outputs[:, 0], starts, examples.window)
        ends = (
            examples.schema.mean - 3 * examples.schema.std,
            examples.schema.mean + 3 * examples.schema.std,
        )
        rows = [sections.signal(f"{examples.schema.target}, predicted", values, scale=ends)]
        lines, end = [describe(one)], int(starts[-1]) + examples.window
        return timelines.make_item(examples, one.number, int(starts[0]), end, rows, lines)

    def describe(one: Answered) -> str:
        return f"{one.guess:.4g}; truth: {one.truth:.4g}"

    chosen = [done[i] for i in timelines.choose(np.zeros(len(done)))]
    return [
        sections.numbers("How close it comes", quality, answered.explain_groups(examples)),
        sections.scatter("Where it is off", truth, guess, equal=True),
        *_show(model, examples, chosen, done, draw, describe),
    ]


def _evaluate_labels(model, examples, context) -> list[dict]:
    labels, classes = np.array(examples.schema.labels, object), len(examples.schema.labels)
    counts, done, totals = np.zeros((classes, classes), np.int64), [], []
    for one in answered.read_held(
        examples, context
    ):  # targets: [windows, window], outputs: […, classes]
        known = one.targets >= 0
        right = (one.outputs.argmax(axis=2) == one.targets) & known
        share = right.sum(axis=1) / np.maximum(1, known.sum(axis=1))
        context.add_rows(**answered.name_windows(examples, one), accuracy=share)
        truth = examples.recordings.labels(one.number)
        starts = answered.find_starts(examples, one.rows)
        shares = join.stitch(answered.softmax(one.outputs), starts, len(truth))
        known = (truth >= 0) & np.isfinite(shares[:, 0])
        truth, guess = truth[known], shares[known].argmax(axis=1)
        np.add.at(counts, (truth, guess), 1)
        totals.append([(truth == guess).sum(), len(truth)])
        sure = float(shares[known][np.arange(len(truth)), truth].mean()) if len(truth) else 1.0
        usual = int(np.bincount(guess, minlength=classes).argmax())
        done.append(Answered(one.number, one.rows, None, usual, sure))
    groups, (right, known) = answered.find_groups(examples, done), np.array(totals).T
    usual = examples.train.class_counts().argmax()

    def ratio(part, whole):
        return part / whole

    quality = {
        "accuracy": (
            bootstrap(ratio, right, known, groups=groups),
            "share of samples answered right, each once",
        ),
        "baseline": (counts[usual].sum() / counts.sum(), f"always answers {labels[usual]}"),
    }

    def draw(one: Answered) -> dict:
        starts, outputs = answered.predict_again(examples, context, one.rows)
        begin, end = int(starts[0]), int(starts[-1]) + examples.window
        shares = join.stitch(answered.softmax(outputs), starts - begin, end - begin)
        truth = examples.recordings.labels(one.number)[begin:end]
        shares = timelines.squeeze(shares[: len(truth)])
        is_true = timelines.squeeze((truth[:, np.newaxis] == np.arange(classes)).astype(float))
        rows = timelines.draw_shares(labels, shares, is_true)
        return timelines.make_item(examples, one.number, begin, end, rows, [describe(one)])

    def describe(one: Answered) -> str:
        return f"mostly {labels[one.guess]}; {one.sure:.0%} for the truth"

    chosen = [done[i] for i in timelines.choose(np.zeros(len(done)))]
    return [
        sections.numbers("How good it is", quality, answered.explain_groups(examples)),
        sections.confusion("What it confuses", examples.schema.labels, counts),
        *_show(model, examples, chosen, done, draw, describe),
    ]


def _evaluate_forecasts(model, examples, context) -> list[dict]:
    schema = examples.schema
    places = [schema.names.index(name) for name in schema.outputs]
    done, errors, stays = [], [], []
    for one in answered.read_held(
        examples, context
    ):  # targets and outputs: [windows, horizon, channels]
        off = np.abs(one.outputs - one.targets)
        context.add_rows(**answered.name_windows(examples, one), mae=off.mean(axis=(1, 2)))
        samples = answered.fill_gaps(examples.recordings.read(one.number)[:, places])
        last = answered.find_starts(examples, one.rows) + examples.window - 1
        same = np.abs(samples[np.minimum(last, len(samples) - 1)][:, np.newaxis] - one.targets)
        errors.append(off.mean(axis=(0, 2)))  # [horizon]
        stays.append(same.mean(axis=(0, 2)))
        done.append(Answered(one.number, one.rows, None, None, -float(errors[-1].mean())))
    errors, stays = np.array(errors), np.array(stays)
    groups = answered.find_groups(examples, done)
    quality = {
        "MAE": (average(errors.mean(axis=1), groups), "mean absolute error, over all steps"),
        "baseline MAE": (average(stays.mean(axis=1), groups), "each channel stays as it is"),
    }

    def draw(one: Answered) -> dict:
        row = (one.rows.start + one.rows.stop) // 2
        inputs, _ = examples.eval.read(np.array([row]))
        begin = int(answered.find_starts(examples, row))
        end = begin + examples.window + schema.horizon
        [output], rows = context.predict(inputs), []
        values = examples.recordings.read(one.number, begin, end)[:, places]
        for name, truth, forecast in zip(schema.outputs, values.T, output.T, strict=True):
            ahead = np.full(len(truth), np.nan)
            ahead[-schema.horizon :] = forecast
            both = np.concatenate([truth, forecast])
            ends = np.nanmin(both), np.nanmax(both)
            rows.append(sections.signal(f"{name}, forecast", ahead, scale=ends))
        return timelines.make_item(examples, one.number, begin, end, rows, [describe(one)])

    def describe(one: Answered) -> str:
        return f"mean absolute error {-one.sure:.3g}"

    chosen = [done[i] for i in timelines.choose(np.zeros(len(done)))]
    ahead = np.arange(1, schema.horizon + 1) * schema.step
    lines = {"model": errors.mean(axis=0), "stays as it is": stays.mean(axis=0)}
    return [
        sections.numbers("How close it comes", quality, answered.explain_groups(examples)),
        sections.curves("Error by time ahead", ahead, lines, schema.unit or "steps ahead"),
        *_show(model, examples, chosen, done, draw, describe),
    ]


def answer(examples, output) -> dict:
    """A model's output as a client gets it, of windows: tensors [batch, …] by name.

    `predictor/inputs.py` joins the windows of a recording. A class: see `engine/answers.py`; a value:
    `value` float32 [batch]; labels: `probabilities` float32 [batch, window, classes]; a forecast:
    `forecast` float32 [batch, horizon, channels].
    """
    task = examples.schema.task
    if task == "classification":
        return answers.name_classes(output, examples.classes)
    if task == "regression":
        return {"value": output[:, 0]}
    if task == "forecasting":
        return {"forecast": output}
    import tensorflow as tf

    return {"probabilities": tf.nn.softmax(output)}
