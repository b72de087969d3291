"""Every way in which instances get answers, for the tests of each kind of data."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path


from launcher.cli import predict
from launcher.cli import batch
from launcher.local.serving import HOST, PREDICT, Served
from predictor import batch as batch_predictor
from predictor import predict as predictor


def answer_in_all_ways(capsys, model_dir, path, instances):
    """{way: the answer to each instance}.

    Args:
        path: a file of the same instances.
    """
    lines = [json.dumps(instance) for instance in instances]
    ways = {"in one file": predict_file(capsys, model_dir, path), "one by one": []}
    for number, line in enumerate(lines):
        Path(f"{number}.json").write_text(line, encoding="utf-8")
        ways["one by one"] += predict_file(capsys, model_dir, f"{number}.json")
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    with Served(Path(model_dir), port, quiet=True) as server:
        server.wait_until_ready()
        many = lines * (64 // len(lines) + 1)
        for connections in (1, 64):
            with ThreadPoolExecutor(connections) as pool:
                answers = list(pool.map(lambda line: ask(port, line), many))
            ways[f"{connections} connections"] = answers[: len(lines)]
            assert answers == answers[: len(lines)] * (64 // len(lines) + 1)
    ways["batch"] = [line["prediction"] for line in batch_answers(model_dir, path)[0]]
    return ways


def predict_file(capsys, model_dir, path):
    capsys.readouterr()
    assert predict.main(["--model", model_dir, path], predictor) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def ask(port, line):
    connection = HTTPConnection(HOST, port, timeout=60)
    connection.request("POST", PREDICT, f'{{"instances": [{line}]}}')
    [answer] = json.loads(connection.getresponse().read())["predictions"]
    connection.close()
    return answer


def batch_answers(model_dir, path, code=0):
    """The lines of results, and those of errors."""
    folder = Path(f"batch of {path}")
    words = [path, "--local", "--model", model_dir, "--output", str(folder)]
    assert batch.main(words, batch_predictor) == code
    return [list(map(json.loads, (folder / name).open("rb"))) for name in batch_predictor.FILES]
