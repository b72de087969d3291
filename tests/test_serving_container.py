"""The serving image: built from the emitted Dockerfile on a stand-in base, without network or rights."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from hostile_requests import BIRD
from served import SECONDS

pytestmark = pytest.mark.slow

BASE = "serving-base:local"
# Asks the server from inside: a container without a network is reached in no other way.
ASK = """
import json, sys, urllib.request
request = urllib.request.Request("http://127.0.0.1:8080" + sys.argv[1], sys.argv[2].encode() or None)
response = urllib.request.urlopen(request)
print(json.dumps([response.status, dict(response.headers), response.read().decode()]))
"""


@pytest.fixture(scope="module")
def project(bake):
    return bake(with_run=True)


@pytest.fixture(scope="module")
def image(docker, project):
    """The image that scripts/serve.py --container builds."""
    [names] = re.findall(r"-c constraints.txt \\\n +(.+)", project.read("Dockerfile.serving"))
    docker.import_base(BASE, names.replace("${RUNTIME}", "onnxruntime").split())
    code = "from launcher.local import serving; from pathlib import Path;"
    code += "print(serving.build_image(Path('runs/one/model')))"
    done = project.run(["python", "-c", code], **docker.environ, BASE_IMAGE=BASE)
    return done.stdout.splitlines()[-1]


def ask(docker, name, path, body=""):
    done = docker.run("exec", name, "python", "-c", ASK, path, body, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def test_it_runs_without_network_rights_and_a_writable_disk(docker, image, project, tmp_path):
    words = ["--detach", "--network=none", "--read-only", "--cap-drop=ALL", "--name=served"]
    docker.run("run", *words, image)
    deadline = time.monotonic() + SECONDS
    while not ask(docker, "served", "/health"):
        assert time.monotonic() < deadline, docker.run("logs", "served").stderr
        time.sleep(0.1)
    user = docker.run("inspect", "--format={{.Config.User}}", "served").stdout.strip()
    assert user == "1000:1000"
    status, headers, body = ask(docker, "served", "/predict", json.dumps({"instances": [BIRD]}))
    assert (status, headers["x-model-runtime"]) == (200, "onnxruntime")
    (tmp_path / "bird.json").write_text(json.dumps(BIRD), encoding="utf-8")
    command = ["scripts/predict.py", "--model", "runs/one/model", tmp_path / "bird.json"]
    printed = project.run(["python", *command]).stdout
    assert json.loads(body)["predictions"] == [json.loads(printed)]

    docker.run("stop", "--time=30", "served")

    assert docker.run("wait", "served").stdout.strip() == "0"
    log = docker.run("logs", "served")
    assert json.loads(log.stdout.splitlines()[-1])["status"] == 200
    assert "Traceback" not in log.stderr
    docker.run("rm", "served")


def test_serve_py_runs_it_and_leaves_no_container(docker, image, project):
    """The stand-in's containers have no network, so the request comes from inside."""
    environ = {**os.environ, **docker.environ, "BASE_IMAGE": BASE}
    command = [sys.executable, "scripts/serve.py", "runs/one", "--container"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen(command, cwd=project.path, env=environ, **pipes)
    try:
        deadline = time.monotonic() + SECONDS
        while not (names := docker.run("ps", "--format={{.Names}}").stdout.split()) or not ask(
            docker, names[0], "/health"
        ):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        [published] = json.loads(docker.run("inspect", names[0]).stdout)
        bindings = published["HostConfig"]["PortBindings"]
        assert bindings == {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}
        assert published["Config"]["Image"] == image  # it was not built again
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
    assert "page: http://127.0.0.1:8080/" in process.stdout.read()
    assert docker.run("ps", "-aq").stdout == ""


def test_it_has_no_tensorflow_and_no_trainer(docker, image):
    code = "import importlib.util as u; print([n for n in ('tensorflow', 'pyarrow', 'trainer', 'launcher') if u.find_spec(n)])"  # fmt: skip
    done = docker.run("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", code)
    assert done.stdout == "[]\n"


def test_the_image_names_what_the_extra_of_setup_py_names(bake):
    """It takes no part of setup.py, which has TensorFlow; so the names stand in both."""
    for problem, more in {"tabular": set(), "image": {"pillow"}, "series": set()}.items():
        project = bake(problem=problem)
        [names] = re.findall(r"-c constraints.txt \\\n +(.+)", project.read("Dockerfile.serving"))
        serve = re.search(r"^SERVE = \[(.*?)^\]", project.read("setup.py"), re.M | re.S)[1]
        extra = set(re.findall(r'"([a-z]+)[<>=]', serve))
        assert set(names.replace("${RUNTIME}", "onnxruntime").split()) == extra | {"numpy"} | more


def test_the_dockerfile_is_clean(bake):
    hadolint = shutil.which("hadolint", path=os.path.dirname(sys.executable))
    if sys.platform == "win32":
        pytest.skip("there is no hadolint for Windows")
    command = [hadolint, bake().path / "Dockerfile.serving"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
