"""The doctor: in a bare Python, offline, against a stand-in of Google Cloud with one thing wrong."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cloud_standin import LIMITS, TOKEN, Google, doctor_script
from commands import exists
from conftest import ROOT
from google.oauth2.credentials import Credentials

from launcher.cloud import clients
from launcher.doctor import checkup, quota
from launcher.doctor import local as doctor_local
from launcher.doctor.cloud import Cloud, check_gcloud
from launcher.project.gcp import job_roles
from launcher.project.settings import Settings

pytestmark = pytest.mark.slow

PROJECT, BUCKET, REGION = "my-lab-4711", "lab-runs", "europe-west4"
ACCOUNT = f"trainer@{PROJECT}.iam.gserviceaccount.com"
SETTINGS = Settings(PROJECT, REGION, BUCKET, "images", ACCOUNT)
CLOUD = {"credentials", "project", "billing", "APIs", "bucket", "images"}
CLOUD |= {"service account", "quota", "endpoints"}  # what needs the network
NO_LOGIN = {"CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true"}  # and none is needed
posix = pytest.mark.skipif(os.name == "nt", reason="its programs are shell scripts")


@pytest.fixture(autouse=True)
def nobody(tmp_path, monkeypatch):
    """No login, no settings and no service of this machine, and time enough."""
    for name, seconds in LIMITS.items():
        monkeypatch.setattr(checkup, name, seconds)
    for name in list(os.environ):
        if name.startswith(("CLOUDSDK_", "GOOGLE_", "GCE_", "GCLOUD_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "gcloud"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.fixture
def repo(project) -> Path:
    """A copy of this repo whose cloud part is filled in."""
    for name in ("setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, project / name)
    text = (ROOT / "project.yaml").read_text(encoding="utf-8")
    values = {
        "project": PROJECT,
        "region": REGION,
        "bucket": BUCKET,
        "image_repository": "images",
        "service_account": ACCOUNT,
        "tensorboard": "",
    }
    for key, value in values.items():
        text = re.sub(rf'(?m)^  {key}: ".*"', f'  {key}: "{value}"', text)
    (project / "project.yaml").write_text(text, encoding="utf-8")
    return project


@pytest.fixture
def google(monkeypatch):
    """A stand-in in which nothing is wrong."""
    with Google(PROJECT) as google:
        region = {"location": REGION.upper(), "locationType": "region"}
        uniform = {"iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
        google.buckets[BUCKET] = {**region, **uniform}
        google.repositories["images"] = {"format": "DOCKER"}
        google.accounts[ACCOUNT] = {}
        for role in job_roles(SETTINGS):
            name = {"bucket": BUCKET, "project": PROJECT}[role.on]
            policy = google.policies.setdefault(name, {"bindings": []})
            policy["bindings"].append({"role": role.name, "members": [f"serviceAccount:{ACCOUNT}"]})
        google.quota = dict.fromkeys(quota.list_needs(configs()), {"": 1000})
        for name, value in {**google.environ(), **NO_LOGIN}.items():
            monkeypatch.setenv(name, value)
        yield google


def look(name: str) -> checkup.Finding:
    """The finding of one check of the cloud."""
    return checkup.Check(name, Cloud(SETTINGS).checks()[name]).run()


def configs() -> list[Path]:
    return sorted((ROOT / "configs").glob("*.yaml"))


def doctor(
    repo: Path, *flags: str, python=(sys.executable,), code=None, limits=None, **environ
) -> str:
    """Run scripts/doctor.py; return what it printed, and no traceback."""
    done = subprocess.run(
        [*python, "-c", doctor_script(**(limits or {})), *flags],
        cwd=repo,
        env={**os.environ, **environ},
        capture_output=True,
        encoding="utf-8",
        timeout=180,
    )
    assert done.stderr == ""
    assert code in (None, done.returncode), done.stdout
    return done.stdout


def find(repo: Path, *flags: str, **options) -> dict[str, dict]:
    """The findings, by their names; "" is the whole answer."""
    answer = json.loads(doctor(repo, "--json", *flags, **options))
    assert all(exists(remedy) for check in answer["checks"] for remedy in check["remedies"])
    return {check["name"]: check for check in answer["checks"]} | {"": answer}


def test_a_bare_python_learns_what_to_install(repo):
    answer = find(repo, python=(sys.executable, "-I", "-S"), code=1, PATH="")
    assert answer[""]["local"] is False
    assert answer["packages"]["state"] == "wrong"
    assert answer["packages"]["remedies"][-1].endswith(
        '-m pip install -e ".[dev]" -c constraints.txt'
    )
    assert "pyyaml" in answer["packages"]["text"]
    project = answer["project.yaml"]
    assert project["state"] == "skipped" and "pyyaml" in project["text"]
    assert answer["git"]["state"] == answer["docker"]["state"] == "warn"


def test_its_lines_are_for_people(repo):
    lines = doctor(repo, python=(sys.executable, "-I", "-S"), code=1, PATH="").splitlines()
    assert lines[-2:] == [
        "local work: not ready: look at what is wrong or skipped above",
        "cloud jobs: not ready: look at what is wrong or skipped above",
    ]
    lines = [line for line in lines[:-2] if line.strip()]
    states = ("ok ", "warn ", "wrong ", "skipped ", "in the cloud", " " * 26 + "run")
    assert all(line.startswith(states) for line in lines)
    assert sum("pip install" in line for line in lines) == 1


@posix
def test_whoever_reads_its_first_line_alone_sees_no_traceback(repo):
    command = f"{sys.executable} -I -S scripts/doctor.py | head -1"
    done = subprocess.run(command, shell=True, cwd=repo, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("ok       python")


def test_what_runs_before_all_is_plain_enough_for_an_old_python():
    ast.parse((ROOT / "scripts/doctor.py").read_text(encoding="utf-8"), feature_version=(3, 4))


def test_the_pythons_are_those_of_setup_py():
    (oldest, newest) = doctor_local.PYTHONS
    wanted = ">={}.{},<{}.{}".format(*oldest, newest[0], newest[1] + 1)
    assert doctor_local.read_setup()["python_requires"] == wanted


def test_without_a_cloud_project_no_request_is_sent(repo, google):
    shutil.copy(ROOT / "project.yaml", repo)
    text = (repo / "project.yaml").read_text(encoding="utf-8")
    text = re.sub(r'(?m)^  project: ".*"', '  project: ""', text)
    (repo / "project.yaml").write_text(text, encoding="utf-8")
    answer = find(repo)
    project = answer["project.yaml"]
    assert project["state"] == "skipped" and "gcp.project" in project["text"]
    assert not google.requests
    doctor(repo, "--cloud", code=1)


def test_offline_the_cloud_is_skipped_and_local_work_is_fine(repo, google):
    google.shutdown()
    google.server_close()  # nobody listens there now
    for name in CLOUD - {"credentials", "service account"}:
        finding = look(name)
        assert finding.state == "skipped" and "offline" in finding.text, finding
    assert re.search("skipped +project +offline", doctor(repo))
    doctor(repo, "--cloud", code=1)


def test_a_cloud_that_accepts_and_never_answers_is_given_up_in_time(repo, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SERVICEUSAGE", address)
        answer = find(repo, limits={"ANSWER_SECONDS": 0.5}, **NO_LOGIN)
        assert "offline" in answer["project"]["text"]
        answer = find(repo, limits={"ALL_SECONDS": 2}, **NO_LOGIN)
        assert answer["project"]["text"] == "no answer in 2 s"


@posix
def test_programs_that_hang_are_given_up_in_time_and_leave_nothing(repo, google, tmp_path):
    pids = tmp_path / "pids"
    for name in ("git", "docker", "gcloud", "nvidia-smi"):
        script(name, f"echo $$ >> {pids}; exec sleep 600")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    answer = find(repo, limits={"COMMAND_SECONDS": 3}, PATH=path)
    for name in ("git", "docker", "gcloud", "gpu"):
        assert answer[name]["state"] == "skipped" and "no answer" in answer[name]["text"]
    assert len(pids.read_text().split()) == 4
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids.read_text().split())):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def script(name: str, body: str) -> None:
    """A program on PATH, in front of the real one."""
    path = Path("bin") / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


# --- the first day ---


@pytest.fixture
def first_day(repo):
    """Do the first day in a repo with one small test; return {step: (mark, text, remedy)}."""
    (repo / "tests").mkdir()
    (repo / "tests/test_one.py").write_text("def test_one():\n    pass\n", encoding="utf-8")

    def run(code, python=(sys.executable,), **environ):
        lines = doctor(repo, "--first-day", python=python, code=code, **environ).splitlines()
        steps, remedies = {}, []
        for line in lines[:-2]:
            if line.startswith(" "):
                remedies.append(line.strip().removeprefix("run: "))
            else:
                mark, name, text = line.split(None, 2)
                steps[name] = (mark, text, remedies := [])
        assert all(exists(remedy) for step in steps.values() for remedy in step[2])
        return steps

    return run


def test_on_the_first_day_all_is_really_done(repo, first_day):
    steps = first_day(0, **NO_LOGIN)
    names = ["clone", "environment", "training", "report", "tests", "sign-in", "data"]
    assert list(steps) == names
    assert {steps[name][0] for name in names[1:]} == {"✔"}, steps
    assert steps["clone"][0] == "!" and steps["clone"][2][0] == "git init"
    assert Path(steps["report"][1].removeprefix("open file://")).is_file()
    assert steps["tests"][1].startswith("1 passed")


def test_on_the_first_day_what_fails_names_its_command(repo, first_day):
    (repo / "trainer/model.py").write_text("nonsense", encoding="utf-8")
    (repo / "tests/test_one.py").write_text("def test_one():\n    assert 0\n", encoding="utf-8")
    (repo / "data/MANIFEST.csv").write_text(
        "path,size,crc32c\na.csv,3,AAAAAA==\n", encoding="utf-8"
    )
    steps = first_day(1)
    remedies = {name: remedies for name, (mark, _, remedies) in steps.items() if mark == "✘"}
    assert remedies == {
        "training": ["python scripts/train_local.py configs/smoke.yaml"],
        "tests": ["python -m pytest"],
        "sign-in": [clients.LOGIN],
        "data": ["python scripts/data.py pull"],
    }
    assert steps["data"][1] == "data/raw/a.csv is missing" and steps["report"][0] == "-"


def test_the_first_day_ends_where_nothing_is_installed(first_day):
    steps = first_day(1, python=(sys.executable, "-I", "-S"), PATH="")
    assert list(steps) == ["clone", "environment"] and "pip install" in steps["environment"][2][-1]


# --- what local work needs ---


@pytest.mark.parametrize(
    ("program", "body", "check", "state", "words", "remedy"),
    [
        ("docker", "echo 28.1", "docker", "ok", "daemon 28.1", ""),
        ("docker", "echo permission denied >&2; exit 1", "docker", "warn", "may not", "usermod"),
        ("docker", "echo no daemon >&2; exit 1", "docker", "warn", "does not answer", ""),
        ("nvidia-smi", "echo 'L4, 550.90.07'", "gpu", "warn", "CUDA", "[dev,gpu]"),
        ("nvidia-smi", "echo 'T4, 470.1'", "gpu", "warn", "470.1: too old", ""),
        ("nvidia-smi", "echo no driver; exit 9", "gpu", "warn", "no driver", ""),
        ("nvidia-smi", "echo", "gpu", "warn", "fails", ""),
        ("git", "echo fatal: not a git repository >&2; exit 128", "git", "warn", "not a git", "git init"),
        ("git", "echo fatal: detected dubious ownership >&2; exit 128", "git", "warn", "dubious", ""),
        ("git", "echo fatal: Needed a single revision >&2; exit 128", "git", "warn", "no commit", "commit"),
    ],
)  # fmt: skip
@posix
def test_programs_of_this_machine(monkeypatch, program, body, check, state, words, remedy):
    script(program, body)
    monkeypatch.setenv("PATH", f"{Path('bin').absolute()}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(doctor_local, "installed", lambda name: "")
    finding = checkup.Check(check, doctor_local.CHECKS[check]).run()
    assert (finding.state, words in finding.text) == (state, True), finding
    assert remedy in " ".join(finding.remedies)
    assert all(map(exists, finding.remedies))


def test_a_version_that_does_not_fit_is_named(monkeypatch):
    monkeypatch.setattr(
        doctor_local, "installed", lambda name: "2.17.0" if name == "tensorflow" else "2.1"
    )
    finding = checkup.Check("packages", doctor_local.check_packages).run()
    assert finding.state == "wrong" and "2.17.0 does not fit tensorflow>=2.20,<2.22" in finding.text


def test_setup_py_is_read_as_it_is_installed():
    names = [re.match(r"[\w-]+", text)[0] for text in doctor_local.requirements()]
    assert "tensorflow" in names and "pyyaml" in names and len(names) > 5
    assert all(doctor_local.installed(name) for name in names)
    assert doctor_local.check_packages()[0] == "ok"


# --- what cloud jobs need: one thing wrong at a time ---


def fault(part: str, status: int, message: str, reason: str = ""):
    return lambda google: google.faults.update({part: (status, message, reason)})


def lacks(kind: str):
    return lambda google: getattr(google, kind).clear()


def add_conditions(google) -> None:
    for policy in google.policies.values():
        for binding in policy["bindings"]:
            binding["condition"] = {"title": "until noon"}


def holds(kind: str, name: str, **values):
    return lambda google: getattr(google, kind)[name].update(values)


@pytest.mark.parametrize(
    ("change", "check", "state", "words", "remedy"),
    [
        (None, "project", "ok", PROJECT, ""),
        (None, "billing", "ok", "pays", ""),
        (None, "APIs", "ok", "aiplatform", ""),
        (None, "bucket", "ok", f"gs://{BUCKET} in {REGION}", ""),
        (None, "images", "ok", f"{REGION}-docker.pkg.dev/{PROJECT}/images", ""),
        (None, "service account", "ok", "has its roles", ""),
        (None, "quota", "ok", "enough", ""),
        (fault(":batchGet", 403, "Permission denied"), "project", "wrong", "lacks roles/viewer", "--role=roles/viewer"),
        (fault(":batchGet", 403, "requires a quota project"), "project", "wrong", "belong to no project", "set-quota-project"),
        (fault(":batchGet", 401, "expired"), "project", "wrong", "not let in", "login"),
        (fault(":batchGet", 403, "off", "SERVICE_DISABLED"), "APIs", "wrong", "serviceusage, is switched off", "services enable serviceusage"),
        (lambda google: setattr(google, "enabled", {"iam.googleapis.com"}), "APIs", "wrong", "aiplatform", "services enable aiplatform"),
        (lambda google: setattr(google, "billing", ""), "billing", "wrong", "no billing", "billing projects link"),
        (fault("billingInfo", 403, "denied"), "billing", "skipped", "denied", ""),
        (lacks("buckets"), "bucket", "wrong", "not found", "setup_cloud.py"),
        (fault("v1/b/", 403, "Permission denied"), "bucket", "wrong", "lacks roles/storage.legacyBucketReader", "gs://lab-runs"),
        (holds("buckets", BUCKET, location="US-EAST1"), "bucket", "wrong", f"is in us-east1, jobs run in {REGION}", ""),
        (holds("buckets", BUCKET, location="EU", locationType="multi-region"), "bucket", "ok", "in eu", ""),
        (holds("buckets", BUCKET, location="US", locationType="multi-region"), "bucket", "wrong", "is in us", ""),
        (holds("buckets", BUCKET, location="EUR4", locationType="dual-region"), "bucket", "ok", "in eur4", ""),
        (lacks("repositories"), "images", "wrong", "images was not found", "setup_cloud.py"),
        (fault("/repositories/", 403, "off", "SERVICE_DISABLED"), "images", "wrong", "switched off", "services enable artifactregistry"),
        (lacks("accounts"), "service account", "wrong", "not found", "setup_cloud.py"),
        (holds("accounts", ACCOUNT, disabled=True), "service account", "wrong", "disabled", "service-accounts enable"),
        (fault("/serviceAccounts/", 403, "off", "SERVICE_DISABLED"), "service account", "wrong", "switched off", "services enable iam"),
        (lacks("policies"), "service account", "warn", "legacyBucketReader", "setup_cloud.py"),
        (add_conditions, "service account", "warn", "legacyBucketReader", "setup_cloud.py"),
        (fault(":getIamPolicy", 403, "denied"), "service account", "ok", "may not be read", ""),
        (lambda google: google.quota.update(cpus={"": 4}), "quota", "warn", "cpus, quota 4", ""),
        (lacks("quota"), "quota", "skipped", "no quota may be read", ""),
        (fault("", 500, "backend"), "quota", "skipped", "backend", ""),
    ],
)  # fmt: skip
def test_one_thing_is_wrong(google, change, check, state, words, remedy):
    if change:
        change(google)
    finding = look(check)
    assert (finding.state, words in finding.text) == (state, True), finding
    assert remedy in " ".join(finding.remedies) and bool(remedy) == bool(finding.remedies)
    assert all(map(exists, finding.remedies)), finding.remedies
    assert TOKEN not in str(finding)
    assert not google.changes()


def test_all_is_well(repo, google):
    """What else may be wrong is not of the cloud, or of what is installed here."""
    answer = find(repo)
    states = {name: answer[name]["state"] for name in dict.fromkeys(answer) if name}
    elsewhere = (
        "python",
        "packages",
        "disk",
        "gpu",
        "git",
        "docker",
        "gcloud",
    )
    assert set(states) == {*elsewhere, *CLOUD, "project.yaml"}
    assert all(state == "ok" for name, state in states.items() if name not in elsewhere), answer
    assert "authorization" not in google.headers  # as that variable asks


def test_wrong_values_are_named_with_their_line(repo):
    text = (repo / "project.yaml").read_text(encoding="utf-8")
    for hostile in ("x; rm -rf ~", "gs://lab", "'\\\"$(id)"):
        changed = re.sub(
            r'(?m)^  bucket: ".*"', lambda _, v=hostile: f"  bucket: {json.dumps(v)}", text
        )
        (repo / "project.yaml").write_text(changed, encoding="utf-8")
        checks = json.loads(doctor(repo, "--json", "--cloud", code=1))["checks"]
        (check,) = [c for c in checks if c["where"] == "cloud"]
        assert check["state"] == "wrong"
        assert re.search(r"project\.yaml:\d+: gcp\.bucket", check["text"])


# --- logins ---


def credentials(**content) -> Path:
    path = Path("credentials.json").absolute()
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


URL = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
FEDERATED = {
    "audience": "//iam",
    "subject_token_type": "jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
}
FEDERATED["credential_source"] = {"file": "token"}
USER = {"client_id": "id", "client_secret": "secret", "refresh_token": "refresh"}
USER["type"] = "authorized_user"
ADA = {**USER, "account": "ada@lab.org"}


@pytest.mark.parametrize(
    ("content", "who", "member"),
    [
        ({**USER, "account": "ada@lab.org"}, "user ada@lab.org", "user:ada@lab.org"),
        ({**USER, "account": ""}, "user of unknown name", clients.UNKNOWN),
        ({"type": "impersonated_service_account", "source_credentials": USER, "service_account_impersonation_url": f"{URL}{ACCOUNT}:generateAccessToken"}, f"service account {ACCOUNT}", f"serviceAccount:{ACCOUNT}"),
        ({"type": "external_account", **FEDERATED}, "federated identity of unknown name", clients.UNKNOWN),
        ({"type": "external_account", **FEDERATED, "service_account_impersonation_url": f"{URL}{ACCOUNT}:generateAccessToken"}, f"service account {ACCOUNT}", f"serviceAccount:{ACCOUNT}"),
    ],
)  # fmt: skip
def test_whose_credentials_these_are(monkeypatch, content, who, member):
    path = credentials(**content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)  # else google.auth asks Google for it
    whose = clients.identify(clients.load_credentials())
    assert (str(whose), whose.member) == (f"{who} ({path})", member)


def test_google_says_whose_a_token_is(monkeypatch):
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            requests.append((self.path, body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"email": "ada@lab.org"}')

        def log_message(self, *_):
            pass

    with serving(Handler) as address:
        monkeypatch.setattr(clients, "TOKEN_INFO", address)
        whose = clients.identify(Credentials("t0ken"))
    assert (str(whose), whose.member) == ("user ada@lab.org", "user:ada@lab.org")
    assert requests == [("/", "access_token=t0ken")]  # not in the address, which is logged


def test_nobody_is_logged_in(google, monkeypatch):
    """A login of gcloud is none of the programs."""
    monkeypatch.delenv("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")
    finding = look("credentials")
    assert (finding.state, finding.text) == ("wrong", "nobody is logged in")
    assert finding.remedies == (clients.LOGIN,) and exists(clients.LOGIN)
    finding = look("bucket")
    assert (finding.state, finding.text) == ("skipped", "see credentials")


@pytest.fixture
def tokens(google, monkeypatch):
    """A user's login, and what Google answers when it asks for a token: [status, JSON]."""
    answer = [200, {"access_token": "t0ken", "expires_in": 3600}]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_response(answer[0])
            self.end_headers()
            self.wfile.write(json.dumps(answer[1]).encode())

        def log_message(self, *_):
            pass

    monkeypatch.delenv("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")
    path = credentials(**ADA)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    with serving(Handler) as address:
        monkeypatch.setattr("google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT", address)
        yield answer


