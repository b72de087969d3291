"""What local work needs: Python, the packages of setup.py, disk, GPU, git, Docker; and project.yaml.

Standard library only.
"""

import builtins
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import types
from pathlib import Path

from launcher.doctor.checkup import NOT_FOUND, OK, WARN, WRONG, Skip, Wrong, command

ROOT = Path(__file__).resolve().parents[2]
GIB = 1 << 30
# An environment with TensorFlow has 2 GB, one with the CUDA libraries 7 GB; runs come on top.
DISK_WRONG, DISK_WARN = 1 * GIB, 5 * GIB
OLDEST_DRIVER = 525  # of NVIDIA's, for the CUDA 12 that TensorFlow is built with
PYTHONS = (3, 10), (3, 13)  # the oldest and the newest that setup.py takes
INSIDE = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ  # of an environment
ACTIVATE = r".venv\Scripts\activate" if os.name == "nt" else ". .venv/bin/activate"


def check_python() -> tuple[str, ...]:
    text = f"{platform.python_version()} ({sys.executable})"
    if python_fits():
        return OK, text
    text += f" does not fit {read_setup()['python_requires']} of setup.py"
    if shutil.which("uv"):
        return WRONG, text, "uv venv --python 3.12", ACTIVATE, _write_install("dev")
    return WRONG, f"{text}; get one from https://www.python.org/downloads"


def check_packages() -> tuple[str, ...]:
    """TensorFlow, and all else that setup.py requires of everybody."""
    if not python_fits():  # what is installed there is of no use
        raise Skip("not looked at from this Python, see python")
    required = {re.match(r"[\w.-]+", text)[0]: text for text in requirements()}
    versions = {name: installed(name) for name in required}
    missing = [name for name, version in versions.items() if not version]
    if "tensorflow" in missing and (sys.platform, platform.machine()) == ("darwin", "x86_64"):
        raise Wrong("there is no TensorFlow for Macs with Intel; use Docker or Colab")
    if missing:
        return WRONG, f"not installed: {', '.join(missing)}", *install("dev")
    from packaging.requirements import Requirement  # it comes with matplotlib

    faults = [
        f"{name} {versions[name]} does not fit {text} of setup.py"
        for name, text in required.items()
        if not Requirement(text).specifier.contains(versions[name], prereleases=True)
    ]
    if faults:
        return WRONG, "; ".join(faults), *install("dev")
    return OK, ", ".join(f"{name} {version}" for name, version in versions.items())


def check_disk() -> tuple[str, ...]:
    free = shutil.disk_usage(ROOT).free
    text = f"{free / GIB:.0f} GB free in {ROOT}"
    if free >= DISK_WARN:
        return OK, text
    return WRONG if free < DISK_WRONG else WARN, f"{text}; old runs and runs/.cache can go"


def check_gpu() -> tuple[str, ...]:
    query = ("--query-gpu=name,driver_version", "--format=csv,noheader")
    code, out, err = command("nvidia-smi", *query)
    if code == NOT_FOUND:
        return OK, "no NVIDIA GPU: training runs on the CPU"
    driver = re.search(r", *(\d+)[\d.]*$", out)  # one for all of them
    if code or not driver:
        return WARN, f"nvidia-smi fails, training runs on the CPU: {err or out or code}"
    if int(driver[1]) < OLDEST_DRIVER:
        return WARN, f"{out}: too old for CUDA 12, install driver {OLDEST_DRIVER} or later"
    if sys.platform == "linux" and not installed("nvidia-cudnn-cu12"):
        advice = f"{out}: TensorFlow does not see it without the CUDA libraries"
        return WARN, advice, *install("dev", "gpu")
    return OK, out


def check_git() -> tuple[str, ...]:
    code, commit, error = command("git", "rev-parse", "--short", "HEAD", cwd=ROOT)
    if code == NOT_FOUND:
        get = "get it from https://git-scm.com/downloads"
        return WARN, f"not installed, so that no run can name its commit; {get}"
    if code == 0:
        return OK, f"at commit {commit}"
    text = f"no commit that a run could name: {error}"
    # `git init` changes nothing where there is a repository already.
    return WARN, text, "git init", "git add --all", 'git commit --message "First commit"'


