"""After the last epoch: the exported model, the sections of the report, the last record."""

import hashlib
import traceback

import keras

from trainer import outputs
from trainer.engine import export
from trainer.engine.evaluation import Context
from trainer.engine.machine import peak_memory_bytes
from trainer.engine.record import Record, timed
from trainer.engine.runtime import JobError, Runtime
from trainer.engine.sections import check
from trainer.engine.training import Progress, Training


def write(runtime: Runtime, record: Record, training: Training) -> None:
    """Writes model/, evaluation.json and the final run.json; replicas only print their weights.

    Raises:
        JobError: outputs.py does not fit the model. Everything else is written before.
    """
    flags, progress, times = training.flags, training.progress, record.timings
    model = training.exported_model()
    meaning = " (a checksum: replicas and runs that print the same one have equal weights)"
    print(f"weights {checksum(model)}{meaning if runtime.is_chief else ''}", flush=True)
    if not runtime.is_chief:
        return
    faults = []
    with timed(times, "export"):
        if error := export.write(model, training.examples, runtime.model_dir):
            faults.append(f"answer() fails ({_in_a_line(error)}), so model/ gives raw outputs")
    context, sections = Context(model, training.examples, flags), []
    with timed(times, "evaluate"):
        try:
            sections = check(outputs.evaluate(model, training.examples, context))
        except (JobError, OSError):  # of the data, or a disk
            raise
        except Exception as error:  # any model may have come here
            faults.append(f"evaluate() fails ({_in_a_line(error)}), so the report has no sections")
        context.write_images(runtime)
    record.write_json("evaluation.json", {"sections": sections})
    record.write_history(progress.history, final=True)
    exported = choose_exported(flags, progress)
    row = progress.history[exported["epoch"] - 1]
    first_epochs = [1, *(end + 1 for end in progress.ends)]
    record.write(
        None if faults else "succeeded",
        exported=exported,
        metrics={k: v for k, v in row.items() if k != "epoch"},
        standard_errors={k: v for k, v in context.standard_errors().items() if k in row},
        phases={p.name: n for p, n in zip(training.phases, first_epochs, strict=False)},
        rows_per_second=round(training.trained / times["train"]) if training.trained else None,
        peak_memory_bytes=peak_memory_bytes(),
    )
    values = "  ".join(f"{k} {v:.4g}" for k, v in row.items() if k.startswith("val_"))
    print(f"exported epoch {exported['epoch']} of {progress.epoch} ({exported['why']}): {values}")
    if faults:
        raise JobError(
            f"trainer/outputs.py: {'; '.join(faults)}; edit it and start the same command again: the "
            "checkpoint is written, no epoch is trained twice"
        )


def _in_a_line(error: Exception) -> str:
    """An error's last line: before it TensorFlow shows the code that it was in."""
    lines = traceback.format_exception_only(error)[-1].strip().splitlines()
    return " ".join(lines[-1].split())[:200]


def choose_exported(flags, progress: Progress) -> dict:
    """The epoch whose weights are exported and whose metrics are the run's, and why."""
    if flags.export == "best":
        return {"epoch": progress.best, "why": f"the best {flags.monitor}"}
    why, best = "the last, by --export last", progress.history[progress.best - 1][flags.monitor]
    if progress.best != progress.epoch:
        why += f"; {flags.monitor} was best in epoch {progress.best}: {best:.4g}"
    return {"epoch": progress.epoch, "why": why}


def checksum(model: keras.Model) -> str:
    """Twelve characters that are the same for two models with the same weights, to the bit."""
    digest = hashlib.sha256()
    for variable in model.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()[:12]