def test_the_login_is_that_of_the_clients(google, tokens):
    credentials(**ADA, quota_project_id="other-1")
    assert look("credentials").state == "ok"
    assert look("project").text == PROJECT
    assert google.headers["authorization"] == "Bearer t0ken"
    assert google.headers["x-goog-user-project"] == "other-1"


def test_a_login_that_google_takes_no_more(tokens):
    tokens[:] = 400, {"error": "invalid_grant", "error_description": "Reauthentication failed."}
    finding = look("credentials")
    assert finding.state == "wrong" and "Reauthentication failed" in finding.text
    # The variable would count before a new login.
    assert finding.remedies == ("unset GOOGLE_APPLICATION_CREDENTIALS", clients.LOGIN)


def test_without_googles_libraries_the_cloud_is_skipped(google, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.auth", None)
    finding = look("credentials")
    assert (
        finding.state == "wrong" and 'pip install -c constraints.txt -e ".[cloud]"' in finding.text
    )
    assert look("project").text == "see credentials"


def test_a_key_that_is_not_there_is_named(google, monkeypatch):
    monkeypatch.delenv("CLOUDSDK_AUTH_DISABLE_CREDENTIALS")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "nowhere/key.json")
    finding = look("credentials")
    assert finding.state == "wrong"
    assert "File nowhere/key.json was not found" in finding.text
    assert finding.remedies == ("unset GOOGLE_APPLICATION_CREDENTIALS", clients.LOGIN)


