import pytest
from conftest import ROOT, train

RUNS = ["waves"]
MISTAKE = ["--data", "nothing"], "nothing: no two files SHAPE.npy in this folder"


@pytest.fixture(scope="session")
def waves(tmp_path_factory):
    return train(tmp_path_factory.mktemp("waves") / "run", f"--data={ROOT / 'data'}")
