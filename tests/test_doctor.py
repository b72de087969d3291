"""The doctor of a bake in a bare Python; and its cloud's setup by the real gcloud, on stand-ins.

What gcloud sends is answered in the API's own shapes: so its words, flags and answers are proven,
and that a second run sends no change. Permissions, quotas and the time that Google takes are not.
"""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import time

import pytest

from conftest import ROOT
from standins.proxy import Proxy, Response

ANSWERS = {"gcp_project": "my-lab-4711", "gcs_bucket": "lab-runs", "gcp_region": "europe-west4"}
ACCOUNT = "trainer@my-lab-4711.iam.gserviceaccount.com"
BUDGETS = "billingbudgets.googleapis.com"  # the one API that gcloud lets nobody point elsewhere
needs_gcloud = pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")


def load_standin():
    """tests/launcher/cloud_standin.py, which the tests in a bake import."""
    path = ROOT / "tests/launcher/cloud_standin.py"
    spec = importlib.util.spec_from_file_location("cloud_standin", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cloud_standin = load_standin()


class Budgets:
    """The budgets of a billing account, for a Proxy."""

    def __init__(self):
        self.made = []

    def __call__(self, request):
        answer = {"budgets": self.made}
        if request.method == "POST":
            answer = {**json.loads(request.body), "name": "billingAccounts/0A/budgets/1"}
            self.made.append(answer)
        return Response(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


@pytest.fixture
def lab(bake):
    """A bake with a cloud project, and where gcloud and the doctor find that project."""
    project = bake(fresh=True, **ANSWERS)
    path = project.path / "project.yaml"
    text = path.read_text(encoding="utf-8").replace(
        'service_account: ""', f'service_account: "{ACCOUNT}"'
    )
    path.write_text(text, encoding="utf-8")
    budgets = Budgets()
    with cloud_standin.Google("my-lab-4711") as google, Proxy({BUDGETS: budgets}) as proxy:
        google.enabled = set()
        trust = {"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(proxy.trust)}
        project.environ = {**proxy.environ(), **google.environ(), **trust}
        project.google, project.proxy, project.budgets = google, proxy, budgets
        yield project


def examine(lab):
    """The doctor's checks: [{"name", "state", "remedies", …}]"""
    command = ["python", "-c", cloud_standin.doctor_script(), "--json"]
    environ = {**lab.environ, "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}
    return json.loads(lab.run(command, check=False, **environ).stdout)["checks"]


@pytest.mark.parametrize("answers", [{}, ANSWERS], ids=["no cloud", "cloud"])
def test_the_doctor_needs_nothing(bake, answers, tmp_path):
    project = bake(**answers)
    start = time.monotonic()
    bare = {"PATH": "", "HOME": str(tmp_path), "NO_GCE_CHECK": "true"}
    done = project.run(["python", "-I", "-S", "scripts/doctor.py", "--json"], check=False, **bare)
    assert time.monotonic() - start < 30  # it waits for no network
    assert (done.returncode, done.stderr) == (1, "")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["python"]["state"] == "ok"
    assert checks["packages"]["remedies"][-1].endswith('pip install -e ".[dev]" -c constraints.txt')


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.7", "3.8", "3.9"])
def test_an_old_python_learns_that_it_is_one(bake, version):
    old = shutil.which(f"python{version}")
    if not old or subprocess.run([old, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no Python {version} here")
    done = bake().run([old, "scripts/doctor.py"], check=False)
    first = done.stdout.splitlines()[0]
    assert (done.returncode, done.stderr) == (1, "")
    assert first.startswith("wrong    python") and version in first and "3.10" in first


@needs_gcloud
@pytest.mark.slow
def test_gcloud_sets_up_all_of_it_and_only_once(lab):
    out = lab.run(["python", "scripts/setup_cloud.py", "--apply"], **lab.environ).stdout
    assert "9 changes" in out
    google = lab.google
    assert len(google.changes()) == 8  # and the budget
    bucket = google.buckets["lab-runs"]
    assert bucket["location"] == "EUROPE-WEST4"
    assert bucket["iamConfiguration"]["uniformBucketLevelAccess"] == {"enabled": True}
    assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
    rule = {"action": {"type": "Delete"}, "condition": {"age": 30, "matchesPrefix": ["scratch/"]}}
    assert bucket["lifecycle"] == {"rule": [rule]}
    assert google.repositories == {"my-research": {"format": "DOCKER"}}
    assert list(google.accounts) == [ACCOUNT]
    held = {on: {b["role"] for b in policy["bindings"]} for on, policy in google.policies.items()}
    assert held == {
        "lab-runs": {"roles/storage.objectUser", "roles/storage.legacyBucketReader"},
        "my-lab-4711": {"roles/logging.logWriter"},
    }
    (budget,) = lab.budgets.made
    assert budget["amount"]["specifiedAmount"]["units"] == "100"
    assert [rule["thresholdPercent"] for rule in budget["thresholdRules"]] == [0.5, 0.9, 1, 1]

    google.requests.clear()
    sent = len(lab.proxy.requests)
    out = lab.run(["python", "scripts/setup_cloud.py", "--apply"], **lab.environ).stdout
    assert "0 changes" in out
    assert google.changes() == []
    assert [
        method for method, *_ in lab.proxy.requests[sent:] if method not in ("GET", "CONNECT")
    ] == []
    assert lab.proxy.leaks == []

    checks = examine(lab)
    states = {check["name"]: check["state"] for check in checks}
    for name in ("gcloud", "project", "billing", "APIs", "bucket", "images", "service account"):
        assert states[name] == "ok", checks


@needs_gcloud
@pytest.mark.soak  # tests/launcher looks up each of them in gcloud's own table of its commands
def test_every_printed_command_is_one_that_gcloud_has(lab):
    """Of the doctor with everything missing or forbidden, and of the setup."""
    google = lab.google
    lines = []

    def doctor():
        lines.extend(remedy for check in examine(lab) for remedy in check["remedies"])

    google.billing = ""
    doctor()  # nothing is there
    google.buckets["lab-runs"] = {"location": "EUROPE-WEST4"}
    google.repositories["my-research"] = {"format": "DOCKER"}
    google.accounts[ACCOUNT] = {"disabled": True}
    doctor()
    google.faults = {":batchGet": (403, "nobody", ""), "v1/b/": (403, "nobody", "")}
    doctor()
    lines += lab.run(["python", "scripts/setup_cloud.py"], **lab.environ).stdout.splitlines()
    words = [shlex.split(line)[1:] for line in lines if line.startswith("gcloud ")]
    plain = {" ".join(w for w in line if not w.startswith("--")) for line in words}
    # One of each kind: the first four words name the command.
    kinds = {tuple(line.split()[:4]): line.split() for line in plain}
    assert len(kinds) >= 11
    assert not [" ".join(line) for line in kinds.values() if not helps(line, lab.environ)]
    assert not helps(["storage", "buckets", "crate", "gs://lab-runs"], lab.environ)


def helps(words, environ):
    """Whether gcloud has help for these words; the names behind a command do not disturb it."""
    command = ["gcloud", *words, "--help"]
    done = subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True)
    return done.returncode == 0