# --- requests ---


def serving(handler):
    """A server of one's own: gives its address."""

    class Serving:
        def __enter__(self):
            self.server = HTTPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
            return f"http://127.0.0.1:{self.server.server_port}/"

        def __exit__(self, *_):
            self.server.shutdown()
            self.server.server_close()

    return Serving()


def test_a_token_follows_no_redirect(google, monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", google.address)
            self.end_headers()

        def log_message(self, *_):
            pass

    with serving(Handler) as address:
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM", address)
        with pytest.raises(checkup.Wrong):
            Cloud(SETTINGS).ask("iam", "v1/x")
    assert not google.requests


def test_an_answer_that_is_no_json_is_no_answer(google, monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>log in to this hotel")

        def log_message(self, *_):
            pass

    with serving(Handler) as address:
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM", address)
        with pytest.raises(checkup.Skip, match="offline: "):
            Cloud(SETTINGS).ask("iam", "v1/x")


# --- quota ---


def test_what_the_configs_need():
    needs = quota.list_needs([ROOT / "configs" / "cpu.yaml"])
    assert needs == {"cpus": (4, ["cpu.yaml"])}


def test_needs_are_summed_over_pools_trials_and_kinds(tmp_path):
    pool = {
        "machineType": "n1-standard-8",
        "acceleratorType": "NVIDIA_TESLA_T4",
        "acceleratorCount": 2,
    }
    task = {"containerSpec": {"imageUri": "i"}}
    spec = {
        "workerPoolSpecs": [
            {"machineSpec": pool, "replicaCount": 1, **task},
            {"machineSpec": pool, "replicaCount": 3, **task},
        ],
        "scheduling": {"timeout": "60s", "strategy": "SPOT"},
    }
    study = {
        "metrics": [{"metricId": "m", "goal": "MINIMIZE"}],
        "parameters": [{"parameterId": "p", "doubleValueSpec": {"minValue": 0, "maxValue": 1}}],
    }
    job = {
        "displayName": "x",
        "maxTrialCount": 9,
        "parallelTrialCount": 2,
        "studySpec": study,
        "trialJobSpec": spec,
    }
    path = tmp_path / "job.yaml"
    path.write_text(json.dumps(job), encoding="utf-8")
    assert quota.list_needs([path]) == {
        "preemptible_cpus": (8 * 4 * 2, ["job.yaml"]),
        "preemptible_nvidia_t4_gpus": (2 * 4 * 2, ["job.yaml"]),
    }
    path.write_text("workerPoolSpecs: nonsense", encoding="utf-8")
    assert quota.list_needs([path]) == {}


@pytest.mark.parametrize(
    ("buckets", "limit"),
    [
        ([{"effectiveLimit": "4"}], 4),
        ([{"effectiveLimit": "4"}, {"effectiveLimit": "1", "dimensions": {"region": REGION}}], 1),
        ([{"effectiveLimit": "4", "dimensions": {"region": "us-east1"}}], None),
        ([{"dimensions": {"region": REGION}}], 0),
        ([], None),
    ],
)
def test_the_limit_of_a_region(buckets, limit):
    answer = {"consumerQuotaLimits": [{"quotaBuckets": buckets}]}
    assert quota.get_limit(answer, REGION) == limit


def test_an_endpoint_after_its_time_is_warned_of(google):
    assert look("endpoints").text == "paid for by the hour: none"
    google.endpoints = [
        {"displayName": name, "labels": {"until": until}, "deployedModels": models}
        for name, until, models in (
            ("early", "20990101-1200", [{"id": "2"}]),
            ("late", "20250101-1200", [{"id": "1"}]),
            ("empty", "20250101-1200", []),
        )
    ]
    finding = look("endpoints")
    assert finding.state == "warn" and finding.text.endswith(": late")
    assert [command.split(" ", 1)[1] for command in finding.remedies] == [
        "scripts/endpoints.py undeploy late"
    ]
    google.endpoints[1]["deployedModels"] = []
    assert look("endpoints").text == "paid for by the hour: early"


# --- the machinery ---


def test_a_check_that_breaks_says_so_and_stops_no_other():
    def broken():
        raise ZeroDivisionError("oh")

    checks = [checkup.Check("broken", broken), checkup.Check("good", lambda: ("ok", "fine"))]
    first, second = checkup.run(checks, seconds=60)
    assert first.state == "skipped" and "ZeroDivisionError" in first.text
    assert second.state == "ok"


def test_checks_run_side_by_side_and_end_in_time():
    everyone = threading.Barrier(8)

    def meet():
        everyone.wait(60)
        return "ok", "met"

    def slow():
        time.sleep(0.3)
        return "ok", "slow"

    met = checkup.run([checkup.Check("m", meet)] * 8, seconds=60)
    assert [finding.text for finding in met] == ["met"] * 8
    (late,) = checkup.run([checkup.Check("s", slow)], seconds=0.05)
    assert late.state == "skipped" and "no answer" in late.text


def test_what_a_program_says_is_one_line():
    assert checkup.one_line("a\n\x1b[31mb\tc") == "a [31mb c"
    assert len(checkup.one_line("x" * 999)) == 300


def test_a_missing_program_is_no_error_of_ours(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert check_gcloud()[0] == "wrong"
    assert doctor_local.check_gpu()[0] == "ok"


def test_a_repo_that_is_broken_brings_no_traceback(repo):
    (repo / "setup.py").write_text("setup(install_requires=[", encoding="utf-8")
    (repo / "project.yaml").write_text("gcp: [\n", encoding="utf-8")
    answer = find(repo, code=1)
    assert "setup.py cannot be read" in answer["packages"]["text"]
    assert (
        answer["project.yaml"]["state"] == "wrong" and "not YAML" in answer["project.yaml"]["text"]
    )
    (repo / "setup.py").unlink()
    (repo / "project.yaml").unlink()
    shutil.rmtree(repo / "configs")
    assert find(repo, code=1)["project.yaml"]["state"] == "wrong"


@posix
def test_on_the_wrong_python_another_is_named(monkeypatch):
    monkeypatch.setattr(doctor_local, "PYTHONS", ((3, 99), (3, 99)))
    script("uv", "")
    monkeypatch.setenv("PATH", str(Path("bin").absolute()))
    finding = checkup.Check("python", doctor_local.check_python).run()
    assert finding.state == "wrong" and ">=3.10" in finding.text
    assert finding.remedies[0] == "uv venv --python 3.12" and all(map(exists, finding.remedies))
    assert checkup.Check("packages", doctor_local.check_packages).run().state == "skipped"
