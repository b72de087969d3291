"""Shows what is there and what is missing on this machine and in the cloud project.

Each line: ok, warn (works, but), wrong, or skipped (could not be looked at), and below it the
commands that fix it. Nothing is changed. Exit code 1 where local work lacks something.
With --first-day each step is really done; its run stays in runs/.
"""

import argparse
import dataclasses
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.doctor import checkup, local
from launcher.doctor.checkup import CLOUD, HERE, OK, WARN, WRONG, Check, Finding, Skip, Wrong

MARKS = {OK: "✔", WARN: "!", WRONG: "✘", checkup.SKIPPED: "-"}
SECONDS = 900  # for the training, and for the tests, on a slow machine
TRAIN = ("scripts/train_local.py", "configs/smoke.yaml")


def main(argv: Sequence[str]) -> int:
    """Run all checks, in 5 s, or the first day's steps. A bare Python can, but for the cloud's checks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="the findings as JSON, for programs")
    text = "train two epochs, run the tests, look for sign-in and data: a minute or two"
    forms.add_argument("--first-day", action="store_true", help=text)
    parser.add_argument(
        "--cloud", action="store_true", help="exit code 1 also where cloud jobs lack something"
    )
    options = parser.parse_args(argv)
    sys.stdout.reconfigure(errors="replace")  # no letter may stop a Windows terminal
    if options.first_day:
        return run_first_day()
    findings: list[Finding] = []
    for finding in checkup.run(list_checks(), checkup.ALL_SECONDS):
        if not options.json:
            print_finding(finding, findings)
        findings.append(finding)
    local_works = all(f.state != WRONG for f in findings if f.where == HERE)
    # What could not be looked at is not known to be good.
    cloud_works = all(f.state in (OK, WARN) for f in findings if f.where == CLOUD)
    if options.json:
        checks = [dataclasses.asdict(finding) for finding in findings]
        answer = {"local": local_works, "cloud": cloud_works, "checks": checks}
        print(json.dumps(answer, indent=2))
    else:
        words = {True: "all is there", False: "not ready: look at what is wrong or skipped above"}
        print(f"\nlocal work: {words[local_works]}\ncloud jobs: {words[cloud_works]}")
    sys.stdout.flush()
    return 0 if local_works and (cloud_works or not options.cloud) else 1


def list_checks() -> list[Check]:
    """All checks, local ones first. Those of the cloud need a project.yaml that names a project."""
    checks = [Check(name, look) for name, look in local.CHECKS.items()]
    checks.append(Check("project.yaml", local.check_project_file, CLOUD))
    try:
        settings = local.read_project()
    except (Skip, Wrong):  # which the check of project.yaml reports
        return checks
    from launcher.doctor.cloud import Cloud

    return [*checks, *(Check(name, look, CLOUD) for name, look in Cloud(settings).checks().items())]


def print_finding(finding: Finding, before: Sequence[Finding]) -> None:
    """Print a finding after those before it."""
    if finding.where == CLOUD and all(f.where == HERE for f in before):
        print("\nin the cloud")
    print(f"{finding.state:<8} {finding.name:<16} {finding.text}", flush=True)
    for remedy in finding.remedies:
        print(f"{'':26}run: {remedy}")


# --- The first day in a lab: what a new member needs


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
    code, out, err = checkup.command(sys.executable, *words, seconds=SECONDS, cwd=local.ROOT)
    if code:
        last = checkup.one_line("".join((err or out).splitlines()[-1:]))
        raise Wrong(last or f"exit code {code}", fix or f"python {' '.join(words)}")
    return out
