"""What the tests share: an empty folder to work in, the trainer's runs, a copy of this repo.

What depends on your data stands in `own.py`.

All tests run offline and on a CPU. TensorFlow takes seconds to import, so the trainer runs inside of
the tests' own process, except where a process is what is tested.
"""

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # on a GPU, two equal runs differ in the last bits
sys.dont_write_bytecode = True  # TensorFlow would leave some in the folder for temporary files
sys.path.insert(0, str(ROOT))

from codec.schema import Schema  # noqa: E402
from trainer import data, task  # noqa: E402
from trainer.engine import runtime  # noqa: E402

pytest_plugins = ["own"]  # it may have fixtures


@pytest.fixture(autouse=True)
def clean_place(tmp_path, monkeypatch):
    """An empty working directory, and nothing of a job that these tests may be running in."""
    monkeypatch.chdir(tmp_path)
    for name in filter(runtime.CONTRACT.match, list(os.environ)):
        monkeypatch.delenv(name)


def write(path: str, text: str | bytes) -> str:
    """Write a file as it is given, line ends included; return its path."""
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def tree(folder: str | Path = ".") -> list[str]:
    """List every file and folder below, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Trained:
    """A finished run, and the model as it was in memory when it ended."""

    job_dir: Path
    model: object
    schema: Schema
    data: data.Examples

    @property
    def model_dir(self) -> str:
        return str(self.job_dir / "model")


def load(job_dir: str | Path, *flags: str) -> data.Examples:
    """Load the data that these flags of the trainer name, without TensorFlow."""
    parsed = task.parse(["--job-dir", str(job_dir), *flags])
    return data.load(parsed, runtime.read(parsed.job_dir))


def train(job_dir: str | Path, *flags: str) -> Trained:
    """Run the trainer, for two epochs unless a flag says otherwise; keep the model it exports."""
    from trainer.engine import export

    exported = []
    really_write = export.write

    def write_and_keep(model, examples, path):
        exported.append((model, examples.schema))
        return really_write(model, examples, path)

    argv = ["--epochs", "2", *flags]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "write", write_and_keep)
        assert task.main(["--job-dir", str(job_dir), *argv]) == 0
    return Trained(Path(job_dir), *exported[0], load(job_dir, *argv))


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Trained:
    """Two epochs on your data."""
    import own

    return train(tmp_path_factory.mktemp("trained") / "run", *own.FLAGS)


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of this repo, so that what is tried out in it leaves no trace in your `runs/`."""
    copy = tmp_path / "project"
    for name in ("trainer", "codec", "predictor", "launcher", "scripts", "configs", "data"):
        shutil.copytree(ROOT / name, copy / name)
    return copy
