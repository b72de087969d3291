"""Predictions for many instances at once: here, or by a job on Vertex AI, which batch_job.py sends.

Both write the same files. Here they grow in a folder beside the final one, which takes its name at the end.
"""

import contextlib
from argparse import Namespace
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from launcher.common.document import SpecError
from launcher.common.files import PARTIAL, digest
from launcher.common.terminal import show_steps
from launcher.endpoints import files
from launcher.endpoints.batch_job import find_form, predict_there
from launcher.local.run_dirs import acquire
from launcher.project.settings import read_settings
from launcher.report import runs

LOCK = ".lock"


def batch(options: Namespace, predictor: ModuleType) -> int:
    """Predict for all instances of `options.file`; return the exit code: 2 where some have no prediction.

    Args:
        options: of the command line: file, model, config, local, output, dry_run.
        predictor: predictor/batch.py, which the launcher does not import.

    Raises:
        SpecError: what is wrong, was refused, or failed.
    """
    config = files.load(options.config, files.BATCH)
    settings = read_settings()
    try:
        if options.local or not (settings.project or options.dry_run):
            return _predict_here(options, config, predictor)
        return predict_there(options, config, predictor)
    except predictor.PredictError as error:
        raise SpecError(str(error)) from None


def _predict_here(options: Namespace, config: Mapping, predictor: ModuleType) -> int:
    if not Path(options.file).exists():
        hint = "copy what is in a bucket, by gcloud storage cp"
        raise SpecError(f"{options.file}: no such file or folder on this machine; {hint}")
    source = options.file, find_form(options.file, config), config.get("instanceConfig", {})
    model_dir = runs.find_model(Path(options.model) if options.model else None)
    name = Path(options.file).resolve().stem
    folder = options.output or model_dir.parent / "batch" / name
    job = {"model": digest(model_dir), "instances": digest(Path(options.file)), "as": [*source[1:]]}
    why = "" if options.local else "no project in project.yaml: "
    print(f"{why}on this machine, by {model_dir}", flush=True)
    if folder.exists() and not (folder / predictor.STATE).exists():
        raise SpecError(f"{folder}: is there already; name another folder by --output")
    if folder.exists():
        lines = predictor.read_state(folder, job)["lines"]
        print("predicted before, by the same command", flush=True)
        return _report(folder, predictor.FILES, *lines)
    partial = folder.with_name(folder.name + PARTIAL)
    size = int(config.get("manualBatchTuningParameters", {}).get("batchSize", 64))
    with _open_folder(partial), show_steps() as show:
        count, bad = predictor.predict(str(model_dir), source, size, partial, job, show)
    partial.rename(folder)
    return _report(folder, predictor.FILES, count - bad, bad)


@contextlib.contextmanager
def _open_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and keep other commands out of it within the block; leave no empty one."""
    # Not within the try: a command that is refused must not remove the other's lock.
    lock = acquire(folder, LOCK, "name another folder by --output")
    try:
        with lock:
            yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it is not empty
            folder.rmdir()


def _report(folder: Path, names: tuple[str, str], good: int, bad: int) -> int:
    print(f"predictions: {folder / names[0]}, {good:,} instances", flush=True)
    if bad:
        raise SpecError(f"{bad:,} of {good + bad:,} instances have none; see {folder / names[1]}")
    return 0
