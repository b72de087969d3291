"""The prediction server keeps the contract of a container on Vertex AI, whatever clients send."""

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import hostile_requests
from hostile_requests import BIRD, GOOD, KEPT, REQUESTS, SLOW
from served import SECONDS, Served, read_statuses
from standins.buckets import Buckets
from standins.proxy import Proxy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(bake):
    return bake(with_run=True)


@pytest.fixture(scope="module")
def model(project):
    return project.path / "runs" / "one" / "model"


@pytest.fixture(scope="module")
def server(project, model):
    with Served(project.path, model) as served:
        yield served.wait_until_ready()


def read_rows(project, count):
    """Held-out penguins as JSON, without what is predicted."""
    header, *lines = project.read("data/penguins_eval.csv").splitlines()
    rows = []
    for line in lines[:count]:
        row = dict(zip(header.split(","), line.split(","), strict=True))
        del row["species"]
        for name, text in row.items():
            if name not in ("island", "sex"):
                row[name] = float(text) if text != "NA" else None
            elif text == "NA":
                row[name] = None
        rows.append(row)
    return rows


def test_the_answers_are_those_of_predict_py(project, model, server, tmp_path):
    rows = read_rows(project, 5)
    (tmp_path / "rows.json").write_text(json.dumps({"instances": rows}), encoding="utf-8")
    command = ["python", "scripts/predict.py", "--model", model, tmp_path / "rows.json"]
    printed = [json.loads(line) for line in project.run(command).stdout.splitlines()]
    assert server.predict(rows) == (200, {"predictions": printed})
    assert [server.predict([row])[1]["predictions"][0] for row in rows] == printed
    assert server.ask("POST", "/predict", GOOD)[2]["x-model-runtime"] == "onnxruntime"


def test_predict_py_asks_a_server_and_prints_the_command_that_does(
    project, model, server, tmp_path
):
    head, row, *rows = project.read("data/penguins_eval.csv").splitlines(keepends=True)
    endless = re.sub(r"\b\d{4}\b", "inf", row)
    (tmp_path / "f.csv").write_text("".join([head, row, endless, *rows]), encoding="utf-8")
    words = ["python", "scripts/predict.py", "--model", model, tmp_path / "f.csv"]
    here = project.run(words).stdout
    words += ["--url", f"http://127.0.0.1:{server.port}/predict"]
    assert project.run(words).stdout == here
    curl = project.run([*words, "--curl"]).stdout
    predictions = json.loads(project.run(["bash", "-c", curl]).stdout)["predictions"]
    assert predictions == [json.loads(line) for line in here.splitlines()]
    wrong = project.run([*words[:-1], f"127.0.0.1:{server.port}/predict"], check=False)
    assert wrong.stderr.startswith("error: 127.0.0.1:") and "unknown url type" in wrong.stderr


