"""From a command line to a job, or a study, on this machine, and what is told at its end."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import shutil
import sys
import threading
from pathlib import Path

from launcher.jobfile import spec
from launcher.jobfile.program import FOLDERS
from launcher.local import contract, run_dirs, view
from launcher.local import local as machine
from launcher.local.contract import ROLES, Replica


def local(asked: argparse.Namespace, flags: list[str]) -> int:
    """Runs the job file `asked.job`; returns the exit code.

    Raises:
        SpecError: a fault in the file, the options or the directory; nothing was started.
    """
    job = spec.load(asked.job)
    flags, run_dir = run_dirs.taken_from(flags)
    place = _place(job, asked)
    if devices := _find_absent(job):
        print(f"[launcher] the job asks for {devices}, and there is none here: it runs on the CPU")
    if job.tuning:
        return _study(job, asked, flags, run_dir, place)
    shown = view.Lines()
    run = machine.Run(
        job,
        run_dir or Path("unused"),
        flags=flags,
        counts=asked.replicas,
        kills=asked.kill or [],
        preempt=asked.preempt_after,
        place=place,
        say=lambda text: shown.say(text),
        show=lambda replica, line: shown.show(replica, line),
    )
    shown = view.best(len(run.members))
    run.run_dir = run_dir or run_dirs.new(asked.job.stem)
    before = _record_version(run.run_dir)
    # The report's libraries are loaded while the trainer starts, which takes longer.
    threading.Thread(
        target=importlib.import_module, args=("launcher.report.report",), daemon=True
    ).start()
    try:
        with view.interruptible(run), shown.watching(run):
            outcome = run.run()
    except spec.SpecError:  # nothing was started
        if run_dir is None:
            with contextlib.suppress(OSError):
                run.run_dir.rmdir()  # made above, and only if it is still empty
        raise
    return _tell(run, outcome, recorded=_record_version(run.run_dir) != before)


def _study(job: spec.Job, asked, flags: list[str], study_dir: Path | None, place) -> int:
    from launcher.study import study

    if asked.kill or asked.preempt_after:
        raise spec.SpecError("--kill and --preempt-after are for one job, not for a study of many")
    options = {"counts": asked.replicas} | ({"place": place} if place else {})
    found = study.Study(job, flags, study_dir, top=asked.top, new=asked.new, options=options)
    with view.interruptible(found):
        return found.run()


def _place(job: spec.Job, asked):
    """Where the replicas run: containers, or None for processes.

    Raises:
        SpecError: a replica cannot run there; or Docker cannot do what it is asked.
    """
    replicas = contract.replicas(job, counts=asked.replicas)
    for replica in replicas:
        if replica.program.foreign and replica.index == 0:
            _check_foreign(job, replica, asked.container)
    if not asked.container:
        return None
    from launcher.local.container import Containers

    gpus = any(pool.accelerator for pool in job.pools) and not _find_absent(job)
    return Containers((replica.program.image for replica in replicas), gpus)


def _check_foreign(job: spec.Job, replica: Replica, container: bool) -> None:
    """Refuses what is not the project's and cannot run here; says it where this repo stands in."""
    runs = replica.program
    if container and runs.image:
        return
    if runs.module and not (container and runs.module.partition(".")[0] not in FOLDERS):
        print(
            f"[launcher] {runs.foreign} is not the project's: here its command runs {runs.module} "
            "of this repo",
            flush=True,
        )
        return
    key = "containerSpec.imageUri" if runs.image else "pythonPackageSpec.packageUris"
    place = job.path_of(f"workerPoolSpecs[{ROLES.index(replica.role)}].{key}")
    ways = ["add --container"] if runs.image else []
    ways += [f"leave it out: --replicas {replica.role}=0"] if not replica.is_primary else []
    ways += [f"send it to Vertex AI: python scripts/train_cloud.py {job.path}"]
    what = f"{runs.foreign} is not the project's, and its program is not in this repo"
    raise spec.SpecError(job.fault(place, what, ", or ".join(ways)))


def _find_absent(job: spec.Job) -> str:
    """The accelerators that a job asks for, where this machine has none."""
    if any(pool.machine.startswith(("ct", "cloud-tpu", "tpu")) for pool in job.pools):
        return "TPUs"
    names = {pool.accelerator for pool in job.pools} - {""}
    return "" if shutil.which("nvidia-smi") else ", ".join(sorted(names))


def _record_version(run_dir: Path) -> tuple[int, int] | None:
    """What differs after each write of the run's record; None without one."""
    with contextlib.suppress(OSError):
        found = (run_dir / "run.json").stat()
        return found.st_ino, found.st_mtime_ns
    return None


def _tell(run: machine.Run, outcome: machine.Outcome, recorded: bool) -> int:
    """Prints how the job ended, its metrics, where it lies.

    Args:
        recorded: the job wrote the run's record. Otherwise the record and the report that lie there
            are another run's, and stay as they are.
    """
    from launcher.report import report, runs

    several = len(run.members) > 1
    if several:
        print("\n".join(f"{member.replica}: {member.state}" for member in run.members))
    if outcome.tail and (several or run.members[0].starts > 1):
        print(outcome.tail, file=sys.stderr)
    if outcome.code:
        print(f"the job {outcome.told}", file=sys.stderr)
    if outcome.code == machine.START_AGAIN:
        print(f"to go on, add to the same command: -- --job-dir {run.run_dir}", file=sys.stderr)
    if outcome.code and not recorded:
        print(f"its output: {run.run_dir}/*.log", file=sys.stderr)
        return outcome.code
    try:
        run_record, page = runs.load(run.run_dir), report.write(run.run_dir)
    except runs.RunError as error:
        if run.members[0].replica.program.is_trainer:
            print(f"no report: {error}", file=sys.stderr)
        else:  # another program need not keep a record
            print(f"run directory: {run.run_dir}")
        return outcome.code
    print()
    for name, value in run_record.metrics.items():
        if name.startswith("val_"):
            print(f"eval {name.removeprefix('val_')}: {value:.4f}")
    if run_record.why_exported:
        print(f"exported model: {run_record.why_exported}")
    print(f"run directory: {run.run_dir}")
    print(f"report: {page}")
    return outcome.code
