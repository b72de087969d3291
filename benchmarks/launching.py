"""What `scripts/train_local.py` does, a lap at a time: `python launching.py JOB_DIR … trainer flags`.

Prints JSON: seconds of each lap. `launcher.py` starts it, in a baked repo.
"""

import json
import os
import sys
import time
from pathlib import Path

TRAINER = "the trainer's process"
laps, before = {}, time.perf_counter()


def time_calls(owner, name, lap):
    """Replaces a function by one that makes a lap of the time that its call takes."""
    function = getattr(owner, name)

    def call(*arguments, **options):
        start = time.perf_counter()
        try:
            return function(*arguments, **options)
        finally:
            laps[lap] = time.perf_counter() - start

    setattr(owner, name, call)


if __name__ == "__main__":
    sys.path[0] = os.getcwd()  # not this folder, which has a launcher.py, too
    from launcher.cli import start, train_local

    laps["imports of the launcher"] = time.perf_counter() - before
    time_calls(start.spec, "load", "the job file read, and checked by the trainer")
    time_calls(start.machine.Run, "run", TRAINER)
    time_calls(start, "_report", "the report drawn and written")
    job_dir, *flags = sys.argv[1:]
    code = train_local.main(["--", "--job-dir", job_dir, *flags])
    stages = json.loads((Path(job_dir) / "run.json").read_text(encoding="utf-8"))["timings"]
    laps[TRAINER] -= sum(stages.values())  # Python's start, flags, records, the end
    laps |= {f"the trainer: {stage}": seconds for stage, seconds in stages.items()}
    laps["the rest of the launcher"] = time.perf_counter() - before - sum(laps.values())
    print(json.dumps(laps), flush=True)
    os._exit(code)
