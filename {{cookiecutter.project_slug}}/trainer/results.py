"""After the last epoch: what the model gets right and wrong, the exported model, the last record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from trainer import explain, export
from trainer import model as modelling
from trainer.record import Record, peak_memory_bytes, timed
from trainer.runtime import Runtime
from trainer.schema import Schema
from trainer.train import Progress, Trainer

SAMPLE = 2000  # held-out rows whose predictions are kept for the residual plot
MISTAKES = 24  # kept, of those of a classifier


def write(runtime: Runtime, record: Record, trainer: Trainer, progress: Progress) -> None:
    """Writes evaluation.json, model/ and the final run.json; replicas only tell their weights."""
    schema, times, data = trainer.schema, record.timings, trainer.data
    model = trainer.plain_model()
    print(f"weights {checksum(model)}", flush=True)  # the same on all replicas, or something is off
    if not runtime.is_chief:
        return
    with timed(times, "evaluate"):
        evaluation = evaluate(schema, predictions(model, data.eval), data.eval.rows)
    with timed(times, "export"):
        export.write(model, schema, runtime.model_dir)
    evaluation |= explain.write(record, model, data, evaluation)
    record.write_json("evaluation.json", evaluation)
    record.write_history(progress.history, final=True)
    # With early stopping the best epoch's weights are exported: the metrics are that model's.
    final = progress.best if trainer.flags.early_stopping else progress.epoch
    best, last = (progress.rows[epoch]["val_loss"] for epoch in (progress.best, final))
    if last > 1.1 * best:
        print(
            f"val_loss was lowest after epoch {progress.best}: {best:.4g}, and {last:.4g} at the "
            "end; --early-stopping N stops in time and exports the best epoch"
        )
    record.write(
        "succeeded",
        metrics={k: v for k, v in progress.rows[final].items() if k != "epoch"},
        best={"epoch": progress.best},
        phases={  # the first epoch of each
            phase.name: end + 1
            for phase, end in zip(trainer.phases, [0, *progress.ends], strict=False)
        },
        rows_per_second=round(trainer.trained / times["train"]) if trainer.trained else None,
        peak_memory_bytes=peak_memory_bytes(),
    )


def checksum(model) -> str:
    """Twelve characters that tell whether two models have the same weights, to the bit."""
    digest = hashlib.sha256()
    for variable in model.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()[:12]


def predictions(model, examples) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(target, output) of all examples, in their order, some at a time."""
    for steps, block in examples.batches(modelling.AT_ONCE):
        del block["rows"]
        for i in range(steps):
            batch = {name: array[i] for name, array in block.items()}
            real = batch.pop("weight") > 0
            target = batch.pop("target")[real]
            yield target, model(batch, training=False).numpy()[real]


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
