"""Setting up the cloud: what is printed, that it is done once, and what stops it.

gcloud is played by `fake_gcloud.py`, which keeps what is created, so that a second run meets it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import exists
from conftest import ROOT

from launcher.common.document import SpecError
from launcher.project import gcp
from launcher.project.settings import Settings, read_settings
from launcher.setup import create
from launcher.setup.create import set_up

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="its gcloud is a shell script"),
]

PROJECT, BUCKET, REGION = "my-lab-4711", "lab-runs", "europe-west4"
ACCOUNT = f"trainer@{PROJECT}.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
VALUES = {
    "project": PROJECT,
    "region": REGION,
    "bucket": BUCKET,
    "image_repository": "images",
    "service_account": ACCOUNT,
    "tensorboard": "",
}
SETTINGS = Settings(**VALUES, slug="penguins")


class Gcloud:
    """The fake one on PATH, and what it knows."""

    def __init__(self, folder: Path):
        self.path = folder / "state.json"
        program = folder / "bin" / "gcloud"
        program.parent.mkdir(parents=True)
        fake = Path(__file__).with_name("fake_gcloud.py")
        # -S: no site-packages to look through, so that it starts in 20 ms.
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{fake}" "$@"\n')
        program.chmod(0o755)
        self.set(
            log=[],
            faults=[],
            services=[],
            billing="billingAccounts/0A-0A",
            budgets=[],
            buckets={},
            repositories={},
            accounts={},
            bindings={},
        )

    @property
    def state(self) -> dict:
        return json.loads(self.path.read_text(encoding="utf-8"))

    def set(self, **values) -> None:
        state = self.state if self.path.exists() else {}
        self.path.write_text(json.dumps({**state, **values}), encoding="utf-8")

    def changes(self) -> list[list[str]]:
        """The commands that it got, without those that only look; forgets them all."""
        log = self.state["log"]
        self.set(log=[])
        looks = {"describe", "list", "get-iam-policy", "get-value"}
        return [words for words in log if not looks & set(words)]


@pytest.fixture
def gcloud(tmp_path, monkeypatch) -> Gcloud:
    for name in list(os.environ):
        if name.startswith(("CLOUDSDK_", "GOOGLE_")):
            monkeypatch.delenv(name)
    fake = Gcloud(tmp_path / "fake")
    monkeypatch.setenv("FAKE_GCLOUD", str(fake.path))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'fake' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return fake


@pytest.fixture
def repo(project) -> Path:
    fill(project, **VALUES)
    return project


def fill(repo: Path, **values: str) -> None:
    """Writes the cloud part of project.yaml."""
    path = repo / "project.yaml"
    text = (path if path.exists() else ROOT / "project.yaml").read_text(encoding="utf-8")
    for key, value in values.items():
        text, count = re.subn(
            rf"(?m)^  {key}: .*$", lambda _, k=key, v=value: f"  {k}: {json.dumps(v)}", text
        )
        assert count == 1
    path.write_text(text, encoding="utf-8")


def script(repo: Path, *flags: str, code: int = 0) -> tuple[str, str]:
    """Runs scripts/setup_cloud.py; returns what it printed, and its errors."""
    done = subprocess.run(
        [sys.executable, "scripts/setup_cloud.py", *flags],
        cwd=repo,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def setup(settings: Settings = SETTINGS, budget: float | None = 50, scratch: bool = True) -> None:
    set_up(create.Gcloud(apply=True), settings, budget, scratch)


def test_what_is_printed_is_what_is_done_and_only_once(repo, gcloud):
    printed = [line for line in script(repo)[0].splitlines() if line.startswith("gcloud ")]
    assert gcloud.state["log"] == []
    assert all(map(exists, printed))
    out, _ = script(repo, "--apply")
    done = [shlex.join(["gcloud", *words]) for words in gcloud.changes()]
    assert done == [line.replace("BILLING_ACCOUNT", "0A-0A") for line in printed]
    assert f"{len(done)} changes" in out
    before = gcloud.state
    out, _ = script(repo, "--yes")
    assert gcloud.changes() == [] and "0 changes" in out
    assert {**gcloud.state, "log": []} == {**before, "log": []}


def test_a_workbench_instance_stops_by_itself_and_is_made_once(repo, gcloud):
    printed, _ = script(repo, "--workbench")
    [command] = [line for line in printed.splitlines() if " workbench " in line]
    assert exists(command) and gcloud.state["log"] == []
    assert re.search(r"about \$0\.1\d+ an hour while it runs.*; stops after 60 idle min", printed)
    script(repo, "--apply", "--workbench")
    [(name, flags)] = gcloud.state["workbenches"].items()
    assert name.endswith("-notebook") and flags["--machine-type"] == "e2-standard-4"
    assert flags["--metadata"] == "idle-timeout-seconds=3600"
    assert flags["--labels"].startswith("project=")
    assert "notebooks.googleapis.com" in gcloud.state["services"]
    assert "0 changes" in script(repo, "--apply", "--workbench")[0]


def test_it_ends_with_what_a_job_needs_and_no_more(gcloud):
    setup()
    state = gcloud.state
    assert set(state["buckets"]) == {f"gs://{BUCKET}"}
    bucket = state["buckets"][f"gs://{BUCKET}"]
    assert (bucket["location"], bucket["uniform_bucket_level_access"]) == (REGION.upper(), True)
    rule = {"action": {"type": "Delete"}, "condition": {"age": 30, "matchesPrefix": ["scratch/"]}}
    assert bucket["lifecycle_config"] == {"rule": [rule]}
    assert state["repositories"] == {"images": {"format": "DOCKER"}}
    assert set(state["accounts"]) == {ACCOUNT}
    roles = {on: {b["role"] for b in bs} for on, bs in state["bindings"].items()}
    assert roles == {
        f"gs://{BUCKET}": {"roles/storage.objectUser", "roles/storage.legacyBucketReader"},
        PROJECT: {"roles/logging.logWriter"},
    }
    (budget,) = state["budgets"]
    assert budget["--budget-amount"] == "50.00"
    assert budget["--filter-projects"] == f"projects/{PROJECT}"


def test_a_tensorboard_needs_one_role_more(gcloud):
    name = f"projects/1/locations/{REGION}/tensorboards/2"
    setup(Settings(**{**VALUES, "tensorboard": name}), None)
    assert "roles/aiplatform.user" in {b["role"] for b in gcloud.state["bindings"][PROJECT]}


def test_without_a_budget_nobodys_bill_is_looked_at(repo, gcloud):
    out, _ = script(repo, "--apply", "--no-budget", "--no-scratch")
    assert "billing" not in out and "scratch" not in out
    assert not any("billing" in words for words in gcloud.state["log"])
    assert "cloudbilling.googleapis.com" not in gcloud.state["services"]
    assert "lifecycle_config" not in gcloud.state["buckets"][f"gs://{BUCKET}"]


@pytest.mark.parametrize("amount", ["0", "-5", "nan", "inf", "much"])
def test_a_budget_is_an_amount(repo, gcloud, amount):
    _, err = script(repo, f"--budget={amount}", code=2)
    assert "--budget" in err and not gcloud.state["log"]


def test_what_is_there_in_part_is_completed(gcloud):
    setup()
    state = gcloud.state
    state["services"].remove("iam.googleapis.com")
    state["buckets"][f"gs://{BUCKET}"]["uniform_bucket_level_access"] = False
    state["accounts"][ACCOUNT]["disabled"] = True
    state["bindings"][PROJECT] = [
        # Neither of these is the grant: one is another's, one need not hold.
        {"role": "roles/logging.logWriter", "members": ["user:ada@lab.org"]},
        {"role": "roles/logging.logWriter", "members": [MEMBER], "condition": {"title": "t"}},
    ]
    state["bindings"][f"gs://{BUCKET}"] = [{"role": "roles/storage.admin", "members": [MEMBER]}]
    gcloud.set(**state)
    gcloud.changes()
    setup()
    assert [words[:3] for words in gcloud.changes()] == [
        ["services", "enable", "iam.googleapis.com"],
        ["storage", "buckets", "update"],
        ["iam", "service-accounts", "enable"],
        ["projects", "add-iam-policy-binding", PROJECT],
    ]


@pytest.mark.parametrize(
    ("values", "state", "words"),
    [
        ({}, {"buckets": {f"gs://{BUCKET}": {"location": "US"}}}, f"is in us, jobs run in {REGION}"),
        ({}, {"buckets": {f"gs://{BUCKET}": {"location": REGION, "uniform_bucket_level_access": True, "lifecycle_config": {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 9}}]}}}}, "lifecycle rules already"),
        ({"service_account": "a@other-1.iam.gserviceaccount.com"}, {}, f"write a@{PROJECT}.iam"),
        ({}, {"billing": ""}, "billing projects link"),
        ({}, {"faults": [["services list", 9, "(gcloud.services.list) PERMISSION_DENIED: no"]]}, "PERMISSION_DENIED: no (signed in as nobody)"),
    ],
)  # fmt: skip
def test_what_cannot_be_gives_one_line(repo, gcloud, values, state, words):
    fill(repo, **values)
    gcloud.set(**state)
    _, err = script(repo, "--apply", code=2)
    assert err.startswith("error: ") and err.count("\n") == 1 and words in err
    kept = {key: gcloud.state[key] for key in state if key != "faults"}
    assert kept == {key: state[key] for key in kept}


def test_a_run_that_failed_is_continued(gcloud):
    gcloud.set(faults=[["repositories create", 1, "HTTPError 503: later"]])
    with pytest.raises(SpecError, match=r"gcloud artifacts repositories create .*503: later"):
        setup()
    first = gcloud.changes()
    setup()
    second = gcloud.changes()
    assert first[-1] == second[0]  # what failed is first; nothing before it is done twice
    assert not [words for words in second if words in first[:-1]]
    setup()
    assert gcloud.changes() == []


def test_what_was_just_made_may_not_be_known_everywhere_yet(gcloud, monkeypatch):
    error = "INVALID_ARGUMENT: Service account trainer does not exist."
    gcloud.set(faults=[["add-iam-policy-binding", 2, error]])
    waits = []
    monkeypatch.setattr(create, "time", SimpleNamespace(sleep=waits.append))
    setup()
    assert waits == list(create.WAITS[:2])
    gcloud.set(bindings={}, faults=[["add-iam-policy-binding", 99, error]])
    with pytest.raises(SpecError, match="does not exist"):
        setup()
    assert len(waits) == 2  # this run made nothing that one could wait for


def test_everything_empty_is_listed_at_once_with_its_line(repo, gcloud):
    fill(repo, **{key: "" for key in VALUES if key != "region"})
    _, err = script(repo, "--apply", code=2)
    lines = err.splitlines()
    empty = re.findall(r"project\.yaml:(\d+): gcp\.(\w+): is empty; write", err)
    assert {key for _, key in empty} == {"project", "bucket", "image_repository", "service_account"}
    assert len(lines) == 4 and not gcloud.state["log"]
    source = (repo / "project.yaml").read_text(encoding="utf-8").splitlines()
    assert all(f"  {key}:" in source[int(line) - 1] for line, key in empty)


HOSTILE = [
    "a b",
    "x;touch y",
    "$(touch y)",
    "`touch y`",
    "x'y",
    'x"y',
    "x\ny",
    "--help",
    "ü",
    "x&y",
]


@pytest.mark.parametrize("key", [key for key in VALUES if key != "tensorboard"])
def test_no_hostile_value_gets_as_far_as_gcloud(repo, gcloud, key):
    for hostile in HOSTILE:
        tail = f"@{PROJECT}.iam.gserviceaccount.com" if key == "service_account" else ""
        fill(repo, **{key: hostile + tail})
        with pytest.raises(SpecError, match=key):
            read_settings(repo / "project.yaml")
    _, err = script(repo, "--apply", code=2)
    assert f"gcp.{key}" in err and not gcloud.state["log"]


def test_no_shell_reads_what_is_run(gcloud, tmp_path, capsys):
    """Were a value to pass all checks, it would still be one word."""
    for hostile in HOSTILE:
        settings = Settings(PROJECT, REGION, hostile, "images", ACCOUNT)
        gcloud.set(buckets={}, log=[])
        setup(settings, None, scratch=False)
        assert f"gs://{hostile}" in gcloud.state["buckets"]
        capsys.readouterr()
        set_up(create.Gcloud(apply=False), settings, None)
        rest = capsys.readouterr().out.partition("gcloud storage buckets create ")[2]
        assert shlex.split(rest.partition(" --project")[0]) == [f"gs://{hostile}"]
    assert not list(tmp_path.rglob("y"))


def test_without_gcloud_the_commands_can_still_be_printed(repo, gcloud, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(shutil.which("env")).parent))
    if shutil.which("gcloud"):
        monkeypatch.setenv("PATH", "")
    assert "gcloud storage buckets create" in script(repo)[0]
    _, err = script(repo, "--apply", code=2)
    assert err.startswith("error: gcloud is not installed") and "cloud.google.com" in err


def test_each_role_says_why():
    for role in gcp.job_roles(Settings(tensorboard="t")):
        assert role.name.startswith("roles/") and role.on in ("project", "bucket") and role.why
        assert role.granted_by({role.name}) and not role.granted_by({"roles/viewer"})
