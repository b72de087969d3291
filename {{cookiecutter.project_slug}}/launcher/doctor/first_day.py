"""The first day in a lab: what a new member needs, each step really done, in this order.

Takes a minute or two: it trains for two epochs and runs the tests. The run stays in runs/.
"""

import re
import sys
import time
from pathlib import Path

from launcher.doctor import local
from launcher.doctor.checkup import OK, SKIPPED, WARN, WRONG, Check, Skip, Wrong, command, one_line

MARKS = {OK: "✔", WARN: "!", WRONG: "✘", SKIPPED: "-"}
SECONDS = 900  # for the training, and for the tests, on a slow machine
TRAIN = ("scripts/train_local.py", "configs/smoke.yaml")


def run_first_day() -> int:
    """Do each step and print its line and the commands that fix it; return 1 where one fails."""
    states = []
    made: dict[str, str] = {}  # by the training: where its "run directory" and "report" are
    steps = {
        "clone": local.check_git,
        "environment": check_environment,
        "training": lambda: check_training(made),
        "report": lambda: check_report(made.get("report", "")),
        "tests": lambda: (OK, _run("-m", "pytest").splitlines()[-1].strip(" =")),
        "sign-in": check_sign_in,
        "data": check_data,
    }
    for name, look in steps.items():
        if sys.stdout.isatty():
            print(f"… {name}", end="\r", flush=True)
        finding = Check(name, look).run()
        print(f"{MARKS[finding.state]} {name:<12} {finding.text}", flush=True)
        for remedy in finding.remedies:
            print(f"{'':15}run: {remedy}")
        states.append(finding.state)
        if name == "environment" and finding.state == WRONG:
            break  # nothing below can work
    if WRONG in states:
        print("\nNot ready. Run these commands, then this one again.")
        return 1
    print("\nReady. Next: README.md, from the first ten minutes on.")
    return 0


def check_training(made: dict[str, str]) -> tuple[str, ...]:
    start = time.monotonic()
    made |= re.findall(r"^(run directory|report): (.+)$", _run(*TRAIN), re.MULTILINE)
    return OK, f"two epochs in {time.monotonic() - start:.0f} s: {made.get('run directory')}"


def check_report(path: str) -> tuple[str, ...]:
    if not Path(path).is_file():
        raise Skip("there is none, see training")
    return OK, f"open {Path(path).resolve().as_uri()}"


def check_environment() -> tuple[str, ...]:
    python = local.check_python()
    if python[0] == OK and (packages := local.check_packages())[0] != OK:
        return packages
    return python


def check_sign_in() -> tuple[str, ...]:
    settings = local.read_project()
    from launcher.doctor.cloud import Cloud

    return Cloud(settings).check_credentials()


def check_data() -> tuple[str, ...]:
    from launcher.project.sources import MANIFEST

    if not MANIFEST.exists():
        return OK, "what came with this repo; docs/raw_data.md says how yours gets here"
    return OK, _run("scripts/data.py", "status", fix="python scripts/data.py pull")


def _run(*words: str, fix: str = "") -> str:
    """What Python prints in this repo.

    Raises:
        Wrong: it fails, with its last line; the fix is the command itself, which then shows why.
    """
    code, out, err = command(sys.executable, *words, seconds=SECONDS, cwd=local.ROOT)
    if code:
        last = "".join((err or out).splitlines()[-1:])
        raise Wrong(one_line(last) or f"exit code {code}", fix or f"python {' '.join(words)}")
    return out
