"""The entrypoint of a training job: flags in, exit code out.

    python -m trainer.task --help

Exit codes: 0 done; 1 it broke while it trained, another start may help; 2 a mistake in flags, data,
code or set-up, which would come again: whatever fails before the first step; 75 the platform took
the machine away: start the same command again, it goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import gc
import io
import json
import os
import sys
import traceback

from trainer import options
from trainer.engine import runtime
from trainer.engine.flags import add_training_flags, seconds
from trainer.engine.runtime import JobError

# The launcher runs `--describe` to check job files; without this line it runs nothing of the trainer.
DESCRIBES = True
CRASH = 1
MISTAKE = 2  # as argparse ends: starting again would not help
START_AGAIN = 75  # EX_TEMPFAIL of sysexits.h
# May differ when a run goes on from its checkpoint; any other flag would make another run of it.
# Data is compared by its contents, not by its paths.
FREE = {"job_dir", "checkpoint_every", "repeat", "epochs", "ignored"}
FREE |= {"histograms", "profile", "strategy", "jit", "export"}
FREE |= {name.replace("-", "_") for name in (*options.SOURCES, *options.PLACES)}


class _Parser(argparse.ArgumentParser):
    """Tells a wrong flag in one line, without the forty others."""

    def error(self, message: str):
        self.exit(MISTAKE, f"error: {message}; --help explains every flag\n")


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m trainer.task",
        description="Trains a model and exports it. Without flags: on the project's own data.",
        allow_abbrev=False,
    )
    job = parser.add_argument_group("job")
    job.add_argument(
        "--job-dir",
        metavar="DIR",
        help="where results go: a folder, gs://… or /gcs/… (default: a new runs/<time>). The "
        "platform's AIP_MODEL_DIR, AIP_CHECKPOINT_DIR and AIP_TENSORBOARD_LOG_DIR come first",
    )
    job.add_argument(
        "--checkpoint-every",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="at most this much work is lost when the job is killed (default: 60)",
    )
    job.add_argument(
        "--repeat",
        metavar="RUN.JSON",
        help="take over the flags of a recorded run; flags that are given here win",
    )
    job.add_argument(
        "--describe",
        action="store_true",
        default=argparse.SUPPRESS,  # no part of a run and its record
        help="print all flags and metrics as JSON, and what is wrong in lists of flags from stdin",
    )
    options.add_data_flags(parser.add_argument_group("data"))
    add_training_flags(parser.add_argument_group("training"))
    options.add_model_flags(parser.add_argument_group("model"))
    parser.set_defaults(**options.DEFAULTS)
    return parser


def parse(argv: list[str]) -> argparse.Namespace:
    """Reads the flags; `--learning_rate` is `--learning-rate`; unknown ones are named and passed.

    Raises:
        JobError: --repeat names no run record.
    """
    parser, words = build_parser(), [_hyphens(word) for word in argv]
    flags, unknown = parser.parse_known_args(words)
    if "describe" in flags:
        print(_describe(parser, json.loads(sys.stdin.read() or "[]")))
        raise SystemExit(0)
    if flags.repeat:
        from trainer.engine import repeat

        repeat.take_over(parser, repeat.read(flags.repeat))
        flags, unknown = parser.parse_known_args(words)
    flags.ignored = unknown
    _warn_of_ignored(parser, unknown)
    return flags


def _describe(parser: argparse.ArgumentParser, lists: list[list[str]]) -> str:
    """Describe the trainer in one line of JSON, so that job files are checked without importing it.

    {"flags": {"task": {"value": true, "choices": […]}, …}, "metrics": {"regression": […], …},
    "sources": [flags that name data], "answers": [for each list of flags: a complaint, or a list of
    the words that are no flags]}
    """
    from trainer import outputs  # NumPy comes with it

    flags = {}
    for action in parser._actions:
        for option in filter(lambda option: option.startswith("--"), action.option_strings):
            choices = {"choices": list(action.choices)} if action.choices else {}
            flags[option.removeprefix("--")] = {"value": action.nargs != 0, **choices}
    metrics = {
        task: [*names, *(f"val_{name}" for name in names)]
        for task, names in outputs.METRICS.items()
    }
    answers = [_answer(parser, [_hyphens(word) for word in words]) for words in lists]
    about = {"flags": flags, "metrics": metrics, "sources": options.SOURCES, "answers": answers}
    return json.dumps(about)


def _answer(parser: argparse.ArgumentParser, words: list[str]) -> str | list[str]:
    """What argparse says of these words: its complaint, or those that are no flags."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return parser.parse_known_args(words)[1]
    except SystemExit as end:  # or --help, which is no mistake
        return err.getvalue().removeprefix("error: ").partition("; --help")[0] if end.code else []


def _warn_of_ignored(parser: argparse.ArgumentParser, unknown: list[str]) -> None:
    if not unknown:
        return
    known = [option for action in parser._actions for option in action.option_strings]
    close = [difflib.get_close_matches(word.partition("=")[0], known, n=1) for word in unknown]
    hints = [
        f"{word}: did you mean {near[0]}?"
        for word, near in zip(unknown, close, strict=True)
        if near
    ]
    text = f"warning: unknown flags, ignored: {' '.join(unknown)}"
    print("; ".join([text, *hints]), file=sys.stderr, flush=True)


