"""From a command line to a job, or a study, on this machine, and what is printed at its end."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from launcher.jobfile import spec
from launcher.jobfile.program import FOLDERS
from launcher.local import contract, fork, run_dirs, view
from launcher.local import local as machine
from launcher.local.contract import ROLES, Replica


def local(options: argparse.Namespace, flags: list[str]) -> int:
    """Run the job file `options.job`; return the exit code.

    Raises:
        SpecError: a fault in the file, the options or the directory; nothing was started.
    """
    job = spec.load(options.job)
    if not job.tuning and (options.top or options.new or not options.fork):
        what = f"--top, --new and --no-fork are for a study, and {job.file.path.name} is one job"
        raise spec.SpecError(what)
    flags, run_dir = run_dirs.take_job_dir(flags)
    replicas = contract.list_replicas(job, counts=options.replicas)
    _refuse_foreign(job, replicas, options.container)
    absent = _find_absent(job)
    containers = None  # processes of this machine
    if options.container:
        from launcher.local.container import Containers

        gpus = not absent and any(pool.accelerator for pool in job.pools)
        containers = Containers({replica.program.image for replica in replicas}, gpus)
    if absent:
        print(f"[launcher] the job asks for {absent}, and there is none here: it runs on the CPU")
    if job.tuning:
        return _run_study(job, options, flags, run_dir, containers)
    shown = view.View(replicas)
    path = run_dir or run_dirs.make(options.job.stem)
    try:
        run = machine.Run(
            job,
            path,
            flags=flags,
            counts=options.replicas,
            kills=options.kill or [],
            preempt=options.preempt_after,
            host=containers,
            say=shown.say,
            show=shown.show,
        )
        # The report's libraries are loaded while the trainer starts, which takes longer.
        name = "launcher.report.report"
        threading.Thread(target=importlib.import_module, args=(name,), daemon=True).start()
        with view.interruptible(run), shown.watching(run):
            outcome = run.run()
    except spec.SpecError:  # nothing was started
        if run_dir is None:
            with contextlib.suppress(OSError):
                path.rmdir()  # made above, and only if it is still empty
        raise
    return _report(run, outcome)


def _run_study(
    job: spec.Job, options: argparse.Namespace, flags: list[str], study_dir: Path | None, containers
) -> int:
    if options.kill or options.preempt_after:
        raise spec.SpecError("--kill and --preempt-after are for one job, not for a study of many")
    [first, *_] = contract.list_replicas(job, counts=options.replicas)
    with contextlib.ExitStack() as stack:
        host = containers
        if options.fork and containers is None and fork.can_fork(first):
            # It imports TensorFlow while this process imports what studies need.
            host = stack.enter_context(fork.Forks(first))
        from launcher.study.study import Study

        study = Study(
            job,
            flags,
            study_dir,
            top=options.top or 1,
            new=options.new,
            counts=options.replicas,
            host=host,
        )
        with view.interruptible(study):
            return study.run()


def _refuse_foreign(job: spec.Job, replicas: Sequence[Replica], container: bool) -> None:
    """Refuse programs that are not the project's and cannot run here.

    Prints where a module of this repo runs instead.

    Raises:
        SpecError: there is such a program.
    """
    for replica in replicas:
        runs = replica.program
        if not runs.foreign or replica.index or (container and runs.image):
            continue
        what = f"{runs.foreign} is not the project's"
        if runs.module and not (container and runs.module.partition(".")[0] not in FOLDERS):
            instead = f"here its command runs {runs.module} of this repo"
            print(f"[launcher] {what}: {instead}", flush=True)
            continue
        key = "containerSpec.imageUri" if runs.image else "pythonPackageSpec.packageUris"
        field = job.locate(f"workerPoolSpecs[{ROLES.index(replica.role)}].{key}")
        ways = ["add --container"] if runs.image else []
        ways += [f"leave it out: --replicas {replica.role}=0"] if not replica.is_primary else []
        ways += [f"send it to Vertex AI: python scripts/train_cloud.py {job.file.path}"]
        what += ", and its program is not in this repo"
        raise spec.SpecError(job.file.fault(field, what, ", or ".join(ways)))


def _find_absent(job: spec.Job) -> str:
    """The accelerators that a job asks for, where this machine has none."""
    if any(pool.machine.startswith(("ct", "cloud-tpu", "tpu")) for pool in job.pools):
        return "TPUs"
    names = {pool.accelerator for pool in job.pools} - {""}
    return "" if shutil.which("nvidia-smi") else ", ".join(sorted(names))


def _report(run: machine.Run, outcome: machine.Outcome) -> int:
    """Print how the job ended, its metrics, and its paths; return its exit code."""
    from launcher.report import report, runs
    from launcher.report.numbers import measured

    several = len(run.members) > 1
    for member in run.members if several else ():
        print(f"{member.replica}: {member.state}")
    if outcome.tail and (several or run.members[0].starts > 1):
        print(outcome.tail, file=sys.stderr)
    if outcome.code:
        print(f"the job {outcome}; its output: {run.run_dir}/*.log", file=sys.stderr)
    if outcome.code == machine.START_AGAIN:
        print(f"to resume, add to the same command: -- --job-dir {run.run_dir}", file=sys.stderr)
    try:
        record = runs.load(run.run_dir)
        if outcome.code and record.status == "succeeded":  # of an earlier run in this directory
            return outcome.code
        page = report.write(run.run_dir)
    except runs.RunError as error:
        print(f"run directory: {run.run_dir}")  # another program need not keep a record
        if run.members[0].replica.program.is_trainer and not outcome.code:
            print(f"no report: {error}", file=sys.stderr)
        return outcome.code
    print()
    for name, value in record.metrics.items():
        if name.startswith("val_"):
            _, interval = measured(value, record.intervals.get(name))
            interval = f" (95 % interval: {interval})" if interval else ""
            print(f"eval {name.removeprefix('val_')}: {value:.4f}{interval}")
    if record.why_exported:
        print(f"exported model: {record.why_exported}")
    print(f"run directory: {run.run_dir}")
    print(f"report: {page}")
    return outcome.code
