#!/usr/bin/env python3
"""Runs a job file on this machine, then shows what came of it.

    python scripts/train_local.py [JOB.yaml] [-- trainer flags]

Without a job file: configs/cpu.yaml. The trainer's own flags: python -m trainer.task --help
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher import local, report, runs  # noqa: E402
from launcher.spec import SpecError  # noqa: E402


def main(argv: list[str]) -> int:
    end = argv.index("--") if "--" in argv else len(argv)
    own, flags = argv[:end], argv[end + 1 :]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "job", nargs="?", type=Path, default=local.ROOT / "configs" / "cpu.yaml", metavar="JOB.yaml"
    )
    job = parser.parse_args(own).job
    try:
        run_dir, code = local.run(job, flags)
    except SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not run_dir.exists():
        print(f"the trainer ended with exit code {code} and left nothing", file=sys.stderr)
        return code
    page = report.write(run_dir)
    print()
    if code:
        print(f"the trainer ended with exit code {code}", file=sys.stderr)
    for name, value in runs.load(run_dir).metrics.items():
        if name.startswith("val_"):
            print(f"eval {name.removeprefix('val_')}: {value:.4f}")
    print(f"run directory: {run_dir}")
    print(f"report: {page}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