def _hyphens(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def main(argv: list[str]) -> int:
    """Runs the job; returns its exit code."""
    try:
        return _run(parse(argv), argv)
    except (Exception, KeyboardInterrupt) as error:
        return _explain(error, trained=False)


def _explain(error: BaseException, trained: bool) -> int:
    """Prints why the job has ended; returns its exit code.

    Args:
        trained: this process has trained; before its first step an error is taken for a mistake in
            code, flags or machine, which would come again.
    """
    if isinstance(error, JobError):
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    if isinstance(error, KeyboardInterrupt):  # while it trains it makes a checkpoint instead
        print("interrupted", file=sys.stderr)
        return 130
    path, _, words = str(getattr(error, "message", "")).rpartition("; ")
    if path and words in map(os.strerror, errno.errorcode):  # so TensorFlow puts it
        error = OSError(None, words, path)
    if isinstance(error, OSError):  # a full disk, a directory that cannot be written
        print(f"error: {error.filename or 'a file'}: {error.strerror or error}", file=sys.stderr)
    elif _is_lost(error):
        print(f"TensorFlow: {error.message.splitlines()[0]}", file=sys.stderr)
        print("another replica, or a server, was lost: start again to go on", file=sys.stderr)
        return START_AGAIN
    else:
        traceback.print_exception(type(error), error, error.__traceback__)
    return CRASH if trained else MISTAKE


def _run(flags: argparse.Namespace, argv: list[str]) -> int:
    place = runtime.read(flags.job_dir)
    if place.cluster and place.job_dir is None:
        raise JobError("several replicas need a --job-dir, or AIP_MODEL_DIR, that they share")
    if place.role == "evaluator":
        print("the chief evaluates after each epoch: an evaluator has nothing to do here")
        return 0
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no notes on how TensorFlow was compiled
    if "ps" in place.cluster and not place.is_chief:
        from trainer.engine.parameter_server import serve

        return 0 if serve(place) else START_AGAIN
    # Imports stand where they are needed: --help and wrong flags are answered at once, and whatever
    # is wrong with the data is told without waiting for TensorFlow.
    from trainer import data, outputs
    from trainer.engine.record import Record, locked, now, refuse_foreign, timed

    refuse_foreign(place)
    started, timings = now(), {}
    with timed(timings, "read and encode data"):
        loaded = data.load(flags, place)
    if place.is_chief:
        print(loaded.describe(), flush=True)
        for name, meaning in outputs.describe_metrics(loaded).items():
            print(f"{name}: {meaning}", flush=True)
    if flags.repeat:
        _tell_differences(flags.repeat, loaded, place)

    # An import makes a million objects that all stay: looking for garbage among them, time and
    # again, takes a sixth of a short run.
    gc.disable()
    with timed(timings, "import tensorflow"):
        import tensorflow as tf

        from trainer import loop
        from trainer.engine import parallel
    with timed(timings, "build model"):
        if flags.deterministic:
            tf.config.experimental.enable_op_determinism()
        strategy = parallel.create(flags.strategy, place)
        training = loop.Training(flags, place, loaded, strategy)

    gc.freeze()
    gc.enable()
    if place.job_dir is None:
        place = runtime.read(runtime.new_job_dir())
    with locked(place):
        return _train(
            flags, place, loaded, training, Record(place, argv, vars(flags), timings, started)
        )


def _train(flags: argparse.Namespace, place: runtime.Runtime, loaded, training, record) -> int:
    """Trains from the newest checkpoint, or from the beginning, to the end; returns the exit code."""
    from trainer import fit, loop
    from trainer.engine import results
    from trainer.engine.checkpoint import Checkpoints
    from trainer.engine.signals import Terminated
    from trainer.engine.telemetry import Telemetry

    settings = _settings(flags, loaded, training)
    checkpoints = Checkpoints(place.checkpoint_dir, settings, place.is_chief)
    progress = loop.resume(training, checkpoints)
    record.start(loaded, training.model.count_params())
    try:
        with Telemetry(place, flags) as telemetry, Terminated() as terminated:
            train = fit.run if flags.fit else loop.run
            train(training, progress, checkpoints, record, telemetry, terminated)
        results.write(place, record, training, progress)
    except loop.Preempted:
        record.write("preempted")
        print(
            "stopped: the checkpoint is written; start the same command again, with --job-dir "
            f"{place.job_dir}, to go on"
        )
        return START_AGAIN
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError) and not error.filename:
            error.filename = place.job_dir  # a full disk
        with contextlib.suppress(OSError):  # the disk may be full
            record.write("failed", error=str(error).split("\n")[0] or type(error).__name__)
        return _explain(error, trained=training.trained)
    if place.is_chief:
        _warn_of_ignored(build_parser(), flags.ignored)  # once more, where it is read
    print(f"done: {place.job_dir}")
    return 0


def _is_lost(error: Exception) -> bool:
    """Whether TensorFlow's error means that something at the other end of a wire has gone."""
    if type(error).__module__.partition(".")[0] != "tensorflow":
        return False
    from tensorflow import errors

    lost = (errors.UnavailableError, errors.AbortedError, errors.DeadlineExceededError)
    if isinstance(error, lost):
        return True
    # Any operation may get the error of the heartbeat of those whom a lost replica left behind.
    return isinstance(error, errors.InvalidArgumentError) and "Coordination" in error.message


def _tell_differences(path: str, loaded, place) -> None:
    from trainer.engine import repeat

    for difference in repeat.differences(repeat.read(path), loaded.manifest, place):
        print(f"warning: not as in {path}: {difference}", file=sys.stderr)


def _settings(flags: argparse.Namespace, loaded, training) -> dict:
    """What two runs must share for one to go on from the other's checkpoint."""
    settings = {k.replace("_", "-"): v for k, v in vars(flags).items() if k not in FREE}
    if training.steps.has_schedule:
        settings["epochs"] = flags.epochs  # the learning rate of every step depends on their number
    digests = [f["digest"] for part in loaded.manifest.values() for f in part["files"]]
    return json.loads(json.dumps(settings | {" and --".join(options.SOURCES): digests}))


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
