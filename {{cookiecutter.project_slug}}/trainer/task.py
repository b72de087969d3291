"""The entrypoint of a training job: flags in, exit code out.

    python -m trainer.task --help

Exit codes: 0 done; 1 it broke while it trained, another start may help; 2 a mistake in flags, data,
code or set-up, which would come again: whatever fails before the first step; 75 the platform took
the machine away: start the same command again to resume.
"""

import argparse
import contextlib
import gc
import json
import os
import sys

from trainer.engine.ending import START_AGAIN, explain, note_termination
from trainer.engine.parser import Parser, describe, warn_of_unknown
from trainer.engine.runtime import JobError, Runtime, new_job_dir
from trainer.engine.runtime import read as read_runtime

# The launcher runs `--describe` to check job files; without this line it runs nothing of the trainer.
DESCRIBES = True


def parse(argv: list[str]) -> argparse.Namespace:
    """Reads the flags; names those that do not exist. `--describe` prints, and ends the process."""
    parser = Parser()
    flags, unknown = parser.parse_known_args(argv)
    if "describe" in flags:
        print(describe(parser, json.loads(sys.stdin.read() or "[]")))
        raise SystemExit(0)
    if flags.repeat:
        from trainer.engine.record import read_record  # NumPy comes with it

        parser.take_over(read_record(flags.repeat)["flags"])
        flags, unknown = parser.parse_known_args(argv)
    flags.ignored = unknown
    warn_of_unknown(unknown)
    return flags


def main(argv: list[str]) -> int:
    """Runs the job; returns its exit code."""
    flags = None
    try:
        flags = parse(argv)
        return _run(flags, argv)
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if flags is None and isinstance(error, SystemExit):  # argparse has said why
            raise
        return explain(error, trained=False)


def _run(flags: argparse.Namespace, argv: list[str]) -> int:
    runtime = read_runtime(flags.job_dir)
    if runtime.cluster and runtime.job_dir is None:
        raise JobError("several replicas need a --job-dir, or AIP_MODEL_DIR, that they share")
    if runtime.role == "evaluator":
        print("the chief evaluates after each epoch: an evaluator has nothing to do here")
        return 0
    if "ps" in runtime.cluster and not runtime.is_chief:
        from trainer.engine.parameter_server import serve

        return 0 if serve(runtime) else START_AGAIN
    # Imports stand where they are needed: --help and wrong flags are answered at once, and whatever
    # is wrong with the data is reported without waiting for TensorFlow.
    from trainer import data, outputs
    from trainer.engine.record import Record, describe_metrics, locked, refuse_foreign

    refuse_foreign(runtime)
    record = Record(argv, flags)
    with record.timed("read and encode data"):
        loaded = data.load(flags, runtime)
    if runtime.is_chief:
        print(loaded.describe(), flush=True)
        for name, meaning in describe_metrics(loaded).items():
            print(f"{name}: {meaning}", flush=True)
    if "describe_data" in flags:
        more = outputs.show_examples(loaded) if hasattr(outputs, "show_examples") else []
        print(json.dumps(outputs.describe_data(loaded) + more))
        return 0

    # An import makes a million objects that all stay: looking for garbage among them, time and
    # again, takes a sixth of a short run.
    gc.disable()
    with record.timed("import tensorflow"):
        with hidden("IPython", "matplotlib", "sklearn"):
            import tensorflow as tf

        from trainer.engine.training import Training
    with record.timed("build model"):
        if flags.deterministic:
            tf.config.experimental.enable_op_determinism()
        training = Training(flags, runtime, loaded)
    gc.freeze()
    gc.enable()
    if runtime.job_dir is None:
        runtime = read_runtime(new_job_dir())
    with locked(runtime):
        return _train(runtime, training, record)


@contextlib.contextmanager
def hidden(*names: str):
    """Make these packages look as if they were not installed.

    Keras imports them for its own plots and wrappers, which takes up to a second of each start.
    """
    unseen = {name: None for name in names if name not in sys.modules}
    sys.modules.update(unseen)
    try:
        yield
    finally:
        for name in unseen:
            del sys.modules[name]


def _train(runtime: Runtime, training, record) -> int:
    """Trains from the newest checkpoint, or from the beginning, to the end; returns the exit code."""
    from trainer import fit, loop
    from trainer.engine.checkpoint import Checkpoints, describe_settings
    from trainer.engine.export import write_results
    from trainer.engine.telemetry import Telemetry

    flags, examples = training.flags, training.examples
    settings = describe_settings(flags, examples.manifest, training.steps.has_schedule)
    checkpoints = Checkpoints(runtime.checkpoint_dir, settings, runtime.is_chief)
    training.resume(checkpoints.restore())
    record.start(runtime, examples, training.model.count_params())
    try:
        with Telemetry(runtime, flags) as telemetry, note_termination() as terminated:
            train = fit.run if flags.fit else loop.run
            train(loop.Job(training, checkpoints, record, telemetry, terminated))
        write_results(runtime, record, training)
    except loop.Preempted as saved:
        record.write("preempted")
        again = f"start the same command again, with --job-dir {runtime.job_dir}, to resume"
        print(f"stopped: {saved}; {again}")
        return START_AGAIN
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        if isinstance(error, OSError) and not error.filename:
            error.filename = runtime.job_dir  # a full disk
        with contextlib.suppress(OSError):  # the disk may be full
            known = isinstance(error, Exception) and str(error).split("\n")[0]
            record.write("failed", error=known or repr(error))  # SystemExit(1) says only 1
        return explain(error, trained=training.trained)
    if runtime.is_chief:
        warn_of_unknown(flags.ignored)  # once more, where it is read
    print(f"done: {runtime.job_dir}")
    return 0


def leave(code: int) -> None:
    """Ends the process at once: TensorFlow takes 0.8 s to tear itself down, for nothing."""
    for name, module in list(sys.modules.items()):
        if name.startswith("__autograph_generated_file"):  # TensorFlow removes them only at leisure
            for path in (module.__file__, module.__cached__):
                with contextlib.suppress(OSError, TypeError):
                    os.remove(path)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
