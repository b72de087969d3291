from conftest import ROOT

FLAGS = [f"--data={ROOT / 'data'}"]
MISTAKE = ["--data", "nothing"], "nothing: no two files SHAPE.npy in this folder"


def make_instances(schema):
    return [{"samples": [0.5] * schema.length}]