def test_parameters(server):
    [answer] = server.predict([BIRD], top=1)[1]["predictions"]
    assert list(answer["probabilities"]) == [answer["class"]]
    [answer] = server.predict([BIRD], explain=True)[1]["predictions"]
    assert set(answer["explanation"]["attributions"]) == set(BIRD)
    status, body = server.predict([BIRD, {**BIRD, "sex": 1}, BIRD, 3], partial=True)
    good, wrong, same, none = body["predictions"]
    assert status == 200 and good == same and "class" in good
    assert wrong["error"].startswith("instance 1: feature 'sex' is 1; expected a text")
    assert none["error"].startswith("instance 3: expected an object")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"instances": [BIRD, {**BIRD, "body_mas_g": 1}]}, "instance 1: unknown feature 'body_mas_g'; did you mean 'body_mass_g'?"),
        ({"instances": [{**BIRD, "year": "2007"}]}, 'feature \'year\' is "2007"; expected a number without quotes'),
        ({"instance": [BIRD]}, '{"instances": [{…}, …]}'),
        ({"instances": [BIRD], "parameter": {}}, "unknown field 'parameter'; did you mean 'parameters'?"),
        ({"instances": [BIRD], "parameters": {"explian": True}}, "unknown name 'explian'; did you mean 'explain'?"),
        ({"instances": [BIRD] * 10_241}, "10241 instances; send at most 10240 at once"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_send_instead(server, request_, words):
    status, body, _ = server.ask("POST", "/predict", json.dumps(request_))
    assert status == 400 and words in json.loads(body)["error"]


def test_many_rows_are_answered_beside_small_requests(server, project):
    rows = read_rows(project, 69)
    alone = server.predict(rows)[1]["predictions"]
    status, body = server.predict(rows * 20)  # more than one call may have
    assert status == 200 and body["predictions"] == alone * 20
    status, body = server.predict([*rows * 20, 7])
    assert status == 400 and body["error"].startswith("instance 1380: expected an object")
    assert server.predict([*rows * 20, 7], partial=True)[1]["predictions"][:-1] == alone * 20


def test_requests_of_many_clients_share_calls(server, project):
    rows = read_rows(project, 69)
    alone = [server.predict([row])[1]["predictions"] for row in rows]
    with ThreadPoolExecutor(32) as pool:
        together = list(pool.map(lambda row: server.predict([row])[1]["predictions"], rows * 10))
    assert together == alone * 10  # the same bits alone and among others
    deadline = time.monotonic() + SECONDS  # the log is written now and then
    while not any(line["batch"] > 1 for line in server.lines()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_hundred_hostile_requests(server):
    good = server.predict([BIRD])
    wrong = []
    for name, status, data in REQUESTS:
        statuses = server.send(data)
        if (statuses or [None])[-1] != status:
            wrong.append((name, status, statuses))
        assert server.predict([BIRD]) == good, name
    assert not wrong
    assert len(REQUESTS) + len(SLOW) > 100
    assert server.send(KEPT * 99 + hostile_requests.post(GOOD)) == [200] * 100
    for data in (b"", b"POST", KEPT[:-9], KEPT, KEPT * 20, b"\0" * 1000):
        server.reset(data)
    assert server.predict([BIRD]) == good
    assert "Traceback" not in server.said


def test_requests_that_stop_half_way(project, model):
    """They end after a while, here 2 and 3 seconds; the others are answered meanwhile."""
    code = "from predictor import protocol; protocol.HEAD_SECONDS, protocol.BODY_SECONDS = 2, 3"
    code += "; from predictor import __main__; __main__.main()"

    def send(data):
        with server.connect() as connection:
            connection.sendall(data)
            return read_statuses(connection)

    with Served(project.path, model, words=["-c", code]) as server:
        server.wait_until_ready()
        with ThreadPoolExecutor(len(SLOW)) as pool:
            endings = pool.map(send, (data for _, _, data in SLOW))
            time.sleep(1)  # they are all on their way
            assert server.predict([BIRD])[0] == 200
            for (name, status, _), statuses in zip(SLOW, endings, strict=True):
                assert (statuses or [None])[-1] == status, name


@pytest.mark.parametrize(("count", "length"), [(512, 100), (16, hostile_requests.MAX_BYTES)])
def test_a_full_queue_refuses_and_recovers(server, count, length):
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(server.connect())
            connection.sendall(hostile_requests.head(f"content-length: {length}") + b"{")
        deadline = time.monotonic() + SECONDS
        while (response := server.ask("POST", "/predict", GOOD))[0] == 200:
            assert time.monotonic() < deadline
        assert response[0] == 503 and response[2]["retry-after"] == "1"
        assert server.get("/health")[0] == 200
    deadline = time.monotonic() + SECONDS
    while server.ask("POST", "/predict", GOOD)[0] != 200:
        assert time.monotonic() < deadline


def test_a_request_that_has_waited_too_long_is_refused(project, model):
    code = "from predictor import __main__, batching; batching.MAX_WAIT = 0; __main__.main()"
    with Served(project.path, model, words=["-c", code]) as impatient:
        impatient.wait_until_ready()
        status, body, headers = impatient.ask("POST", "/predict", GOOD)
        assert (status, headers["retry-after"]) == (503, "1") and b"no time for it" in body
        assert impatient.get("/health")[0] == 200


def test_an_explanation_for_which_nobody_waits_is_not_computed(project, model):
    code = "from predictor import __main__, batching; batching.MAX_WAIT = 0.5"
    code += "; from predictor.model import Model; import time; answer = Model.answer"
    code += "; Model.answer = lambda *words: [time.sleep(1), answer(*words)][1]; __main__.main()"
    with Served(project.path, model, words=["-c", code]) as slow:
        slow.wait_until_ready()
        with ThreadPoolExecutor(3) as pool:
            done = pool.map(lambda _: slow.predict([BIRD] * 1025)[0], range(3))
        assert sorted(done) == [200, 503, 503]


def test_metrics_and_access_log(server):
    before = server.get("/metrics")[1].decode()
    secret = "a very secret island"
    assert server.predict([{**BIRD, "island": secret}])[0] == 200
    assert server.predict([{**BIRD, "year": secret}])[0] == 400
    after = server.get("/metrics")[1].decode()
    for status in (200, 400):
        name = rf'predictor_requests_total{{status="{status}"}} (\d+)'
        counts = [int((re.search(name, page) or [0, 0])[1]) for page in (before, after)]
        assert counts[1] == counts[0] + 1
    for name in ("request_seconds", "batch_rows"):
        count = int(re.search(rf"predictor_{name}_count (\d+)", after)[1])
        assert f'predictor_{name}_bucket{{le="+Inf"}} {count}\n' in after and count > 0
    assert "predictor_waiting_requests 0\n" in after
    deadline = time.monotonic() + SECONDS  # the log is written now and then
    while [line["status"] for line in server.lines()[-2:]] != [200, 400]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert server.lines()[-2]["instances"] == 1
    assert secret not in json.dumps(server.lines())


def test_the_routes_of_the_contract(project, model):
    route = "/v1/endpoints/12/deployedModels/34"
    routes = {"AIP_HEALTH_ROUTE": route, "AIP_PREDICT_ROUTE": f"{route}:predict"}
    with Served(project.path, model, **routes) as server:
        server.wait_until_ready(route)
        assert server.ask("POST", f"{route}:predict", GOOD)[0] == 200
        assert server.ask("POST", "/predict", GOOD)[0] == 404
    routes = dict.fromkeys(routes, route)
    with Served(project.path, model, **routes) as server:
        server.wait_until_ready(route)
        assert server.ask("POST", route, GOOD)[0] == 200


def test_a_model_without_a_network_is_served_by_tensorflow(project, model, server, tmp_path):
    """It takes seconds to load: the server listens meanwhile, and says that it is not ready."""
    shutil.copytree(model, tmp_path / "model")
    (tmp_path / "model" / "assets.extra" / "network.onnx").unlink()
    with Served(project.path, tmp_path / "model") as slow:
        assert slow.get("/health") == (503, b'{"status":"loading"}')
        status, body, headers = slow.ask("POST", "/predict", GOOD)
        assert (status, headers["retry-after"]) == (503, "1") and b"loaded" in body
        slow.wait_until_ready()
        status, body, headers = slow.ask("POST", "/predict", GOOD)
        assert headers["x-model-runtime"] == "tensorflow"
        [one], [other] = json.loads(body)["predictions"], server.predict([BIRD])[1]["predictions"]
        assert one["class"] == other["class"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
        assert slow.stop() == 0


class Metadata(BaseHTTPRequestHandler):
    """What gives a machine of Google's its token."""

    def do_GET(self):
        assert self.headers["Metadata-Flavor"] == "Google"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access_token": "of-the-machine", "expires_in": 3600}')

    def log_message(self, *_):
        """Nothing to print."""


def test_a_model_in_a_bucket(project, model, server):
    buckets, tokens = Buckets("lab", closed=("closed",)), set()
    for path in filter(Path.is_file, model.rglob("*")):
        buckets.write("lab", f"runs/a b/model/{path.relative_to(model)}", path.read_bytes())
    buckets.write("lab", "runs/a b/model-2/other", b"")
    for name in ("cut/model/x", "odd/a/../../x", "twice/./x"):
        buckets.write("lab", name, b"12")

    def play(request):
        tokens.add(request.headers["Authorization"])
        answer = buckets(request)
        is_cut = "cut/model/x" in request.path and "alt" in request.query
        return answer._replace(body=answer.body[:-1]) if is_cut else answer

    with (
        Proxy({"storage.googleapis.com": play}) as proxy,
        HTTPServer(("127.0.0.1", 0), Metadata) as metadata,
    ):
        threading.Thread(target=metadata.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{metadata.server_port}"
        environ = {**proxy.environ(), "GCE_METADATA_HOST": host}
        uri = "gs://lab/runs/a b/model/"
        with Served(project.path, uri, **environ) as copied:
            assert copied.wait_until_ready().predict([BIRD]) == server.predict([BIRD])
        assert tokens == {"Bearer of-the-machine"} and proxy.leaks == []
        for uri, why in {
            "gs://lab/nothing": "there is no object below it",
            "gs://lab/cut/model": "only a part of the object 'cut/model/x' has arrived",
            "gs://lab/odd": "the object 'odd/a/../../x' has a name that no file of its folder has",
            "gs://lab/twice": "the object 'twice/./x' has a name that no file of its folder has",
            "gs://closed/model": "the bucket answers 403",
            "gs://lab/runs/a b/model-2": "no exported model",
        }.items():
            environ |= {"AIP_STORAGE_URI": uri, "AIP_HTTP_PORT": "0"}
            code, lines = start(project, **environ)
            assert code == 2 and why in lines[-1], lines
        metadata.shutdown()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_once_all_is_answered(project, model, number):
    with Served(project.path, model) as server:
        server.wait_until_ready()
        idle, half = server.connect(), server.connect()
        half.sendall(KEPT[:-20])
        many = [server.connect() for _ in range(50)]
        for connection in many:
            connection.sendall(KEPT)
        assert server.get("/health")[0] == 200  # connections are accepted in their order
        server.process.send_signal(number)
        assert idle.recv(10) == b""  # closed at once
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        half.sendall(KEPT[-20:])
        assert [read_statuses(connection) for connection in (half, *many)] == [[200]] * 51
        assert server.process.wait(SECONDS) == 0
        assert len([line for line in server.lines() if line["status"] == 200]) == 51


def start(project, *words, **environ):
    """A server's exit code and what it wrote to standard error."""
    done = project.run(["python", "-m", "predictor", *words], check=False, **environ)
    return done.returncode, done.stderr.strip().splitlines()


def test_what_it_cannot_start_with(project, model, tmp_path):
    port = {"AIP_HTTP_PORT": "0"}
    code, lines = start(project, **port, AIP_STORAGE_URI=str(tmp_path))
    assert code == 2 and lines[-1].startswith(f"error: {tmp_path}: no exported model")
    code, lines = start(project, **port)
    assert code == 2 and "no exported model" in lines[-1]
    code, lines = start(project, AIP_HTTP_PORT="web")
    assert (code, lines) == (
        2,
        ["error: AIP_HTTP_PORT: 'web' is no port; write a number up to 65535"],
    )
    code, lines = start(project, **port, AIP_HEALTH_ROUTE="health")
    assert code == 2 and "AIP_HEALTH_ROUTE: 'health' is no route" in lines[-1]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        code, lines = start(project, AIP_HTTP_PORT=str(number))
    assert code == 2 and lines[-1].startswith(f"error: port {number}: Address already in use")


def find_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextlib.contextmanager
def serve(project, *words):
    """scripts/serve.py on a port of its own, with its output line by line; called in docs/."""
    command = [sys.executable, "../scripts/serve.py", f"--port={find_port()}", *map(str, words)]
    process = subprocess.Popen(
        command,
        cwd=project.path / "docs",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    watch = threading.Timer(60, process.kill)
    watch.start()
    try:
        yield process
    finally:
        watch.cancel()
        process.kill()
        process.wait()


@pytest.mark.parametrize("words", [(), ("../runs/one",), ("../runs/one/model",)])
def test_serve_py(project, words):
    with serve(project, *words) as process:
        lines = iter(process.stdout.readline, "")
        address = next(found[1] for line in lines if (found := re.search(r"page: (\S+)/ ", line)))
        next(line for line in lines if line.startswith("listening on"))
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 1)


def test_serve_py_measures(project):
    with serve(project, "--bench") as process:
        printed = process.stdout.read()
        assert process.wait() == 0, printed
    rows = re.findall(r"^ +(\d+) +([\d,]+) +([\d.]+) ms +([\d.]+) ms +(\d+) µs$", printed, re.M)
    assert [row[0] for row in rows] == ["1", "16", "64"], printed
    assert all(float(p50) <= float(p99) for _, _, p50, p99, _ in rows)


def test_serve_py_without_a_model(bake, project, tmp_path):
    done = project.run(["python", "scripts/serve.py", tmp_path], check=False)
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path}: no exported model; give a run's directory, such as runs/NAME\n"  # fmt: skip
    done = bake().run(["python", "scripts/serve.py", "--port", "web"], check=False)
    assert done.returncode == 2 and "--port" in done.stderr
