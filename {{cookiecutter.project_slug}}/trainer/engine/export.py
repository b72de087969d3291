"""After the last epoch: the exported model, the sections of the report, the last record."""

import hashlib
import io
import math
import tempfile
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from codec import files
from trainer import outputs
from trainer.engine import network
from trainer.engine.ending import shorten
from trainer.engine.evaluation import Context
from trainer.engine.machine import peak_memory_bytes
from trainer.engine.record import Record
from trainer.engine.runtime import JobError, Runtime, join
from trainer.engine.sections import check
from trainer.engine.training import Progress, Training
from trainer.inputs import Inputs


def write_results(runtime: Runtime, record: Record, training: Training) -> None:
    """Writes model/, evaluation.json, predictions.csv and the final run.json; replicas only print their weights.

    A JobError if outputs.py does not fit the model: everything else is written before.
    """
    flags, progress, times = training.flags, training.progress, record.timings
    model = training.exported_model()
    meaning = " (a checksum: replicas and runs that print the same one have equal weights)"
    print(f"weights {checksum(model)}{meaning if runtime.is_chief else ''}", flush=True)
    if not runtime.is_chief:
        return
    faults = []
    with record.timed("export"):
        if error := write(model, training.examples, runtime.model_dir):
            faults.append(f"answer() fails ({shorten(error)}), so model/ gives raw outputs")
    context, sections = Context(model, training.examples, flags), []
    with record.timed("evaluate"):
        try:
            sections = check(outputs.evaluate(model, training.examples, context))
        except (JobError, OSError):  # of the data, or a disk
            raise
        except Exception as error:  # any model may have come here
            faults.append(f"evaluate() fails ({shorten(error)}), so the report has no sections")
            context = Context(model, training.examples, flags)  # without what is half done
        context.write_images(runtime)
        context.write_rows(runtime)
    record.write_json("evaluation.json", {"sections": sections})
    record.write_history(progress.history, final=True)
    exported = choose_exported(flags, progress)
    row = progress.history[exported["epoch"] - 1]
    intervals = {k: v for k, v in context.intervals().items() if k in row}
    first_epochs = [1, *(end + 1 for end in progress.ends)]
    record.write(
        None if faults else "succeeded",
        exported=exported,
        metrics={k: v for k, v in row.items() if k != "epoch"},
        intervals=intervals,
        phases={p.name: n for p, n in zip(training.phases, first_epochs, strict=False)},
        rows_per_second=round(training.trained / times["train"]) if training.trained else None,
        peak_memory_bytes=peak_memory_bytes(),
    )
    values = "  ".join(
        f"{k} {v:.4g}{_describe_interval(intervals.get(k))}"
        for k, v in row.items()
        if k.startswith("val_")
    )
    print(f"exported epoch {exported['epoch']} of {progress.epoch} ({exported['why']}): {values}")
    if faults:
        raise JobError(
            f"trainer/outputs.py: {'; '.join(faults)}; edit it and start the same command again: the "
            "checkpoint is written, no epoch is trained twice"
        )


def _describe_interval(interval: list[float] | None) -> str:
    return f" (95 %: {interval[0]:.3g} to {interval[1]:.3g})" if interval else ""


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


def write(model: keras.Model, examples, path: str) -> Exception | None:
    """Writes a SavedModel; `inputs.Inputs` says what its signatures take, `outputs.answer` what
    they return. Beside it the same network as ONNX, where it converts: see `network.py`.

    Returns the error of an `answer` that does not fit the model: it then returns its raw outputs,
    by their names, or as `output`, `output_1`, …
    """
    rows = _read_rows(examples)
    encoded = {n: tf.TensorSpec([None, *a.shape[1:]], a.dtype, n) for n, a in rows.items()}
    exported = tf.Module()  # what the signatures use must hang on it, or it is not saved
    exported.model, exported.inputs = model, Inputs(examples.schema)

    def trace(answer: Callable) -> tuple[Callable, dict]:
        # Traced once, for all signatures.
        core = tf.function(lambda inputs: answer(model(inputs, training=False)), [encoded])

        def serving(prepare: Callable, takes: dict[str, tf.TensorSpec]):
            # inputs.py is written in operations of graphs: to rewrite its Python takes seconds.
            serve = tf.function(lambda raw: core(prepare(raw)), [takes], autograph=False)
            return serve.get_concrete_function()

        ways = exported.inputs.signatures(encoded) | {"encoded": (lambda inputs: inputs, encoded)}
        return core, {name: serving(*how) for name, how in ways.items()}

    failed = None
    try:
        core, signatures = trace(lambda output: _check(outputs.answer(examples, output)))
    except Exception as error:  # any model may have come here
        failed = error
        core, signatures = trace(_raw)
    with tempfile.TemporaryDirectory() as folder:
        # In a bucket TensorFlow would take 75 requests, and leave half a model when it is killed.
        local = folder if files.is_remote(path) else path
        extra = join(local, "assets.extra")  # TensorFlow leaves this folder to us
        files.remove(join(path, "assets.extra", "network.onnx"))  # that of a shorter training
        tf.saved_model.save(exported, local, signatures=signatures)
        # What a client must know goes with the model.
        files.write_text(join(extra, "schema.json"), examples.schema.to_json())
        try:
            data = io.BytesIO(network.convert(core, encoded, rows))
            files.write_from(data, join(extra, "network.onnx"))
        except network.NoNetwork as error:
            print(f"model/ has no network.onnx, so TensorFlow will serve it: {error}", flush=True)
        if files.is_remote(path):
            files.upload(folder, path, last="saved_model.pb")
    return failed


def _read_rows(examples) -> dict[str, np.ndarray]:
    """Some held-out examples, as the model takes them: arrays [rows, …] by name."""
    _, (inputs, *_) = next(examples.eval.batches(1))  # arrays [K, 1, …]
    values = sum(math.prod(array.shape[2:]) for array in inputs.values())
    rows = min(network.ROWS, max(1, network.VALUES // values), examples.eval.rows)
    _, (inputs, *_) = next(examples.eval.batches(rows))
    return {name: np.asarray(array[0]) for name, array in inputs.items()}


@tf.autograph.experimental.do_not_convert
def _check(answer) -> dict:
    """A signature returns tensors by name, a row of each for every instance."""
    if not isinstance(answer, dict) or not answer:
        raise TypeError(f"it must return a dictionary of tensors, not {type(answer).__name__}")
    answer = {name: tf.convert_to_tensor(value) for name, value in answer.items()}
    if flat := [name for name, value in answer.items() if value.shape.rank == 0]:
        raise ValueError(f"{flat[0]!r} has no row for each instance")
    return answer


def _raw(output) -> dict[str, tf.Tensor]:
    if isinstance(output, dict):
        return dict(output)
    flat = keras.tree.flatten(output)
    return {f"output_{i}" if i else "output": value for i, value in enumerate(flat)}
