"""A trainer in plain Python, for the tests of studies: it starts in no time, and does what it is told.

It keeps the contract: two-word flags, hypertune's file, a checkpoint, SIGTERM. At each step it
reports `loss`, which falls to `--floor` and, for `--x`, is the lower the nearer x is to 0.3.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import signal
import sys
import time
from pathlib import Path


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--x", type=float, default=0.0)
    parser.add_argument("--floor", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0, help="0 for no noise in the loss")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds a step")
    parser.add_argument(
        "--hold", help="a file: while it is there, the trials from its number on stop at step 3"
    )
    parser.add_argument("--metric", default="loss")
    parser.add_argument("--fault", default="none", help="none, exit, nan, silent")
    parser.add_argument("--error", type=float, help="half the interval of the loss, for run.json")
    parser.add_argument("--digest-of", help="the file of data that run.json names")
    flags, others = parser.parse_known_args(argv)

    run_dir = Path(os.environ["AIP_MODEL_DIR"]).parent
    with open(run_dir / "starts.jsonl", "a", encoding="utf-8") as file:
        told = {"argv": argv, "trial": os.environ.get("CLOUD_ML_TRIAL_ID"), "at": time.time()}
        file.write(json.dumps({**told, "others": others}) + "\n")
    if flags.fault == "exit":
        print("this trial was told to fail")
        return 2

    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    checkpoint = Path(os.environ["AIP_CHECKPOINT_DIR"]) / "step"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    done = int(checkpoint.read_text()) if checkpoint.exists() else 0
    reports: list[str] = []
    for step in range(done + 1, flags.steps + 1):
        time.sleep(flags.pause)
        loss = flags.floor + (flags.x - 0.3) ** 2 + 1 / step
        loss += bool(flags.seed) * 0.01 * math.sin(10 * flags.seed + 1000 * flags.x)
        if flags.fault == "nan" and step == flags.steps:
            loss = float("nan")
        if flags.fault != "silent":
            report(reports, flags.metric, loss, step)
        checkpoint.write_text(str(step))
        while step == 3 and not stopped and is_held(flags.hold):
            time.sleep(0.02)
        if stopped:
            return 75
    if flags.error is not None:
        interval = [loss - flags.error, loss + flags.error]
        about = {"intervals": {flags.metric: interval}, "data": {"eval": {"rows": 69}}}
        if flags.digest_of:
            digest = hashlib.sha256(Path(flags.digest_of).read_bytes()).hexdigest()
            files = [{"path": flags.digest_of, "digest": digest}]
            about["data"]["train"] = {"files": files}
        (run_dir / "run.json").write_text(json.dumps(about), encoding="utf-8")
    with open(run_dir / "ended", "w", encoding="utf-8") as file:
        file.write(str(time.time()))
    return 0


def is_held(hold: str | None) -> bool:
    if not hold or not os.path.exists(hold):
        return False
    return int(os.environ["CLOUD_ML_TRIAL_ID"]) >= int(Path(hold).read_text())


def report(reports: list[str], metric: str, value: float, step: int) -> None:
    """As hypertune does: the whole file anew, in place."""
    line = {"timestamp": time.time(), "trial": "1", metric: str(value), "global_step": str(step)}
    reports.append(json.dumps(line))
    if path := os.environ.get("CLOUD_ML_HP_METRIC_FILE"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("\n".join(reports) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
