"""Job files of AI Platform Training, which was shut down in 2025, converted to those of Vertex AI."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import PRODUCT, ROOT

# The product's launcher, unrendered: it holds no template variable.
sys.path += [str(PRODUCT), str(ROOT / "tools")]

from launcher.common.document import Document
from launcher.jobfile import spec, trainer_rules
from legacy import migrate
from legacy.machines import MACHINES

OLD = """\
jobId: census_7
labels: {team_name: seals}
trainingInput:
  scaleTier: CUSTOM
  masterType: complex_model_m_gpu
  masterConfig:
    imageUri: gcr.io/my-lab/trainer
    diskConfig: {bootDiskType: pd-ssd, bootDiskSizeGb: 200}
  workerType: n1-standard-8
  workerConfig:
    acceleratorConfig: {count: "1", type: NVIDIA_TESLA_T4}
  workerCount: "2"
  evaluatorType: standard
  evaluatorCount: 1
  packageUris: [gs://lab-files/trainer.tar.gz]
  pythonModule: trainer.task
  runtimeVersion: "2.11"
  region: us-central1
  jobDir: gs://lab-files/out
  args: [--epochs, "3"]
  scheduling: {maxRunningTime: 7200s, maxWaitTime: 3600s}
  serviceAccount: robot@my-lab.iam.gserviceaccount.com
  network: projects/12345/global/networks/lab
  encryptionConfig: {kmsKeyName: a/key}
  priority: 3
  hyperparameters:
    goal: MAXIMIZE
    maxTrials: 10
    maxParallelTrials: 2
    maxFailedTrials: 3
    enableTrialEarlyStopping: true
    resumePreviousJobId: census_6
    algorithm: RANDOM_SEARCH
    params:
      - {parameterName: learning-rate, type: DOUBLE, minValue: 1e-4, maxValue: 0.1, scaleType: UNIT_LOG_SCALE}
      - {parameterName: batch_size, type: DISCRETE, discreteValues: [16, 32]}
      - {parameterName: hidden_units, type: CATEGORICAL, categoricalValues: ["64,32", 16], scaleType: NONE}
      - {parameterName: early_stopping, type: INTEGER, minValue: 2, maxValue: 16}
"""


@pytest.fixture(autouse=True)
def repo(bake, tmp_path, monkeypatch):
    """A baked repo, whose trainer is asked which flags it takes; the test runs in an empty folder."""
    project = bake()
    monkeypatch.setattr(trainer_rules, "ROOT", project.path)
    monkeypatch.chdir(tmp_path)
    return project


def write(path: str | Path, text: str) -> None:
    Path(path).write_bytes(text.encode())


def places(node, path=()):
    """Yield the path to each value in a message."""
    for key, child in node.items() if isinstance(node, dict) else enumerate(node):
        yield (*path, key)
        if isinstance(child, (dict, list)):
            yield from places(child, (*path, key))


def migrated(text: str) -> str:
    write("old.yaml", text)
    return migrate.migrate("old.yaml")


def load(text: str) -> spec.Job:
    write("new.yaml", text)
    return spec.load("new.yaml")


def test_a_study_with_a_cluster_becomes_todays_message():
    text = migrated(OLD)
    message = yaml.safe_load(text)
    task = {"containerSpec": {"imageUri": "trainer", "args": ["--epochs", "3"]}}
    assert load(text).tuning
    assert message == {
        "displayName": "census_7",
        "maxTrialCount": 10,
        "parallelTrialCount": 2,
        "maxFailedTrialCount": 3,
        "studySpec": {
            "metrics": [{"metricId": "val_accuracy", "goal": "MAXIMIZE"}],
            "parameters": [
                {
                    "parameterId": "learning-rate",
                    "doubleValueSpec": {"minValue": 0.0001, "maxValue": 0.1},
                    "scaleType": "UNIT_LOG_SCALE",
                },
                {"parameterId": "batch_size", "discreteValueSpec": {"values": [16, 32]}},
                {
                    "parameterId": "hidden_units",
                    "categoricalValueSpec": {"values": ["64,32", "16"]},
                },
                {
                    "parameterId": "early_stopping",
                    "integerValueSpec": {"minValue": 2, "maxValue": 16},
                },
            ],
            "algorithm": "RANDOM_SEARCH",
            "medianAutomatedStoppingSpec": {"useElapsedDuration": False},
        },
        "trialJobSpec": {
            "workerPoolSpecs": [
                {
                    "machineSpec": {
                        "machineType": "g2-standard-48",
                        "acceleratorType": "NVIDIA_L4",
                        "acceleratorCount": 4,
                    },
                    "replicaCount": 1,
                    "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": 200},
                    **task,
                },
                {
                    "machineSpec": {
                        "machineType": "n1-standard-8",
                        "acceleratorType": "NVIDIA_TESLA_T4",
                        "acceleratorCount": 1,
                    },
                    "replicaCount": 2,
                    **task,
                },
                {},
                {"machineSpec": {"machineType": "n1-standard-4"}, "replicaCount": 1, **task},
            ],
            "scheduling": {"timeout": "7200s"},
            "serviceAccount": "robot@my-lab.iam.gserviceaccount.com",
            "network": "projects/12345/global/networks/lab",
            "baseOutputDirectory": {"outputUriPrefix": "gs://lab-files/out"},
        },
        "encryptionSpec": {"kmsKeyName": "a/key"},
        "labels": {"team_name": "seals"},
    }


@pytest.mark.parametrize(
    ("comment", "line"),
    [
        ("was training/hptuning/metric; the trainer reports its metrics", "metrics:"),
        ("was enableTrialEarlyStopping; the rule is chosen now", "medianAutomatedStoppingSpec:"),
        ("was complex_model_m_gpu with 4 NVIDIA_TESLA_K80, which is gone", "machineType: g2-"),
        ("was standard", "machineType: n1-standard-4"),
        ("was gcr.io/my-lab/trainer: Container Registry is gone", "containerSpec:"),
        ("the place in the list gives the role; TF_CONFIG calls the first", "replicaCount: 1"),
        ("was maxRunningTime", "timeout: 7200s"),
        ("was jobDir, passed on as --job-dir; now AIP_MODEL_DIR", "baseOutputDirectory:"),
        ("region (us-central1) now stands in project.yaml.", "#"),
        ("runtimeVersion and pythonVersion (2.11) are gone", "#"),
        ("maxWaitTime (3600s) has no successor", "#"),
        ("resumePreviousJobId (census_6) has no successor", ""),
        ("priority was not read.", "#"),
    ],
)
def test_a_comment_stands_at_what_changed_its_meaning(comment, line):
    lines = [text.strip() for text in migrated(OLD).splitlines()]
    [place] = [i for i, text in enumerate(lines) if text.startswith(f"# {comment}")]
    assert lines[place + 1].startswith(line)


def test_a_plain_job_becomes_a_custom_job():
    job = load(migrated("trainingInput:\n  scaleTier: BASIC_GPU\n  args: [--epochs=2]\n"))
    [pool] = job.spec["workerPoolSpecs"]
    assert not job.tuning
    assert pool["machineSpec"]["acceleratorType"] == "NVIDIA_L4"
    assert job.spec["scheduling"] == {"timeout": "86400s"}


@pytest.mark.parametrize(
    ("tier", "counts"),
    [
        ("BASIC", [1]),
        ("BASIC_GPU", [1]),
        ("BASIC_TPU", [1]),
        ("STANDARD_1", [1, 4, 3]),
        ("PREMIUM_1", [1, 19, 11]),
    ],
)
def test_every_tier_has_its_machines(tier, counts):
    text = migrated(f"training_input: {{scale_tier: {tier}}}")
    pools = load(text).spec["workerPoolSpecs"]
    assert [pool["replicaCount"] for pool in pools] == counts
    assert f"# was scaleTier {tier}, which chose these machines" in text


@pytest.mark.parametrize("name", [*MACHINES, "cloud_tpu"])
def test_every_old_machine_has_a_machine_of_today(name):
    assert load(migrated(f"masterType: {name}"))


def test_a_tpu_and_the_machine_beside_it_are_one_today():
    old = "trainingInput: {scaleTier: CUSTOM, masterType: n1-standard-4, workerType: cloud_tpu, workerCount: 1}"
    [pool] = load(migrated(old)).spec["workerPoolSpecs"]
    assert pool["machineSpec"] == {"machineType": "ct5lp-hightpu-1t", "tpuTopology": "1x1"}


def test_another_module_stays_a_python_package():
    old = "trainingInput: {pythonModule: census.train, packageUris: [gs://lab/a.tar.gz]}"
    text = migrated(old)
    [pool] = yaml.safe_load(text)["workerPoolSpecs"]
    assert pool["pythonPackageSpec"]["pythonModule"] == "census.train"
    assert "needs an executorImageUri" in text
    with pytest.raises(spec.SpecError, match="executorImageUri: is missing"):
        load(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("workerPoolSpecs: []", "old.yaml: no job file of AI Platform Training: no trainingInput"),
        ("trainingInput: 3", "old.yaml: no job file of AI Platform Training"),
        ("trainingInput:\n  scaleTier: BASC", "old.yaml:2: trainingInput.scaleTier: there was no BASC; did you mean BASIC?"),
        ("trainingInput: {scaleTier: CUSTOM}", "old.yaml:1: trainingInput.masterType: is missing"),
        ("masterType: standard\nworkerCount: three", "old.yaml:2: workerCount: is three; a whole number"),
        ("masterType: standard\nmasterConfig: gpu", "old.yaml:2: masterConfig: is gpu; a mapping"),
        ("scaleTier: BASIC\nhyperparameters: {}", "old.yaml:2: hyperparameters.params: is empty"),
        ("scaleTier: BASIC\nhyperparameters:\n  params:\n  - {parameterName: x, type: FLOAT}", "old.yaml:4: hyperparameters.params[0].type: is FLOAT; known are DOUBLE"),
        ("scaleTier: BASIC\nhyperparameters:\n  goal: best", "old.yaml:3: hyperparameters.goal: is best; write MAXIMIZE"),
    ],
)  # fmt: skip
def test_what_that_service_did_not_take_either_is_refused(text, expected):
    with pytest.raises(spec.SpecError) as refused:
        migrated(text)
    assert str(refused.value).startswith(expected)


def test_whatever_stands_in_an_old_file_is_read_or_refused():
    old = yaml.safe_load(OLD)

    taken = refused = 0
    for path in list(places(old)):
        for odd in (0, 1.5, True, None, "", "a\nb: c", [[1]], {"x": 1}, float("inf")):
            changed = copy.deepcopy(old)
            around = changed
            for key in path[:-1]:
                around = around[key]
            around[path[-1]] = odd
            try:
                assert migrate._Migration(Document(Path("old.yaml"), changed)).message()
                taken += 1
            except spec.SpecError as error:
                assert "\n" not in str(error)
                refused += 1
    assert taken > 100 and refused > 100


def run(folder: Path, *words) -> subprocess.CompletedProcess:
    command = [sys.executable, ROOT / "tools" / "migrate_config.py", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=60)


def test_the_script_overwrites_nothing_unless_told(repo, tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "old_vertex.yaml"
    write(old, OLD)
    done = run(repo.path, old)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"wrote {new}; python scripts/check.py finds nothing wrong in it\n"
    write(new, "mine")
    again = run(repo.path, old)
    assert again.returncode == 2
    assert again.stderr == f"error: {new} is there already; --force overwrites it\n"
    assert new.read_text() == "mine"
    assert run(repo.path, old, "--force").returncode == 0


def test_the_script_tells_what_is_left_to_mend(repo, tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    write(old, "trainingInput:\n  args: [--epochs=0]\n  jobDir: gs://b/out\n")
    done = run(repo.path, old, "-o", new)
    assert done.returncode == 2
    assert done.stdout == f"wrote {new}; this is left for you:\n"
    lines = new.read_text().splitlines()
    for fault, words in zip(done.stderr.splitlines(), ("epochs=0", "gs://b/out"), strict=True):
        assert words in lines[int(fault.split(":")[1]) - 1]


def test_the_script_writes_nothing_when_it_refuses(repo, tmp_path):
    old = tmp_path / "old.yaml"
    write(old, "scaleTier: HUGE")
    done = run(repo.path, old)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {old}:1: scaleTier: there was no HUGE")
    assert not (tmp_path / "old_vertex.yaml").exists()


def test_the_script_runs_in_the_folder_of_a_repo(tmp_path):
    write("old.yaml", OLD)
    done = run(tmp_path, "old.yaml")
    assert done.returncode == 2
    assert "run this in the folder of your repo" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["old.yaml"]
