"""Looks whether all is there that local work and cloud jobs need, and says what mends the rest.

Works in a bare Python, where the checks of the cloud are skipped, and ends in 5 s.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys
from collections.abc import Sequence

from launcher.doctor import checkup
from launcher.doctor import local as doctor_local
from launcher.doctor.checkup import OK, SKIPPED, WARN, WRONG, Check, Finding
from launcher.doctor.environment import python_fits

HELP = """Tells what is there and what is missing on this machine and in the cloud project.

Each line: ok, warn (works, but), wrong, or skipped (could not be looked at), and below it the
commands that mend it. Nothing is changed. Exit code 1 where local work lacks something."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="the findings as JSON, for programs")
    parser.add_argument(
        "--cloud", action="store_true", help="exit code 1 also where cloud jobs lack something"
    )
    asked = parser.parse_args(argv)
    with contextlib.suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="replace")  # no letter may stop a Windows terminal
    found = []
    shown = Shown()
    for finding in checkup.run(checks()):
        found.append(finding)
        if not asked.json:
            shown.show(finding)
    local = all(f.state != WRONG for f in found if not f.cloud)
    # What could not be looked at is not known to be good.
    cloud = all(f.state in (OK, WARN) for f in found if f.cloud)
    if asked.json:
        print(json.dumps({"local": local, "cloud": cloud, "checks": _plain(found)}, indent=2))
    else:
        shown.end(local, cloud)
    return 0 if local and (cloud or not asked.cloud) else 1


def checks() -> list[Check]:
    """All of them, local ones first."""
    try:
        cloud = _cloud_checks()
    except Exception as error:  # a file of ours that is broken must not hide what else is wrong
        cloud = [_said("cloud", SKIPPED, f"could not be checked ({error!r})")]
    return [*doctor_local.checks(), *cloud]


def _cloud_checks() -> list[Check]:
    if not python_fits():
        return [_said("cloud", SKIPPED, "not looked at from this Python, see python")]
    if importlib.util.find_spec("yaml") is None:
        return [_said("cloud", SKIPPED, "project.yaml cannot be read without pyyaml, see packages")]
    from launcher.doctor import cloud as doctor_cloud
    from launcher.jobfile import spec
    from launcher.project import gcp

    try:
        place, faults = gcp.load()
    except spec.SpecError:
        return [_said("cloud", SKIPPED, "project.yaml cannot be read, see there")]
    told = [_said("project.yaml", WRONG, str(fault)) for fault in faults]
    if not place.project:
        why = "gcp.project in project.yaml is empty; all local work goes without"
        return told or [_said("cloud", SKIPPED, why)]
    return [*told, *doctor_cloud.Cloud(place).checks()]


def _said(name: str, state: str, text: str) -> Check:
    return Check(name, lambda: (state, text), cloud=True)


class Shown:
    """The findings as lines, each when it comes; skipped ones of one cause are told in one."""

    def __init__(self):
        self.skipped: list[str] = []
        self.why = ""
        self.remedies: set[tuple[str, ...]] = set()
        self.cloud = False
        self.wrong = False  # in the cloud
        self.reasons: list[str] = []  # why something was skipped there

    def show(self, finding: Finding) -> None:
        if finding.cloud and not self.cloud:
            self.cloud = True
            self._tell_skipped()
            print("\nin the cloud")
        if self.skipped and (finding.state != SKIPPED or finding.text != self.why):
            self._tell_skipped()
        if finding.cloud:
            self.wrong |= finding.state == WRONG
            self.reasons += [finding.text] if finding.state == SKIPPED else []
        if finding.state == SKIPPED:
            self.skipped.append(finding.name)
            self.why = finding.text
            return
        self._line(finding.state, finding.name, finding.text)
        if finding.remedies in self.remedies:
            print(" " * 26 + "run the same")
            return
        for remedy in finding.remedies:
            print(" " * 26 + f"run: {remedy}")
        if finding.remedies:
            self.remedies.add(finding.remedies)

    def end(self, local: bool, cloud: bool) -> None:
        self._tell_skipped()
        first = "all is there" if local else "mend what is wrong above"
        second = "all is there" if cloud else self._missing_in_cloud()
        print(f"\nlocal work: {first}\ncloud jobs: {second}", flush=True)

    def _missing_in_cloud(self) -> str:
        if self.wrong:
            return "not ready: mend what is wrong above"
        return f"not known: {'; '.join(dict.fromkeys(self.reasons))}"

    def _tell_skipped(self) -> None:
        if self.skipped:
            self._line(SKIPPED, ", ".join(self.skipped), self.why)
        self.skipped = []

    def _line(self, state: str, name: str, text: str) -> None:
        print(f"{state:<8} {name:<16} {text}", flush=True)


def _plain(found: Sequence[Finding]) -> list[dict]:
    return [
        {
            "name": f.name,
            "where": "cloud" if f.cloud else "here",
            "state": f.state,
            "text": f.text,
            "remedies": list(f.remedies),
        }
        for f in found
    ]
