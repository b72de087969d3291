"""After the last epoch: what the model gets right and wrong, the exported model, the last record."""

from __future__ import annotations

import numpy as np

from trainer import export
from trainer.data import Table
from trainer.record import Record, peak_memory_bytes, timed
from trainer.runtime import Runtime
from trainer.schema import Schema
from trainer.train import Progress, Trainer

SAMPLE = 2000  # held-out rows whose predictions are kept for the residual plot


def write(runtime: Runtime, record: Record, trainer: Trainer, progress: Progress) -> None:
    """Writes evaluation.json, model/ and the final run.json."""
    schema, times = trainer.schema, record.timings
    with timed(times, "evaluate"):
        evaluation = evaluate(schema, trainer.predict(), trainer.data.eval)
    record.write_json("evaluation.json", evaluation)
    with timed(times, "export"):
        export.write(trainer.model, schema, runtime.model_dir)
    record.write_history(progress.history, final=True)
    last = {k: v for k, v in progress.history[-1].items() if k != "epoch"}
    best = min(progress.history, key=lambda row: row["val_loss"])
    trained = len(progress.history) * trainer.data.train.rows
    record.write(
        "succeeded",
        metrics=last,
        best={"epoch": best["epoch"]},
        rows_per_second=round(trained / times["train"]) if times.get("train") else None,
        peak_memory_bytes=peak_memory_bytes(),
    )


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
