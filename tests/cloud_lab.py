"""A baked repo and a project in the cloud, on this machine: what the tests of cloud jobs share.

    done = lab.run("train_cloud", "configs/smoke.yaml", "--wait")
    done.code, done.out, done.err, lab.cloud.jobs.sent

The scripts run inside of the tests' own process, since Google's SDK takes seconds to import. Their
pauses are fractions of a second, but they retry for long: a busy machine is no failure. Tests of
failures that last use `lab.giving_up_soon()`. Where a process is what is tested: `lab.environ`.
"""

import contextlib
import importlib
import io
import os
import re
import runpy
import shutil
import sys
from dataclasses import dataclass
from unittest import mock

from standins.cloud import Cloud
from standins.runner import Runner

PROJECT, BUCKET, REGION = "my-lab-4711", "lab", "us-central1"
EXECUTOR = "us-docker.pkg.dev/vertex-ai/training/pytorch-cpu.2-4.py310:latest"
# {module: {constant: seconds}}: short pauses; long limits, which no test that passes reaches.
PATIENCE = {
    "cloud.errors": {"ANSWER": 30.0, "LIMIT": 60.0, "FIRST": 0.01, "LONGEST": 0.05},
    "cloud.vertex": {"POLL": 0.01, "SETTLE": 0.01},
    "cloud.watch": {"POLL": 0.1, "LAST": 0.2},
    "cloud.code": {"POLL": 0.01},
    "endpoints.batch_job": {"POLL": 0.01},
}


@dataclass
class Done:
    """A script that has ended."""

    code: int
    out: str
    err: str


class CloudLab:
    def __init__(self, project, folder):
        self.project, self.folder = project, folder
        self.cloud = Cloud(BUCKET, closed=("closed",))
        self.plain = project.read("project.yaml")
        self._runner = None

    def __enter__(self):
        self.cloud.__enter__()
        self.environ = self.cloud.environ(self.folder / "gcloud")
        self._forget_launcher()  # another test may have imported that of another bake
        sys.path.insert(0, str(self.project.path))
        for name, constants in PATIENCE.items():
            for constant, seconds in constants.items():
                setattr(self.module(name), constant, seconds)
        self._build_packages_once()
        return self

    def _build_packages_once(self):
        """Let the package of the same sources be built once, though each test uploads it."""
        code, digest, built = self.module("cloud.code"), self.module("project.sources").digest, {}
        really_build = code.build_package

        def build_package(folder):
            sources = digest(code.SOURCES)
            if sources not in built:
                built[sources] = really_build(folder).read_bytes()
            path = folder / "trainer.tar.gz"
            path.write_bytes(built[sources])
            return path

        code.build_package = build_package

    def __exit__(self, *_):
        sys.path.remove(str(self.project.path))
        self._forget_launcher()
        if self._runner:
            self._runner.stop()
        self.cloud.__exit__()

    @contextlib.contextmanager
    def as_baked(self):
        """Within the block: no jobs in the cloud, no faults, the repo's own settings.

        What the block leaves in the buckets and in runs/ is removed, so that no test depends on
        those before it.
        """
        self.cloud.reset()
        self.settings()
        objects, runs = set(self._list_objects()), set(self._list_runs())
        yield self
        for name in set(self._list_objects()) - objects:
            self.cloud.buckets.remove(BUCKET, name)
        for path in set(self._list_runs()) - runs:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert self.cloud.proxy.leaks == []

    def _list_objects(self):
        return self.cloud.buckets.names(BUCKET)

    def _list_runs(self):
        return self.project.path.glob("runs/*")

    @staticmethod
    def _forget_launcher():
        ours = ("launcher", "_verb")
        for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
            del sys.modules[name]

    def module(self, name):
        """A module of the baked repo's launcher."""
        return importlib.import_module(f"launcher.{name}")

    @contextlib.contextmanager
    def giving_up_soon(self, **seconds):
        """Retry for half a second within the block, where a failure is to last; or as given."""
        with mock.patch.multiple(self.module("cloud.errors"), **{"LIMIT": 0.5, **seconds}):
            yield

    def store(self):
        """The buckets, outside of a script; call it, and what it returns, while `asking`."""
        connection = self.module("cloud.clients").Connection(PROJECT, REGION)
        return self.module("cloud.storage").Store(connection)

    def settings(self, **gcp):
        """Writes and commits the part gcp of project.yaml; what is not named is as it was baked."""
        text = self.plain
        for key, value in gcp.items():
            text, count = re.subn(rf"(?m)^  {key}:.*$", f"  {key}: {value}", text)
            assert count == 1, key
        if text != self.project.read("project.yaml"):
            (self.project.path / "project.yaml").write_text(text, encoding="utf-8")
            self.project.run(["git", "commit", "-qm", "Settings", "--", "project.yaml"])

    def package(self, **gcp):
        """Lets the code travel as a package, and jobs be run."""
        self.settings(code="package", executor_image=EXECUTOR, **gcp)

    def runner(self):
        """Runs jobs, each with real TensorFlow; `cloud.jobs.runner = lab.runner()` lets it do so."""
        if not self._runner:
            environ = self.cloud.proxy.environ()
            self._runner = Runner(self.cloud.buckets, environ, self.folder / "runner")
        return self._runner

    def run(self, script, *words, typed=None, **environ) -> Done:
        """Runs a script in the repo, in this process.

        Args:
            typed: what is answered on the terminal; None: there is none.
        """
        path = self.project.path / "scripts" / f"{script}.py"
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
        out, err = streams
        typing = io.StringIO(typed or "")
        typing.isatty = lambda: typed is not None
        with (
            self.asking(**environ),
            mock.patch.object(sys, "stdin", typing),
            mock.patch.object(sys, "argv", [str(path), *map(str, words)]),
            mock.patch.object(sys, "path", [str(path.parent), *sys.path]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            _inside(self.project.path),
        ):
            try:
                runpy.run_path(str(path), run_name="__main__")
            except SystemExit as end:
                code = end.code
        texts = []
        for stream in streams:
            stream.flush()
            texts.append(stream.buffer.getvalue().decode("utf-8"))
        return Done(code, *texts)

    @contextlib.contextmanager
    def asking(self, **environ):
        """What is called within the block asks the stand-ins."""
        with mock.patch.dict(os.environ, {**self.environ, **environ}):
            yield


@contextlib.contextmanager
def _inside(folder):
    before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
