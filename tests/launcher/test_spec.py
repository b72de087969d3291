"""Job files: whatever is wrong is refused with its line and a remedy; all of configs/ is accepted."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import broken
import pytest
import yaml
from conftest import ROOT, write

from launcher.common.document import Document
from launcher.jobfile import schema, spec, trainer_rules
from launcher.cli.check import format_duration, summarize
from launcher.project.settings import Settings, read_settings

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
CONFIGS = [path for path in CONFIGS if path.stem not in ("batch", "endpoint", "model")]  # no jobs
PROJECT = Settings(project="my-lab", region="us-central1", bucket="my-bucket")


def faults(text: str | bytes, name: str = "job.yaml") -> list:
    write(name, text)
    with pytest.raises(spec.SpecError) as refused:
        spec.load(name)
    return list(refused.value.faults)


@pytest.mark.parametrize("path", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_every_job_file_of_this_project_is_accepted(path):
    job = spec.load(path)
    assert job.spec["workerPoolSpecs"][0]["replicaCount"] == 1
    assert job.tuning == ("studySpec" in job.message)
    assert spec.check(job, read_settings()) == []


@pytest.mark.parametrize(
    "text", [broken.JOB, broken.STUDY, broken.TPU], ids=["job", "study", "tpu"]
)
def test_the_files_that_the_broken_ones_are_made_from_have_no_fault(text):
    write("job.yaml", text)
    assert spec.check(spec.load("job.yaml"), PROJECT) == []


@pytest.mark.parametrize("name", broken.texts())
def test_a_broken_file_is_refused_with_its_line_and_a_remedy(name):
    text = broken.texts()[name]
    refused = faults(text)
    messages = [str(fault) for fault in refused]
    marks = broken.expected(text)
    assert [fault.line for fault in refused] == [line for line, _ in marks], messages
    for (line, words), message in zip(marks, messages, strict=True):
        assert message.startswith(f"job.yaml:{line}: ")
        assert words in message
        assert "\n" not in message and len(message) < 500
    assert all(fault.instead for fault in refused)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a: \xff", "job.yaml:1: not a text in UTF-8"),
        ("a: 1\nb: x".encode("utf-16"), "job.yaml:1: not a text in UTF-8"),
        ("a: 1\nb: \0", "job.yaml:2: not YAML: the character '\\x00'"),
        ('serviceAccount: "\\ud800"', "job.yaml:1: serviceAccount: holds half a character"),
        ("[" * 1000, "job.yaml: nested too deeply"),
        (b"#" * 1_000_001, "job.yaml: 1,000,001 bytes are too many"),
        (
            "a: &a [x, x]\nb: &b [*a, *a]\n" + "".join(
                f"{chr(c)}: &{chr(c)} [" + ", ".join([f"*{chr(c - 1)}"] * 9) + "]\n"
                for c in range(ord("c"), ord("k"))
            ),
            "more than 20,000 values",
        ),
    ],
    ids=["latin", "utf-16", "nul", "surrogate", "deep", "long", "laughs"],
)  # fmt: skip
def test_what_is_no_job_file_at_all_is_refused_in_one_line(text, expected):
    messages = [str(fault) for fault in faults(text)]
    assert expected in messages[0]
    assert len(messages) == 1 or "half" in expected  # there, the rest of a job is missing too


@pytest.mark.parametrize(
    ("path", "expected"),
    [("none.yaml", "none.yaml: cannot be read (No such file"), (".", ".: cannot be read (")],
)
def test_a_file_that_cannot_be_read(path, expected):
    with pytest.raises(spec.SpecError, match=".") as refused:
        spec.load(path)
    assert str(refused.value).startswith(expected)


def test_what_yaml_allows_is_accepted():
    """A byte order mark, line ends of Windows, anchors, merges, what is left empty."""
    text = """\
workerPoolSpecs:
  - &pool
    machineSpec: {machineType: n2-standard-4}
    replicaCount: "1"
    containerSpec: {args: &args ["--epochs=3"], env: , command: }
    diskSpec:
  - <<: *pool
    replicaCount: 3
  - {}