def check_docker() -> tuple[str, ...]:
    without = "only --container and the image of cloud jobs need it"
    code, server, error = command("docker", "version", "--format", "{{.Server.Version}}")
    if code == NOT_FOUND:
        return WARN, f"not installed ({without}); get it from https://docs.docker.com/get-docker"
    if code == 0 and server:
        return OK, f"daemon {server}"
    if "permission denied" in error:
        join = ("sudo usermod --append --groups docker $USER", "newgrp docker")
        return WARN, f"your user may not speak to its daemon ({without})", *join
    start = ("sudo systemctl start docker",) if shutil.which("systemctl") else ()
    return WARN, f"its daemon does not answer ({without}): {error}", *start


def check_sandbox() -> tuple[str, ...]:
    code, kind, error = command(sys.executable, "-m", "teacher.sandbox", cwd=ROOT)
    return (WARN, error.rpartition("\n")[2]) if code else (OK, f"submissions run in {kind}")


def check_project_file() -> tuple[str, ...]:
    return OK, f"names {read_project().project}"


CHECKS = {
    "python": check_python,
    "packages": check_packages,
    "disk": check_disk,
    "gpu": check_gpu,
    "git": check_git,
    "docker": check_docker,
}
if (ROOT / "teacher").is_dir():  # of a course
    CHECKS["sandbox"] = check_sandbox


def read_project():
    """Read project.yaml: its `Settings`, with a project.

    Raises:
        Skip: it names no project, or no Python without pyyaml can read it.
        Wrong: it cannot be read.
    """
    if importlib.util.find_spec("yaml") is None:
        raise Skip("project.yaml cannot be read without pyyaml, see packages")
    from launcher.project.settings import SpecError, read_settings

    try:
        settings = read_settings()
    except SpecError as error:
        raise Wrong(str(error)) from None
    if not settings.project:
        raise Skip("gcp.project in project.yaml is empty; all local work goes without")
    return settings


def read_setup() -> dict:
    """What setup.py passes to setup(): it is run with a stand-in for setuptools, which may be missing."""
    passed: dict = {}
    stand_in = types.SimpleNamespace(setup=passed.update, find_packages=lambda **_: [])

    def load(name: str, *rest):
        return stand_in if name == "setuptools" else __import__(name, *rest)

    try:
        code = compile((ROOT / "setup.py").read_text(encoding="utf-8"), "setup.py", "exec")
        exec(code, {"__builtins__": {**vars(builtins), "__import__": load}})
    except Exception as error:
        raise Wrong(f"setup.py cannot be read ({error})") from None
    return passed


def requirements() -> list[str]:
    """What setup.py requires of everybody, on any system: "keras>=3.12,<4"."""
    keywords = read_setup()
    texts = [*keywords.get("install_requires", ()), *keywords.get("extras_require", {})["dev"]]
    return [text for text in texts if ";" not in text]


def installed(package: str) -> str:
    """The version of a package, "" where it is not installed. Nothing is imported."""
    try:
        return importlib.metadata.version(package) or ""
    except Exception:  # also a half-removed package, whose metadata cannot be read
        return ""


def python_fits() -> bool:
    return PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]


def install(*extras: str) -> list[str]:
    """The commands that install extras of setup.py, into an environment of this repo."""
    python = "python" if os.name == "nt" else "python3"  # Debian has no other name
    before = [] if INSIDE else [f"{python} -m venv .venv", ACTIVATE]
    return [*before, _write_install(*extras)]


def _write_install(*extras: str) -> str:
    tool = "uv pip" if shutil.which("uv") else "python -m pip"
    return f'{tool} install -e ".[{",".join(extras)}]" -c constraints.txt'
