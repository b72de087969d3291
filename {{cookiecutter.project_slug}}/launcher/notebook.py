"""What the notebooks call. They are the same files on a laptop, in VS Code, on Colab, Workbench and Kaggle.

    notebook.start()                                    where this is, and what is missing
    notebook.show(notebook.explore(target="species"))   the data, as the trainer reads it
    run = notebook.train(epochs=20)                     a run in runs/, trained by a process of its own
    job = notebook.submit("configs/gpu.yaml", epochs=20)
    job = notebook.jobs()[0]                            the newest job, in any later session
    job.follow()
    run = job.fetch()

Keywords are the trainer's flags: `learning_rate=0.01` is --learning-rate=0.01.

    python -m launcher.notebook         once this repo is on GitHub: puts a badge into each notebook, which
                                        opens it in Colab, and there the address that Colab clones
"""

from __future__ import annotations

import functools
import html
import importlib.util
import json
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.common.document import SpecError
from launcher.common.files import write_file
from launcher.local import faults
from launcher.project.settings import ROOT, read_settings

# {module: its package}, without which nothing is explored or trained. Colab has all of them.
NEEDED = {"tensorflow": "tensorflow", "yaml": "pyyaml", "rich": "rich", "filelock": "filelock"}
NEEDED |= {"jinja2": "jinja2", "matplotlib": "matplotlib", "polars": "polars"}
LOCAL, JOB = "this machine", "a job"
HEIGHT = 640  # pixels of a page in a notebook, until it has measured itself
COLAB = "https://colab.research.google.com"


def find_environment(variables: Mapping[str, str] = os.environ) -> str:
    """Name the place where this process runs, by the variables that only it has.

    The order matters: Kaggle's image is made from Colab's, and a job may run in either.
    """
    if "CLOUD_ML_JOB_ID" in variables or any(name.startswith("AIP_") for name in variables):
        return JOB
    if "KAGGLE_KERNEL_RUN_TYPE" in variables:
        return "Kaggle"
    products = {"COLAB_ENTERPRISE": "Colab Enterprise", "WORKBENCH_INSTANCE": "Workbench"}
    if product := products.get(variables.get("VERTEX_PRODUCT", "")):
        return product
    if "COLAB_RELEASE_TAG" in variables:
        return "Colab"
    return "Codespaces" if "CODESPACES" in variables else LOCAL


