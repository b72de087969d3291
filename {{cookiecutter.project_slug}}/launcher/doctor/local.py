"""What local work needs: Python, the packages of setup.py, disk, GPU, git, Docker, project.yaml.

Standard library only, and nothing newer than Python 3.8; nothing of TensorFlow is imported. setup.py
is read, not run.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import importlib.util
import operator
import os
import platform
import re
import shlex
import shutil
import sys
from pathlib import Path

from launcher.doctor.checkup import NOT_FOUND, OK, WARN, WRONG, Check, Skip, Wrong, command

GIB = 1 << 30
# An environment with TensorFlow has 2 GB, one with the CUDA libraries 7 GB; runs come on top.
DISK_WRONG, DISK_WARN = 1 * GIB, 5 * GIB
OLDEST_DRIVER = 525  # of NVIDIA's, for the CUDA 12 that TensorFlow is built with
TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tf-nightly")
ROOT = Path(__file__).resolve().parents[2]
REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;]*)$")
OPERATORS = {
    **{">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt},
    **{"==": operator.eq, "!=": operator.ne},
}
CLAUSE = re.compile(r"\s*(>=|<=|==|!=|<|>)\s*([0-9.]+)\s*$")


def checks() -> list[Check]:
    return [
        Check("python", check_python),
        Check("tensorflow", check_tensorflow),
        Check("packages", check_packages),
        Check("disk", check_disk),
        Check("gpu", check_gpu),
        Check("git", check_git),
        Check("docker", check_docker),
        Check("project.yaml", check_project_file),
    ]


def check_python() -> tuple[str, ...]:
    version = platform.python_version()
    if python_fits():
        return OK, f"{version} ({sys.executable})"
    text = f"{version} ({sys.executable}) does not fit {python_wanted()} of setup.py"
    other = find_python()
    if other:
        return WRONG, text, f"{other} -m venv .venv", activate(), *install("python -m pip")
    if shutil.which("uv"):
        return WRONG, text, "uv venv --python 3.12", activate(), *install("uv pip")
    return WRONG, f"{text}; get one from https://www.python.org/downloads"


def check_tensorflow() -> tuple[str, ...]:
    _require_python()
    wanted = dict(requirements()).get("tensorflow")
    if wanted is None:
        raise Skip("setup.py does not ask for it")
    for package in TENSORFLOWS:
        version = installed(package)
        if version and fits(version, wanted):
            return OK, f"{package} {version}"
        if version:
            return WRONG, f"{package} {version} does not fit {wanted} of setup.py", *install()
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        raise Wrong("not installed, and there is none for Macs with Intel; use Docker or Colab")
    if sys.maxsize < 2**32:
        raise Wrong("not installed, and there is none for a Python of 32 bits; install one of 64")
    return WRONG, f"not installed; setup.py asks for {wanted}", *install()


def check_packages(*extras: str) -> tuple[str, ...]:
    """What setup.py asks for, TensorFlow apart; `dev` is what everybody installs."""
    _require_python()
    names = extras or ("", "dev")
    required = [(name, v) for name, v in requirements(*names) if name != "tensorflow"]
    missing = [name for name, _ in required if not installed(name)]
    wrong = [
        f"{name} {installed(name)} does not fit {wanted}"
        for name, wanted in required
        if name not in missing and not fits(installed(name), wanted)
    ]
    if missing:
        wrong.insert(0, f"not installed: {', '.join(missing)}")
    if wrong:
        return WRONG, "; ".join(wrong), *install(extras=",".join(["dev", *extras]))
    if len(required) > 3:
        return OK, f"{len(required)} of setup.py are there"
    return OK, ", ".join(f"{name} {installed(name)}" for name, _ in required)


def _require_python() -> None:
    """Skip where the Python is wrong: what is installed there is of no use."""
    if not python_fits():
        raise Skip("not looked at from this Python, see python")


def check_disk() -> tuple[str, ...]:
    if not os.access(ROOT, os.W_OK):
        raise Wrong(f"{ROOT} may not be written to, so that no run can be kept")
    free = shutil.disk_usage(ROOT).free
    text = f"{free / GIB:.0f} GB free in {ROOT}"
    if free >= DISK_WARN:
        return OK, text
    clean = ("uv cache clean",) if shutil.which("uv") else ()
    state = WRONG if free < DISK_WRONG else WARN
    return state, f"{text}; old runs and runs/.cache can go", *clean


def check_gpu() -> tuple[str, ...]:
    query = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")
    code, out, err = command("nvidia-smi", *query)
    if code == NOT_FOUND:
        return OK, "no NVIDIA GPU: training runs on the CPU"
    rows = [[cell.strip() for cell in line.split(",")] for line in out.splitlines()]
    if code or not rows or any(len(row) != 3 for row in rows):
        line = (err or out or str(code)).splitlines()[0]
        return WARN, f"nvidia-smi fails, training runs on the CPU: {line}"
    text = ", ".join(f"{name} ({memory} MB)" for name, memory, _ in rows)
    driver = rows[0][2]
    if numbers(driver) < (OLDEST_DRIVER,):
        advice = f"is too old for CUDA 12, install {OLDEST_DRIVER} or later"
        return WARN, f"{text}: driver {driver} {advice}"
    if sys.platform == "linux" and not installed("nvidia-cudnn-cu12"):
        advice = f"{text}: TensorFlow does not see it without the CUDA libraries"
        return WARN, advice, *install(extras="dev,gpu")
    return OK, f"{text}, driver {driver}"


def check_git() -> tuple[str, ...]:
    version = command("git", "--version")[1].replace("git version ", "")
    code, commit, errors = command("git", "rev-parse", "--short", "HEAD", cwd=ROOT)
    if code == NOT_FOUND:
        return WARN, f"not installed, so that no run can name its commit; {how_to_get('git')}"
    if code == 0:
        return OK, f"{version}, at commit {commit}"
    if "not a git repository" in errors:
        return WARN, "this folder is no git repository: no run can name its commit", "git init"
    if "dubious ownership" in errors:
        owner = f"git does not trust {ROOT}, which belongs to another user"
        return WARN, f"{owner}: no run can name its commit"
    first = ("git add --all", 'git commit --message "First commit"')
    return WARN, "there is no commit yet, so that no run can name one", *first


def check_docker() -> tuple[str, ...]:
    without = "only --container and the image of cloud jobs need it"
    code, server, errors = command("docker", "version", "--format", "{{.Server.Version}}")
    if code == NOT_FOUND:
        return WARN, f"not installed ({without}); {how_to_get('docker')}"
    if code == 0 and server:
        return OK, f"daemon {server}"
    if "permission denied" in errors:
        join = ("sudo usermod --append --groups docker $USER", "newgrp docker")
        return WARN, f"your user may not speak to its daemon ({without})", *join
    text = f"its daemon does not answer ({without})"
    if shutil.which("systemctl"):
        return WARN, text, "sudo systemctl start docker"
    return WARN, f"{text}; start Docker Desktop"


def check_project_file() -> tuple[str, ...]:
    read_project()  # a fault in its part on the cloud does not matter to local work
    return OK, "can be read"


def read_project():
    """Read project.yaml: its settings, and the faults in its part on the cloud.

    Raises:
        Skip: this Python cannot read it.
        Wrong: it cannot be read.
    """
    _require_python()
    if importlib.util.find_spec("yaml") is None:
        raise Skip("project.yaml cannot be read without pyyaml, see packages")
    from launcher.project.settings import SpecError, load_settings

    try:
        return load_settings()
    except SpecError as error:
        raise Wrong(str(error)) from None


def how_to_get(program: str) -> str:
    """Where a program comes from, on this system."""
    page = {"git": "https://git-scm.com/downloads", "docker": "https://docs.docker.com/get-docker"}
    if shutil.which("apt-get"):
        return f"sudo apt-get install {'docker.io' if program == 'docker' else program}"
    if shutil.which("brew"):
        return f"brew install {'--cask docker' if program == 'docker' else program}"
    return f"get it from {page[program]}"


def read_keywords() -> dict:
    """Read what setup.py passes to setup(), as far as it is written out.

    Raises:
        Wrong: the file cannot be read.
    """
    try:
        tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise Wrong(f"setup.py cannot be read ({error})") from None
    keywords = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword):
            with contextlib.suppress(ValueError):  # packages=find_packages(…) is computed
                keywords[node.arg] = ast.literal_eval(node.value)
    return keywords


def requirements(*extras: str) -> list[tuple[str, str]]:
    """(name, versions) of setup.py: of its core, extra "", or of the extras that are named.

    A requirement with a marker, such as one for a single system, is left out.
    """
    keywords = read_keywords()
    listed = {"": keywords.get("install_requires", []), **keywords.get("extras_require", {})}
    texts = [text for extra in extras or ("",) for text in listed.get(extra, [])]
    matches = filter(None, map(REQUIREMENT.match, texts))
    return [(match[1].lower(), match[2].strip()) for match in matches]


def installed(package: str) -> str:
    """The version of a package, "" where it is not installed. Nothing is imported."""
    try:
        return importlib.metadata.version(package) or ""
    except Exception:  # also a half-removed package, whose metadata cannot be read
        return ""


def numbers(version: str) -> tuple[int, ...]:
    """ "2.20.0rc1" → (2, 20), without zeros at the end: 2.20 is the same version."""
    parts = [int(part) for part in re.match("[0-9.]*", version)[0].split(".") if part]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def fits(version: str, wanted: str) -> bool:
    """Whether "2.21.0" fits ">=2.21,<2.22"; what cannot be understood fits."""
    clauses = filter(None, map(CLAUSE.match, wanted.split(",")))
    return all(OPERATORS[c[1]](numbers(version), numbers(c[2])) for c in clauses)


def python_wanted() -> str:
    """The Pythons that setup.py takes, ">=3.10,<3.14"; "" where it cannot be read."""
    with contextlib.suppress(Wrong):
        return read_keywords().get("python_requires", "")
    return ""


def python_fits() -> bool:
    return fits(platform.python_version(), python_wanted())


def find_python() -> str:
    """A command on PATH that is a Python of the right version, "" where there is none."""
    for minor in (13, 12, 11, 10):
        for words in ([f"python3.{minor}"], ["py", f"-3.{minor}"]):
            with contextlib.suppress(Skip):  # pyenv leaves names with nothing behind
                code = "print(__import__('platform').python_version())"
                _, version, _ = command(*words, "-c", code)
                if version and fits(version, python_wanted()):
                    return " ".join(words)
    return ""


def install(tool: str = "", extras: str = "dev") -> list[str]:
    """The commands that install what setup.py requires, into an environment of this repo.

    Args:
        tool: what installs; "": what there is, in this environment, or in one to be made.
    """
    before = []
    if not tool:
        inside = sys.prefix != sys.base_prefix or "CONDA_PREFIX" in os.environ
        if not inside and not (ROOT / ".venv").is_dir():
            before = [f"{python_command()} -m venv .venv"]
        if not inside:
            before.append(activate())
        has_pip = not inside or importlib.util.find_spec("pip")
        tool = "python -m pip" if has_pip or not shutil.which("uv") else "uv pip"
    return [*before, f'{tool} install -e ".[{extras}]" -c constraints.txt']


def activate() -> str:
    return r".venv\Scripts\activate" if os.name == "nt" else ". .venv/bin/activate"


def python_command() -> str:
    """How this Python is called here: Debian has no `python`, Windows no `python3`."""
    for name in ("python", "python3"):
        path = shutil.which(name)
        if path and os.path.dirname(path) == os.path.dirname(sys.executable):
            return name
    if sys.prefix != sys.base_prefix:  # it was called by its path; another would lack the packages
        return shlex.quote(sys.executable)
    return "python" if os.name == "nt" else "python3"
