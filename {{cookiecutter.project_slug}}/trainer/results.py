"""After the last epoch: what the model gets right and wrong, the exported model, the last record."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import keras
import numpy as np

from codec.schema import Schema
from trainer import explain, export
from trainer.loop import Progress, Training
from trainer.record import Record, peak_memory_bytes, timed
from trainer.runtime import Runtime

SAMPLE = 2000  # held-out rows whose predictions are kept for the residual plot
MISTAKES = 24  # kept, of those of a classifier


def write(runtime: Runtime, record: Record, training: Training, progress: Progress) -> None:
    """Writes evaluation.json, model/ and the final run.json; replicas only print their weights."""
    data, times = training.examples, record.timings
    schema, model = data.schema, training.exported_model()
    meaning = " (a checksum: replicas and runs that print the same one have equal weights)"
    print(f"weights {checksum(model)}{meaning if runtime.is_chief else ''}", flush=True)
    if not runtime.is_chief:
        return
    errors = StandardErrors(schema, model)
    with timed(times, "evaluate"):
        pairs = errors.watch(predictions(model, data.eval, training.batch_size))
        evaluation = evaluate(schema, pairs, data.eval.rows)
    with timed(times, "export"):
        export.write(model, schema, runtime.model_dir)
    evaluation |= explain.write(record, model, data, evaluation)
    record.write_json("evaluation.json", evaluation)
    record.write_history(progress.history, final=True)
    exported = choose_exported(training.flags, progress)
    row = progress.rows[exported["epoch"]]
    record.write(
        "succeeded",
        exported=exported,
        metrics={k: v for k, v in row.items() if k != "epoch"},
        standard_errors=errors.result(),
        phases={  # the first epoch of each
            phase.name: end + 1
            for phase, end in zip(training.phases, [0, *progress.ends], strict=False)
        },
        rows_per_second=round(training.trained / times["train"]) if training.trained else None,
        peak_memory_bytes=peak_memory_bytes(),
    )
    values = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k.startswith("val_"))
    print(f"exported epoch {exported['epoch']} of {progress.epoch} ({exported['why']}): {values}")


def choose_exported(flags, progress: Progress) -> dict:
    """The epoch whose weights are exported and whose metrics are the run's, and why."""
    if flags.export == "best":
        return {"epoch": progress.best, "why": f"the best {flags.monitor}"}
    why, best = "the last, by --export last", progress.rows[progress.best][flags.monitor]
    if progress.best != progress.epoch:
        why += f"; {flags.monitor} was best in epoch {progress.best}: {best:.4g}"
    return {"epoch": progress.epoch, "why": why}


class StandardErrors:
    """How much the held-out metrics would vary with other held-out rows, as many as these.

    The standard deviation of a metric's value over the rows, divided by the root of their number.
    """

    def __init__(self, schema: Schema, model: keras.Model):
        """Of a loss of `model.compile`, where there is one, and of the task's own metric."""
        self.schema = schema
        # Called directly, a Loss of Keras gives the mean; its method gives a value for each row.
        self.loss = getattr(keras.losses.get(model.loss), "call", keras.losses.get(model.loss))
        self.rows = 0
        self.sums: dict[str, np.ndarray] = {}  # of a metric's values, and of their squares

    def watch(self, predictions) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Passes (target, output) on, and adds up their losses and errors."""
        for target, output in predictions:
            values = {"loss": np.asarray(self.loss(target, output), np.float64)}
            if self.schema.task == "classification":
                values["accuracy"] = (output.argmax(axis=1) == target).astype(np.float64)
            else:
                values["mae"] = np.abs(output - target)[:, 0].astype(np.float64)
            for name, value in values.items():
                sums = np.array([value.sum(), np.square(value).sum()])
                self.sums[name] = self.sums.get(name, 0) + sums
            self.rows += len(target)
            yield target, output

    def result(self) -> dict[str, float]:
        """By metric id. An accuracy counts one more row as right and one more as wrong: all right
        of 70 does not mean that there is nothing to vary."""
        errors, rows = {}, self.rows
        for name, (total, squares) in self.sums.items():
            variance = (squares - total**2 / rows) / max(1, rows - 1)
            error = math.sqrt(max(0.0, variance) / rows)
            if name == "accuracy":
                share = (total + 1) / (rows + 2)
                error = math.sqrt(share * (1 - share) / (rows + 2))
            if rows > 1 and math.isfinite(error):
                errors[f"val_{name}"] = float(f"{error:.3g}")
        return errors


def checksum(model) -> str:
    """Twelve characters that are the same for two models with the same weights, to the bit."""
    digest = hashlib.sha256()
    for variable in model.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()[:12]


def predictions(model, examples, at_once: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(target, output) of all examples, in their order, some at a time."""
    for steps, (inputs, target) in examples.batches(at_once):
        for i in range(steps):
            batch = {name: array[i] for name, array in inputs.items()}
            yield target[i], model(batch, training=False).numpy()


def evaluate(schema: Schema, predictions, rows: int) -> dict:
    """What evaluation.json holds: see the two functions below."""
    facts = {"task": schema.task, "target": schema.target, "rows": rows}
    if schema.task == "classification":
        return facts | {"labels": schema.labels, **_classes(schema.labels, predictions)}
    return facts | _values(schema, predictions, rows)


def _classes(labels: list[str], predictions) -> dict:
    """Confusion counts [truth][prediction], and the worst mistakes: those in which the model
    thought the truth least likely, by their place among the held-out examples."""
    confusion, worst, seen = np.zeros((len(labels), len(labels)), np.int64), [], 0
    for target, output in predictions:
        guess = output.argmax(axis=1)
        np.add.at(confusion, (target, guess), 1)
        shares = np.exp(output - output.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        for i in np.flatnonzero(guess != target):
            pair = target[i], guess[i]
            worst.append((*shares[i][list(pair)].tolist(), seen + int(i), *pair))
        worst, seen = sorted(worst)[:MISTAKES], seen + len(target)
    names = ("truth_probability", "prediction_probability", "row", "truth", "prediction")
    mistakes = [
        dict(zip(names, (*found, labels[truth], labels[guess]), strict=True))
        for *found, truth, guess in worst
    ]
    return {"confusion": confusion.tolist(), "mistakes": mistakes}


def _values(schema: Schema, predictions, rows: int) -> dict:
    """Errors over all rows, in the target's unit, and a sample of true and predicted values."""
    every = max(1, -(-rows // SAMPLE))
    truth, predicted = [], []
    errors = squares = total = total_squares = 0.0
    seen = 0
    for target, output in predictions:
        target, output = target[:, 0].astype(np.float64), output[:, 0].astype(np.float64)
        errors += np.abs(output - target).sum()
        squares += np.square(output - target).sum()
        # Shifted by the training mean, so that the variance keeps its digits.
        total += (target - schema.mean).sum()
        total_squares += np.square(target - schema.mean).sum()
        kept = slice(-seen % every, None, every)
        truth += target[kept].tolist()
        predicted += output[kept].tolist()
        seen += len(target)
    variance = total_squares - total**2 / seen
    return {
        "mae": errors / seen,
        "rmse": float(np.sqrt(squares / seen)),
        "r2": 1 - squares / variance if variance > 0 else None,
        "truth": truth,
        "prediction": predicted,
    }
