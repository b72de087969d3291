"""Benchmark: how long a person waits for what a cloud job would be and cost, before it is sent."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from measure import interleave, middle, missed, shown, standalone, table, verdict

TITLE = "A cloud job, printed"
# The launcher's own imports, and the trainer asked about its flags: the two larger parts of it.
IMPORTS = "import sys; sys.path.insert(0, '.'); from launcher.cloud import submit"
SETTINGS = {"project": "my-lab-4711", "bucket": "my-lab-runs"}
GCLOUD = {
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
}


def measure(lab):
    path = lab.repo / "project.yaml"
    text = path.read_text(encoding="utf-8")
    for key, value in SETTINGS.items():
        text = re.sub(rf'(?m)^  {key}: ""', f'  {key}: "{value}"', text)
    path.write_text(text, encoding="utf-8")
    script = ["scripts/train_cloud.py", "--dry-run"]
    ways = {
        "`train_cloud.py configs/gpu.yaml --dry-run`": lambda: (
            lab.run([*script, "configs/gpu.yaml"]).seconds
        ),
        "the same for `configs/tuning.yaml`": lambda: (
            lab.run([*script, "configs/tuning.yaml"]).seconds
        ),
        "a wrong flag behind `--`": lambda: (
            lab.run([*script, "configs/gpu.yaml", "--", "--epoch=3"], code=2).seconds
        ),
        "the launcher's imports alone": lambda: lab.run(["-c", IMPORTS]).seconds,
    }
    if shutil.which("gcloud"):
        ways["`gcloud ai custom-jobs create --help`"] = lambda: _gcloud(lab)
    for way in ways.values():
        way()  # what the first run compiles, it compiles once
    found = interleave(lab.repeats, ways)
    names = list(ways)
    rows = [[name, shown(found[name], " s")] for name in names]
    mine = middle(found[names[0]])
    aims = [["dry run, seconds", *verdict(mine, 3, below=True)]]
    if len(names) == 5:
        ratio = mine / middle(found[names[4]])
        aims.append(["dry run ÷ gcloud's help", *verdict(ratio, 1, below=True)])
    texts = [table(["to print", "seconds"], *rows), table(["", "value", "aim", ""], *aims)]
    if any(map(missed, aims)):
        part = middle(found[names[3]])
        texts.append(f"Missed: {part:.2f} s of {mine:.2f} s are the launcher's own imports.\n")
    if len(names) < 5:
        texts.append("Not measured: gcloud is not on this machine.\n")
    return "\n".join(texts)


def _gcloud(lab) -> float:
    """Seconds of gcloud's help for the command that does the same; it asks no network."""
    environ = {**os.environ, **GCLOUD, "CLOUDSDK_CONFIG": str(Path(lab.out.name) / "gcloud")}
    words = ["gcloud", "ai", "custom-jobs", "create", "--help"]
    begin = time.monotonic()
    done = subprocess.run(
        words,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    seconds = time.monotonic() - begin
    if done.returncode:
        sys.exit(f"{done.stderr}\n{' '.join(words)} ended with {done.returncode}")
    return seconds


if __name__ == "__main__":
    standalone(measure)
