"""The package of a cloud job holds every file that the image has: built, installed, compared."""

import json
from pathlib import Path

import pytest

from cloud_lab import BUCKET
from conftest import Project
from test_cloud_jobs import error_of

pytestmark = pytest.mark.slow  # builds packages, and needs the real clients

FILES = {
    "trainer/labels.json": '["a", "b"]',
    "trainer/lexicon/words.py": "WORDS = ['eye']",  # no __init__.py beside it
    "trainer/lexicon/deeper/more.py": "import trainer.lexicon.words as w; WORDS = w.WORDS",
    "codec/tables/curve.npy": "",
}
ODD = ["trainer/.hidden", "trainer/.cache/x", "trainer/v1.0 (new)/größe.bin", "trainer/bare"]
ODD += ["trainer/build/x.txt", "trainer/dist/x", "trainer/tests/x.json", "trainer/x.egg-info/x"]
ODD += ["trainer/README.md", "trainer/LICENSE", "trainer/setup.py", "trainer/lib.so", "trainer/a~"]
ODD += ["trainer/old.pyc", "trainer/.DS_Store", "codec/[x]/y"]
BUILD = """
import sys
from pathlib import Path
from launcher.cloud import code
print(code.build_package(Path(sys.argv[1])))
"""
USE = """
import json
from pathlib import Path
import trainer
from trainer.lexicon.deeper.more import WORDS
print(json.dumps([WORDS, json.loads(Path(trainer.__file__).with_name("labels.json").read_text())]))
"""


def add(project, names):
    for name in names:
        path = project.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES.get(name, name), encoding="utf-8")


def contents(folder):
    """{path: bytes} of what the image gets of the two packages, see .dockerignore."""
    paths = [path for name in ("trainer", "codec") for path in (folder / name).rglob("*")]
    files = [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_package_installs_every_file_that_the_image_has(bake, tmp_path):
    project = bake(fresh=True)
    add(project, [*FILES, *ODD])
    built = project.run(["python", "-c", BUILD, tmp_path]).stdout.strip()
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    target = tmp_path / "installed"
    project.run(["python", "-m", "pip", "install", *offline, "--target", target, built])
    assert set(FILES) | set(ODD) <= set(contents(target))
    assert contents(target) == contents(project.path)
    others = [path.name for path in target.iterdir() if path.suffix != ".dist-info"]
    assert sorted(others) == ["codec", "trainer"]
    # There is no repo beside it in a job.
    used = Project(tmp_path).run(["python", "-c", USE], PYTHONPATH=str(target))
    assert json.loads(used.stdout) == [["eye"], ["a", "b"]]
    assert not list(project.path.glob("*.egg-info"))


@pytest.fixture
def packing(lab):
    """What a test adds to the trainer goes away again."""
    lab.package()
    yield lab
    lab.project.run(["git", "clean", "-fdq", "trainer"])
    lab.project.run(["git", "checkout", "-q", "MANIFEST.in"])


def link(project):
    (project.path / "trainer" / "assets").symlink_to(project.path / "data", True)


def prune(project):
    add(project, ["trainer/words/a.txt", "trainer/words/b.txt"])
    with (project.path / "MANIFEST.in").open("a", encoding="utf-8") as file:
        file.write("prune trainer/words\n")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (link, "error: trainer/assets: is a link to a folder"),
        (prune, "error: trainer/words/a.txt and 1 more: not in the package; setup.py"),
    ],
)
def test_what_cannot_be_packed_is_refused_before_the_upload(packing, change, message):
    # The same sources without a link are there already.
    assert packing.run("train_cloud", Path("configs/smoke.yaml")).code == 0
    try:
        change(packing.project)
    except OSError as error:  # on Windows, for some
        pytest.skip(f"no links here: {error}")
    before = packing.cloud.buckets.names(BUCKET), len(packing.cloud.jobs.sent)
    done = packing.run("train_cloud", Path("configs/smoke.yaml"))
    assert done.code == 2 and error_of(done).startswith(message)
    assert "Traceback" not in done.err
    assert (packing.cloud.buckets.names(BUCKET), len(packing.cloud.jobs.sent)) == before