scheduling: {timeout: 3600.5s}
"""
    write("job.yaml", b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    job = spec.load("job.yaml")
    assert job.spec["workerPoolSpecs"][1] == {
        "machineSpec": {"machineType": "n2-standard-4"},
        "replicaCount": 3,
        "containerSpec": {"args": ["--epochs=3"]},
    }
    assert summarize(job) == "4 replicas of n2-standard-4, at most 3600.5 seconds"
    assert job.file.line("workerPoolSpecs[1].replicaCount") == 8
    assert job.file.line("workerPoolSpecs[1].nothing") == 7
    assert job.file.line("nowhere") == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"bucket": "other"}, "21: baseOutputDirectory.outputUriPrefix: gs://my-bucket/runs/1 is not in the project's bucket, other"),
    ],
)  # fmt: skip
def test_a_job_that_does_not_fit_the_project(change, expected):
    write("job.yaml", broken.JOB)
    conflicts = spec.check(spec.read("job.yaml"), replace(PROJECT, **change))
    assert any(str(fault).startswith(f"job.yaml:{expected}") for fault in conflicts), conflicts


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (
            "bucket",
            "gs://mine",
            "project.yaml:3: gcp.bucket: is gs://mine; write the bucket's name",
        ),
        ("region", "us-central1-a", "project.yaml:3: gcp.region: is us-central1-a; write a region"),
        ("project", "My Lab", "project.yaml:3: gcp.project: is My Lab; write the project's id"),
        ("service_account", "me", "project.yaml:3: gcp.service_account: is me; write NAME@PROJECT"),
        (
            "tensorboard",
            "projects/1/locations/us-west1/tensorboards/2",
            "project.yaml:3: gcp.tensorboard: is in us-west1, and jobs run in us-east1",
        ),
    ],
)
def test_a_wrong_project_file(key, value, expected):
    write("project.yaml", f"gcp:\n  region: us-east1\n  {key}: {value}\n".replace(
        "  region: us-east1\n", "  region: us-east1\n" if key != "region" else "  bucket: b42\n"
    ))  # fmt: skip
    with pytest.raises(spec.SpecError) as refused:
        read_settings("project.yaml")
    assert str(refused.value).startswith(expected)


def test_an_empty_project_file_is_accepted():
    write("project.yaml", 'gcp: {project: "", region: "", bucket: , tensorboard: ""}')
    assert read_settings("project.yaml").region == ""
    with pytest.raises(spec.SpecError, match="none.yaml: is missing"):
        read_settings("none.yaml")


ODD = [0, -1, 1.5, 2**63 - 1, True, None, "", "x", "9" * 19, "0s", "SPOT", "FLEX_START", "a\nb"]
ODD += ["TPU_V3", "cloud-tpu", "ct5lp-hightpu-4t", "NVIDIA_TESLA_V100", "GRID_SEARCH", [], [None]]
ODD += [["x"], {}, {"x": "y"}, "gs://", "x" * 5000, 1e308]


@pytest.mark.parametrize(
    "base", [broken.JOB, broken.STUDY, broken.TPU], ids=["job", "study", "tpu"]
)
def test_any_value_anywhere_gives_at_most_faults_of_one_line(base, monkeypatch):
    """Of any type; nothing raises."""
    monkeypatch.setattr(trainer_rules, "ask_trainer", lambda words: None)
    refused, whole = 0, yaml.safe_load(base)
    for path in list_paths(whole):
        for odd in ODD:
            changed = around = copy.deepcopy(whole)
            for key in path[:-1]:
                around = around[key]
            around[path[-1]] = odd
            message = "CustomJobSpec" if base is not broken.STUDY else "HyperparameterTuningJob"
            file = Document(Path("job.yaml"), changed)
            value, faults = schema.read_message(file, message)
            job = spec.Job(file, value, base is broken.STUDY)
            lines = [str(fault) for fault in [*faults, *spec.check(job, PROJECT)]]
            refused += bool(lines)
            assert all(len(line) < 700 and "\n" not in line for line in lines)
    assert refused > 200


def list_paths(node, path=()):
    """Yield the keys that lead to each value in a message."""
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        if isinstance(child, (dict, list)):
            yield from list_paths(child, (*path, key))


# How the trainer describes itself


def test_the_trainer_describes_itself_at_once():
    code = "import sys, trainer.task as t\ntry: t.parse(['--describe'])\nexcept SystemExit: pass\n"
    code += "print({'tensorflow', 'pyarrow', 'PIL'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    description, heavy = done.stdout.splitlines()
    assert heavy == "set()"
    description = json.loads(description)
    flags = description["flags"]
    assert description["sources"] and set(description["sources"]) <= set(flags)
    assert flags["jit"]["choices"] == ["auto", "on", "off"]
    assert flags["deterministic"] == {"value": False}


def test_a_trainer_that_gives_no_answer_is_not_blamed(monkeypatch):
    monkeypatch.setattr(trainer_rules, "MODULE", "trainer.nothing")
    trainer_rules.ask_trainer.cache_clear()
    write("job.yaml", broken.JOB.replace("--epochs=3", "--whatever=3"))
    assert spec.load("job.yaml")
    trainer_rules.ask_trainer.cache_clear()


def test_the_flags_of_another_module_than_the_trainer_are_not_checked():
    for task in (
        "pythonPackageSpec: {pythonModule: trainer.task, executorImageUri: python, packageUris: [gs://lab/a.tgz], args: [--whatever]}",
        "containerSpec: {command: [python, -m, trainer.engine.export], args: [--whatever]}",
        "containerSpec: {imageUri: theirs:1, command: [python, -m, trainer.task, --whatever]}",
    ):
        write("job.yaml", broken.JOB.replace("containerSpec: {args: []}", task))
        assert spec.load("job.yaml")


# The script


def check(*words: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "scripts" / "check.py", *words]
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)


def test_check_reads_all_files_and_exits_with_2():
    write("a.yaml", broken.JOB.replace("3600s", "0s"))
    write("b.yaml", "")
    write("c.yaml", broken.STUDY)
    done = check("a.yaml", "none.yaml", "b.yaml", "c.yaml")
    assert done.returncode == 2
    assert [line.partition(" ")[0] for line in done.stderr.splitlines()] == [
        "a.yaml:18:",
        "none.yaml:",
        "b.yaml:1:",
    ]
    assert done.stdout == (
        "ok  c.yaml  12 trials, 2 at a time, each 1 replica of n2-standard-4, at most 10 minutes\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (90, "90 seconds"), (5400, "90 minutes"), (86_400, "1 day"), (0.5, "0.5 seconds")],
)  # fmt: skip
def test_a_duration_is_written_in_its_largest_unit(seconds, text):
    assert format_duration(seconds) == text
