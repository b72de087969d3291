"""What local work needs: Python, the packages of setup.py, disk, GPU, git, Docker.

Standard library only, and nothing newer than Python 3.8; nothing of TensorFlow is imported.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys

from launcher.doctor.checkup import OK, WARN, WRONG, Check, Skip, command
from launcher.doctor.environment import (
    ROOT,
    activate,
    fits,
    fitting_python,
    install,
    installed,
    numbers,
    python_fits,
    python_wanted,
    requirements,
)

GIB = 1 << 30
# An environment with TensorFlow has 2 GB, one with the CUDA libraries 7 GB; runs come on top.
DISK_WRONG, DISK_WARN = 1 * GIB, 5 * GIB
OLDEST_DRIVER = 525  # of NVIDIA's, for the CUDA 12 that TensorFlow is built with
INSTEAD = {"tensorflow": ("tensorflow-cpu", "tensorflow-macos", "tf-nightly")}


def checks() -> list[Check]:
    return [
        Check("python", python),
        Check("tensorflow", tensorflow),
        Check("packages", packages),
        Check("disk", disk),
        Check("gpu", gpu),
        Check("git", git),
        Check("docker", docker),
        Check("project.yaml", project_file),
    ]


def python() -> tuple[str, ...]:
    version = platform.python_version()
    if python_fits():
        return OK, f"{version} ({sys.executable})"
    text = f"{version} ({sys.executable}) does not fit {python_wanted()} of setup.py"
    other = fitting_python()
    if not other and shutil.which("uv"):
        return WRONG, text, "uv venv --python 3.12", activate(), *install("uv pip")
    if not other:
        return WRONG, f"{text}; get one from https://www.python.org/downloads"
    return WRONG, text, f"{other} -m venv .venv", activate(), *install("python -m pip")


def tensorflow() -> tuple[str, ...]:
    _of_this_python()
    for name, wanted in requirements():
        if name != "tensorflow":
            continue
        for package in (name, *INSTEAD[name]):
            version = installed(package)
            if version and fits(version, wanted):
                return OK, f"{package} {version}"
            if version:
                return WRONG, f"{package} {version} does not fit {wanted} of setup.py", *install()
        if sys.platform == "darwin" and platform.machine() == "x86_64":
            return (
                WRONG,
                "not installed, and there is none for Macs with Intel; use Docker or Colab",
            )
        if sys.maxsize < 2**32:
            return (
                WRONG,
                "not installed, and there is none for a Python of 32 bits; install one of 64",
            )
        return WRONG, f"not installed; setup.py asks for {wanted}", *install()
    raise Skip("setup.py does not ask for it")


def packages(*extras: str) -> tuple[str, ...]:
    """What setup.py asks for, TensorFlow apart; `dev` is what everybody installs."""
    _of_this_python()
    required = [r for r in requirements(*(extras or ("", "dev"))) if r[0] != "tensorflow"]
    missing = [name for name, _ in required if not installed(name)]
    wrong = [
        f"{name} {installed(name)} does not fit {wanted}"
        for name, wanted in required
        if name not in missing and not fits(installed(name), wanted)
    ]
    if not missing and not wrong:
        few = [f"{name} {installed(name)}" for name, _ in required]
        return OK, ", ".join(few) if len(few) < 4 else f"{len(required)} of setup.py are there"
    faults = ([f"not installed: {', '.join(missing)}"] if missing else []) + wrong
    return WRONG, "; ".join(faults), *install(extras=",".join(["dev", *extras]))


def _of_this_python() -> None:
    """What is installed in the wrong Python is of no use, and what to install there neither."""
    if not python_fits():
        raise Skip("not looked at from this Python, see python")


def disk() -> tuple[str, ...]:
    if not os.access(ROOT, os.W_OK):
        return WRONG, f"{ROOT} may not be written to, so that no run can be kept"
    free = shutil.disk_usage(ROOT).free
    text = f"{free / GIB:.0f} GB free in {ROOT}"
    if free >= DISK_WARN:
        return OK, text
    advice = f"{text}; old runs and runs/.cache can go"
    clean = ("uv cache clean",) if shutil.which("uv") else ()
    return WRONG if free < DISK_WRONG else WARN, advice, *clean


def gpu() -> tuple[str, ...]:
    query = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
    try:
        code, out, err = command("nvidia-smi", *query)
    except FileNotFoundError:
        return OK, "no NVIDIA GPU: training runs on the CPU"
    rows = [[cell.strip() for cell in line.split(",")] for line in out.splitlines()]
    if code or not rows or any(len(row) != 3 for row in rows):
        lines = (err or out).splitlines()
        return WARN, f"nvidia-smi fails, training runs on the CPU: {lines[0] if lines else code}"
    text = ", ".join(f"{name} ({memory} MB)" for name, memory, _ in rows)
    driver = rows[0][2]
    if numbers(driver) < (OLDEST_DRIVER,):
        return (
            WARN,
            f"{text}: driver {driver} is too old for CUDA 12, install {OLDEST_DRIVER} or later",
        )
    if sys.platform == "linux" and not installed("nvidia-cudnn-cu12"):
        advice = f"{text}: TensorFlow does not see it without the CUDA libraries"
        return WARN, advice, *install(extras="dev,gpu")
    return OK, f"{text}, driver {driver}"


def git() -> tuple[str, ...]:
    try:
        version = command("git", "--version")[1].replace("git version ", "")
        code, commit, errors = command("git", "rev-parse", "--short", "HEAD", cwd=ROOT)
    except FileNotFoundError:
        return WARN, f"not installed, so that no run can name its commit; {how_to_get('git')}"
    if code == 0:
        return OK, f"{version}, at commit {commit}"
    if "not a git repository" in errors:
        return WARN, "this folder is no git repository: no run can name its commit", "git init"
    if "dubious ownership" in errors:
        return (
            WARN,
            f"git does not trust {ROOT}, which belongs to another user: no run can name its commit",
        )
    start = ("git add --all", 'git commit --message "First commit"')
    return WARN, "there is no commit yet, so that no run can name one", *start


def docker() -> tuple[str, ...]:
    without = "only --container and the image of cloud jobs need it"
    try:
        code, server, errors = command("docker", "version", "--format", "{{.Server.Version}}")
    except FileNotFoundError:
        return WARN, f"not installed ({without}); {how_to_get('docker')}"
    if code == 0 and server:
        return OK, f"daemon {server}"
    if "permission denied" in errors:
        let = ("sudo usermod --append --groups docker $USER", "newgrp docker")
        return WARN, f"your user may not speak to its daemon ({without})", *let
    start = ("sudo systemctl start docker",) if shutil.which("systemctl") else ()
    text = f"its daemon does not answer ({without})"
    return WARN, text if start else f"{text}; start Docker Desktop", *start


def project_file() -> tuple[str, ...]:
    _of_this_python()
    if importlib.util.find_spec("yaml") is None:
        raise Skip("cannot be read without pyyaml, see packages")
    from launcher.jobfile import spec
    from launcher.project.settings import load_settings

    try:
        load_settings()  # what is wrong in its part on the cloud is no matter of local work
    except spec.SpecError as error:
        return WRONG, str(error)
    return OK, "can be read"


def how_to_get(program: str) -> str:
    """Where a program comes from, on this system."""
    page = {"git": "https://git-scm.com/downloads", "docker": "https://docs.docker.com/get-docker"}
    if shutil.which("apt-get"):
        return f"sudo apt-get install {'docker.io' if program == 'docker' else program}"
    if shutil.which("brew"):
        return f"brew install {'--cask docker' if program == 'docker' else program}"
    return f"get it from {page[program]}"
