"""The image is built and pushed by a real Docker daemon, to a registry of the tests' own."""

import os
from unittest import mock

import pytest

from cloud_lab import PROJECT, REGION
from standins import docker as standin
from standins.proxy import Proxy
from standins.registry import Registry

pytestmark = pytest.mark.slow

HOST = f"{REGION}-docker.pkg.dev"
# The true one starts from an image that this machine cannot fetch; see test_container.py.
SMALL = "FROM scratch\nARG EXTRAS=\nCOPY trainer trainer\nLABEL extras=$EXTRAS\n"


@pytest.fixture(scope="module")
def registry():
    if why := standin.missing():
        pytest.skip(why)
    return Registry()


@pytest.fixture(scope="module")
def docker(registry):
    with Proxy({HOST: registry}) as proxy:
        environ = {**proxy.environ(), "HOME": str(proxy.folder.name)}  # nobody is logged in there
        with mock.patch.dict(os.environ, environ), standin.Docker() as daemon:
            yield daemon
        assert proxy.leaks == []


@pytest.fixture
def lab(lab, docker):
    lab.cloud.images = False
    (lab.project.path / "Dockerfile").write_text(SMALL, encoding="utf-8")
    yield lab
    lab.project.run(["git", "checkout", "-q", "Dockerfile", "trainer"])


def send(lab, docker, capfd, *words, code=0):
    """Docker writes to the terminal itself, past Python's own streams."""
    before = len(lab.cloud.jobs.sent)
    done = lab.run("train_cloud", *words, **docker.environ)
    printed = capfd.readouterr()
    assert done.code == code, f"{done.out}{done.err}{printed.out}{printed.err}"
    return done, [message["jobSpec"] for _, message in lab.cloud.jobs.sent[before:]]


def image_of(spec):
    return spec["workerPoolSpecs"][0]["containerSpec"]["imageUri"].removeprefix(f"{HOST}/")


def test_an_image_is_built_pushed_and_named_after_its_sources(lab, docker, registry, capfd):
    done, [spec] = send(lab, docker, capfd, "configs/smoke.yaml")
    name = image_of(spec)
    assert name.startswith(f"{PROJECT}/penguin-lab/penguin-lab:") and name in registry.manifests
    assert f"image: pushing {HOST}/{name}" in done.out
    config = registry.config(name)
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["Labels"] == {"extras": ""}
    built = set(docker.run("images", "-q").stdout.split())

    # A commit alone changes no image, nor does a folder that is not in it.
    lab.project.run(["git", "commit", "-q", "--allow-empty", "-m", "Nothing"])
    _, [spec] = send(lab, docker, capfd, "configs/cpu.yaml")
    assert image_of(spec) == name
    assert set(docker.run("images", "-q").stdout.split()) == built

    # For a GPU it is another one; and so it is when the trainer changes.
    _, [spec] = send(lab, docker, capfd, "configs/gpu.yaml")
    assert registry.config(image_of(spec))["config"]["Labels"] == {"extras": "[gpu]"}
    with (lab.project.path / "trainer" / "model.py").open("a", encoding="utf-8") as file:
        file.write("\n# tried\n")
    _, [spec] = send(lab, docker, capfd, "configs/smoke.yaml")
    assert image_of(spec) != name and len(registry.manifests) == 3


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        ((401, "UNAUTHORIZED", "unauthenticated"), f"gcloud auth configure-docker {HOST}"),
        (
            (403, "DENIED", "Permission denied on repository"),
            "to grant roles/artifactregistry.writer: gcloud artifacts repositories "
            "add-iam-policy-binding penguin-lab",
        ),
    ],
)
def test_a_push_that_is_refused_starts_no_job(lab, docker, registry, capfd, refusal, told):
    with (lab.project.path / "trainer" / "model.py").open("a", encoding="utf-8") as file:
        file.write(f"\n# {refusal[0]}\n")
    with mock.patch.object(registry, "refuses", refusal):
        done, jobs = send(lab, docker, capfd, "configs/smoke.yaml", code=2)
    assert told in done.err and "Traceback" not in done.err and jobs == []


def test_a_build_that_fails_starts_no_job(lab, docker, capfd):
    (lab.project.path / "Dockerfile").write_text("FROM scratch\nCOPY absent .\n", encoding="utf-8")
    done, jobs = send(lab, docker, capfd, "configs/smoke.yaml", code=2)
    assert "docker build failed with exit code 1" in done.err and jobs == []