def start() -> None:
    """Print where this is and what is missing; from now on, our errors are one line each."""
    where = find_environment()
    print(f"{where}, Python {platform.python_version()}, {ROOT}")
    missing = [NEEDED[name] for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        # Elsewhere the machine is somebody else's: packages that are there must stay as they are.
        everything = 'pip install -c constraints.txt -e ".[dev]"'
        command = everything if where == LOCAL else f"%pip install {' '.join(missing)}"
        print(f"missing: {', '.join(missing)}; run: {command}")
    from IPython import get_ipython

    def show_error(shell, kind, error, trace, tb_offset=None) -> list[str]:
        print(f"error: {error}", file=sys.stderr)
        return []

    if shell := get_ipython():
        shell.set_custom_exc((SpecError,), show_error)


@functools.cache
def sign_in() -> None:
    """Sign in to Google Cloud, where this environment has a way of its own to do so.

    Elsewhere there are credentials already, or the first request says which command makes them.
    """
    where = find_environment()
    if where == "Colab":
        from google.colab import auth

        auth.authenticate_user()
    elif where == "Kaggle":
        from kaggle_secrets import UserSecretsClient

        UserSecretsClient().set_gcloud_credentials(project=read_settings().project)


def explore(**flags) -> list[dict]:
    """Read the data as the trainer does, and return the report's sections about it.

    Raises:
        SpecError: what is wrong with the data or the flags.
    """
    command = [sys.executable, "-m", "trainer.task", "--describe-data", *to_flags(flags)]
    # A kind may decode images by TensorFlow, which is noisy; Windows writes no UTF-8 to pipes.
    settings = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONIOENCODING": "utf-8"}
    environ = os.environ | settings
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SpecError(done.stderr.strip().removeprefix("error: "))
    *log, sections = done.stdout.splitlines()
    # The sections have a row for what is indented.
    print("\n".join(line for line in log if not line.startswith(" ")))
    print(done.stderr, end="")
    return json.loads(sections)


def train(job: str = "configs/cpu.yaml", **flags):
    """Train on this machine, in a process of its own; return the run, or None for a study.

    Raises:
        SpecError: it did not succeed; its output says why.
    """
    from launcher.report import runs

    lines = run_script("train_local", job, "--", *to_flags(flags))
    paths = [line.removeprefix("run directory: ") for line in lines if line.startswith("run dir")]
    return runs.load(paths[-1]) if paths else None


def run_script(name: str, *words) -> list[str]:
    """Run scripts/NAME.py with the Python of this kernel; print its lines as they come, and return them.

    An interrupt of the cell is passed on, as Ctrl-C.

    Raises:
        SpecError: its exit code is not 0.
    """
    command = [sys.executable, "-u", f"scripts/{name}.py", *map(str, words)]
    lines: list[str] = []
    after_epoch = False
    # A kernel sets FORCE_COLOR, for which a program draws progress bars as on a terminal.
    variables = {name: value for name, value in os.environ.items() if name != "FORCE_COLOR"}
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables | {"PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=os.name == "posix",  # so that an interrupt arrives once, from here
    ) as process:
        while True:
            try:
                if not (line := process.stdout.readline()):
                    break
                lines.append(line.rstrip("\n"))
                if is_epoch := bool(faults.read_progress(lines[-1])):
                    # It takes the place of the one before: there may be thousands.
                    print(f"\r{lines[-1]}", end="", flush=True)
                else:
                    print("\n" * after_epoch + lines[-1], flush=True)
                after_epoch = is_epoch
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
    if process.returncode:
        raise SpecError(f"scripts/{name}.py: exit code {process.returncode}; see above")
    return lines


def to_flags(flags: Mapping) -> list[str]:
    """Keywords as the trainer's flags: `{"learning_rate": 0.1}` → `["--learning-rate=0.1"]`."""
    words = []
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value not in (None, False):
            text = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
            words.append(f"{flag}={text}")
    return words


def show(shown, run_dir: Path = ROOT / "runs"):
    """Show a run's report, or sections such as those of `explore`, below the cell.

    Args:
        run_dir: of sections: where the images of a gallery are.
    """
    from IPython.display import HTML

    from launcher.report import report

    if isinstance(shown, list):
        page = report.render_sections(shown, run_dir)
    else:
        page = report.write(shown.path).read_text(encoding="utf-8")
    # A frame of its own: the page's style and the notebook's leave each other alone.
    fit = "this.style.height = this.contentDocument.documentElement.scrollHeight + 20 + 'px'"
    style = f"width: 100%; height: {HEIGHT}px; border: 0; background: #fff"
    frame = f'<iframe srcdoc="{html.escape(page)}" style="{style}" onload="{fit}"></iframe>'
    return HTML(f"<div>{frame}</div>")  # IPython warns of a frame alone


class Job:
    """A job on Vertex AI, as it was when it was last looked at."""

    def __init__(self, vertex, job):
        self._vertex, self._job = vertex, job
        self.name, self.state = job.name, job.state.lower()

    def __repr__(self) -> str:
        from launcher.cloud import remote_job

        return "\n".join(remote_job.to_lines(self._job, self._vertex.connection.project))

    def follow(self) -> None:
        """Print its log until it ends. An interrupt of the cell leaves the job running."""
        from launcher.cloud import watch

        watch.watch(self._vertex, self._job)

    def cancel(self) -> None:
        """End it; what it has written stays."""
        from launcher.cloud import jobs

        jobs.cancel_job(self._vertex, self._job)

    def fetch(self):
        """Copy what it wrote to runs/; return the run, or None for a study, or where there is none yet."""
        from launcher.cloud import fetch, remote_job, storage
        from launcher.report import runs

        store = storage.Store(self._vertex.connection)
        folder = fetch.fetch(store, remote_job.refresh(self._vertex, self._job))
        return runs.load(folder) if (folder / "run.json").is_file() else None


def price(job: str, **flags) -> None:
    """Print what a job file may cost; nothing is sent, and nobody need be signed in."""
    from launcher.cost import cost
    from launcher.jobfile import spec

    loaded = spec.load(ROOT / job, to_flags(flags))
    print("\n".join(cost.estimate(loaded, read_settings().region).lines()))


def submit(job: str, max_cost: float | None = None, **flags) -> Job:
    """Send a job file to Vertex AI.

    Args:
        max_cost: refuse a job that may cost more, in USD; None: the limit of project.yaml.

    Raises:
        SpecError: what is missing, or why it was refused; then no job runs.
    """
    from launcher.cloud import submit

    sign_in()
    this, estimate = submit.prepare(ROOT / job, to_flags(flags), max_cost)
    return Job(*submit.send(this, estimate, max_cost))


def jobs(most: int = 20) -> list[Job]:
    """The newest jobs of this project, whoever sent them: the newest first."""
    from launcher.cloud import jobs

    sign_in()
    vertex = jobs.connect()
    return [Job(vertex, job) for job in jobs.list_jobs(vertex, vertex.own, most)]


def main() -> int:
    """Write into each notebook where this repo is on GitHub."""
    git = ["git", "-C", str(ROOT)]
    url = subprocess.run([*git, "remote", "get-url", "origin"], capture_output=True, text=True)
    match = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", url.stdout.strip())
    if not match:
        print("error: the remote origin is not on GitHub; nothing was changed", file=sys.stderr)
        return 2
    branch = subprocess.run([*git, "branch", "--show-current"], capture_output=True, text=True)
    branch = branch.stdout.strip() or "main"
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        content = json.loads(path.read_text(encoding="utf-8"))
        title, first = content["cells"][:2]
        target = f"{COLAB}/github/{match[1]}/blob/{branch}/notebooks/{path.name}"
        badge = f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({target})"
        lines = [line for line in "".join(title["source"]).splitlines() if "[![" not in line]
        title["source"] = "\n".join([lines[0], "", badge, *lines[1:]]).splitlines(keepends=True)
        code = re.sub(r'(?m)^REPO = ".*?"', f'REPO = "{match[1]}"', "".join(first["source"]))
        first["source"] = code.splitlines(keepends=True)
        write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
