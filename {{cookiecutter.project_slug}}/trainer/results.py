"""After the last epoch: what the model gets right and wrong, the exported model, the last record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from trainer import export
from trainer.data import Table
from trainer.record import Record, peak_memory_bytes, timed
from trainer.runtime import Runtime
from trainer.schema import Schema
from trainer.train import Progress, Trainer

SAMPLE = 2000  # held-out rows whose predictions are kept for the residual plot


def write(runtime: Runtime, record: Record, trainer: Trainer, progress: Progress) -> None:
    """Writes evaluation.json, model/ and the final run.json; replicas only tell their weights."""
    schema, times, data = trainer.schema, record.timings, trainer.data
    model = trainer.plain_model()
    print(f"weights {checksum(model)}", flush=True)  # the same on all replicas, or something is off
    if not runtime.is_chief:
        return
    with timed(times, "evaluate"):
        evaluation = evaluate(schema, predictions(model, data.eval), data.eval)
    record.write_json("evaluation.json", evaluation)
    with timed(times, "export"):
        export.write(model, schema, runtime.model_dir)
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
        rows_per_second=round(trainer.trained / times["train"]) if trainer.trained else None,
        peak_memory_bytes=peak_memory_bytes(),
    )


def checksum(model) -> str:
    """Twelve characters that tell whether two models have the same weights, to the bit."""
    digest = hashlib.sha256()
    for variable in model.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()[:12]


def predictions(model, table: Table, rows: int = 1024) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(target, output) for all rows of a table, in its order, some rows at a time."""
    for steps, block in table.batches(rows):
        del block["rows"]
        for i in range(steps):
            batch = {name: array[i] for name, array in block.items()}
            real = batch.pop("weight") > 0
            target = batch.pop("target")[real]
            yield target, model(batch, training=False).numpy()[real]


def evaluate(schema: Schema, predictions, table: Table) -> dict:
    """Confusion counts [truth][prediction], or a sample of predicted values and their errors."""
    facts = {"task": schema.task, "target": schema.target, "rows": table.rows}
    if schema.task == "classification":
        classes = len(schema.labels)
        confusion = np.zeros((classes, classes), np.int64)
        for target, output in predictions:
            np.add.at(confusion, (target, output.argmax(axis=1)), 1)
        return facts | {"labels": schema.labels, "confusion": confusion.tolist()}

    every = max(1, -(-table.rows // SAMPLE))
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
    return facts | {
        "mae": errors / seen,
        "rmse": float(np.sqrt(squares / seen)),
        "r2": 1 - squares / variance if variance > 0 else None,
        "truth": truth,
        "prediction": predicted,
    }
