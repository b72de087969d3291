"""A trainer's stand-in for the tests of the launcher: each replica acts out what its flags say.

    python -m tests.player chief=fail7,done worker:1=wait

A word for each start, the last one again and again: `done`, `failN` (exit code N), `wait` (for a
SIGTERM, then exit code 75), `savedN` (writes a new checkpoint, then exit code N), `deaf` (to SIGTERM), `epochs` (tells of 40 epochs, then done),
`epochs:worker-0:2` (until that replica has started twice), `mess` (leaves a process of its own
behind). A replica that no flag names is done at once.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

spec = json.loads(os.environ["CLUSTER_SPEC"])["task"]
config = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
role, index = config.get("type", "chief"), spec["index"]
acts = next(
    (f.partition("=")[2].split(",") for f in sys.argv if f.startswith((f"{role}=", f"{role}:{index}="))),
    ["done"],
)  # fmt: skip

starts = Path(os.environ["AIP_MODEL_DIR"]).parent / f"starts-{role}-{index}"
with open(starts, "a", encoding="utf-8") as file:
    file.write(f"{os.getpid()}\n")
act = acts[min(len(starts.read_text().splitlines()), len(acts)) - 1]
if act == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if act == "wait":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
print(f"{role} {index} plays {act}", flush=True)
if act.startswith("saved"):
    checkpoint = Path(os.environ["AIP_CHECKPOINT_DIR"], "newest")
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.write_text(str(os.getpid()))
    sys.exit(int(act[5:]))
if act.startswith("fail"):
    print("what it said last", flush=True)
    sys.exit(int(act[4:]))
if act == "mess":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
if act.startswith("epochs"):
    _, other, times = [*act.split(":"), "", ""][:3]
    for epoch in range(1, 2000 if other else 41):
        print(f"epoch {epoch}/40  loss {1 / epoch:.3f}  (0.0 s)", flush=True)
        time.sleep(0.03)
        seen = starts.with_name(f"starts-{other}")
        if other and seen.exists() and len(seen.read_text().splitlines()) >= int(times):
            break
if act in ("deaf", "wait"):
    time.sleep(60)
