"""One real prediction by an endpoint, compared with that of scripts/predict.py on this machine."""

import contextlib
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from launcher.cloud.clients import Connection
from launcher.common.document import SpecError
from launcher.endpoints import ask
from launcher.local.container import last_line
from launcher.project.settings import ROOT
from launcher.report import runs

TRIES = 300  # requests; with 1 % of the traffic, a model answers one in 95 of 100 deployments
LINES = 1000  # of a table; the first samples of a recording may be lost
CLOSE = 1e-5  # two answers to the same instance may differ by so much of their size


def compare(
    connection: Connection,
    model_dir: Path,
    url: str,
    instance: Path | None,
    number: str,
    share: int,
) -> None:
    """Ask the endpoint for one real prediction, and scripts/predict.py for the same one here.

    Args:
        instance: a file of one instance; None: one that the run held out, where there is one.
        number: of the model on the endpoint, which may have others.
        share: percent of the traffic that the model gets.

    Raises:
        SpecError: there is no answer, or another one.
    """
    if not share:
        print("no prediction was made: the model gets no traffic; see scripts/endpoints.py traffic")
        return
    with tempfile.TemporaryDirectory() as folder:
        instance = instance or find_instance(model_dir.parent, Path(folder))
        if not instance:
            print("no prediction was made: the run has no instance here; give --instance FILE")
            return
        curl = shlex.split(predict(model_dir, instance, ["--url", url, "--curl"]))
        request = json.loads(curl[curl.index("-d") + 1])
        request["instances"] = request["instances"][:1]
        sent = Path(folder, "request.json")
        sent.write_text(json.dumps({"instances": request["instances"]}), encoding="utf-8")
        here = json.loads(predict(model_dir, sent, []))
    there = _ask(connection, url, request, number)
    if there is None:
        print(f"no prediction was made: other models answered all {TRIES} requests")
        return
    if not are_close(here, there):
        raise SpecError(
            f"the endpoint answers {json.dumps(there)}, and predict.py here {json.dumps(here)}: "
            "another model or other code is in the image"
        )
    print(f"a prediction: {json.dumps(here, ensure_ascii=False)}, the same as here", flush=True)


def _ask(connection: Connection, url: str, request: dict, number: str) -> object:
    """The answer of one of the models on an endpoint; None: others have answered all requests.

    Args:
        request: asks for partial answers: what another model refuses is not the end of it.
    """
    for _ in range(TRIES):
        answer = ask.send(connection, url, request)
        if answer.get("deployedModelId", number) == number:
            return answer["predictions"][0]
    return None


def find_instance(run_dir: Path, folder: Path) -> Path | None:
    """A file of held-out instances: the first rows of a table, written to `folder`, or an image.

    None where there is none here.
    """
    try:
        files = runs.load(run_dir).held_out["files"]
    except (runs.RunError, LookupError):
        files = []
    for path in (ROOT / str(file.get("path", "")) for file in files):
        if path.suffix == ".csv" and path.is_file():
            with (
                contextlib.suppress(UnicodeDecodeError),
                open(path, encoding="utf-8-sig", newline="") as table,
            ):
                rows = [row for row, _ in zip(table, range(LINES), strict=False)]
                (folder / "rows.csv").write_text("".join(rows), encoding="utf-8")
                return folder / "rows.csv"
    return next(iter(sorted(run_dir.glob("gallery/*.png"))), None)


def predict(model_dir: Path, instance: Path, words: list[str]) -> str:
    """The first line that scripts/predict.py prints for a file; SpecError: what that says."""
    command = [sys.executable, ROOT / "scripts" / "predict.py", "--model", model_dir.absolute()]
    command += [*words, instance.absolute()]
    env = os.environ | {"PYTHONIOENCODING": "utf-8"}  # which Windows does not write to pipes
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SpecError(last_line(done.stdout + done.stderr).removeprefix("error: "))
    return done.stdout.split("\n")[0]


def are_close(one: object, other: object) -> bool:
    """Whether two answers agree: equal texts and keys, numbers up to a rounding."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(are_close(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(are_close, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=CLOSE)
    return one == other
