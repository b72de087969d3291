#!/usr/bin/env python3
"""Runs a job file on this machine, then shows what came of it.

    python scripts/train_local.py [JOB.yaml] [-- trainer flags]

Without a job file: configs/cpu.yaml. The trainer's own flags: python -m trainer.task --help
With --job-dir runs/NAME among them, a run that was stopped goes on.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import local, report, runs  # noqa: E402
from launcher.spec import SpecError  # noqa: E402

START_AGAIN = 75  # the trainer's word for: stopped, with a checkpoint


def main(argv: list[str]) -> int:
    end = argv.index("--") if "--" in argv else len(argv)
    own, flags = argv[:end], argv[end + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "job", nargs="?", type=Path, default=local.ROOT / "configs" / "cpu.yaml", metavar="JOB.yaml"
    )
    args, unknown = parser.parse_known_args(own)
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; the trainer's flags stand after a lone --")
    try:
        run_dir, code = local.run(args.job, flags)
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if code:
        print(f"the trainer ended with exit code {code}", file=sys.stderr)
    if code == START_AGAIN:
        print(f"to go on, add to the same command: -- --job-dir {run_dir}", file=sys.stderr)
    if not run_dir.exists():
        return code
    try:
        metrics, page = runs.load(run_dir).metrics, report.write(run_dir)
    except runs.RunError as error:  # a module of your own need not keep a record as ours does
        print(f"no report: {error}", file=sys.stderr)
        return code
    print()
    for name, value in metrics.items():
        if name.startswith("val_"):
            print(f"eval {name.removeprefix('val_')}: {value:.4f}")
    print(f"run directory: {run_dir}")
    print(f"report: {page}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
