"""Job files as their users write them: what is legal is accepted, and advice works when followed."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

from conftest import PRODUCT

DATA = Path(__file__).parent / "data"

STUDY = """\
displayName: small
maxTrialCount: 2
parallelTrialCount: 1
studySpec:
  metrics: [{metricId: val_loss, goal: MINIMIZE}]
  parameters:
  - parameterId: learning_rate
    doubleValueSpec: {minValue: 1.0e-7, maxValue: 0.1}
  - parameterId: batch_size
    discreteValueSpec: {values: [16, 32]}
trialJobSpec:
  workerPoolSpecs:
  - machineSpec: {machineType: n1-standard-4}
    replicaCount: 1
    containerSpec: {args: ["--epochs=1"]}
  scheduling: {timeout: 3600s}
"""


class Checker:
    """scripts/check.py of a bake, run once for many files."""

    def __init__(self, project, folder):
        self.project, self.folder = project, folder

    def check(self, texts):
        """Return the lines that it prints for each file, by name, without the file's own."""
        for name, text in texts.items():
            (self.folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        paths = [self.folder / f"{name}.yaml" for name in texts]
        done = self.project.run(["python", "scripts/check.py", *paths], check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return {
            name: re.findall(rf"^{re.escape(str(path))}:(.*)$", done.stderr, flags=re.M)
            for name, path in zip(texts, paths, strict=True)
        }


@pytest.fixture
def checker(bake, tmp_path):
    return Checker(bake(), tmp_path)


# {what is written for minValue: what to write instead}
NUMBERS = {
    "1e-05": "write 1.0e-05, without quotes",
    "1E-6": "write 1.0e-06, without quotes",
    "2.5e-7": None,
    ".5e-3": None,
    "'0.001'": "write 0.001, without quotes",
    "1e-3": "write 0.001, without quotes",
    "1_0e-4": "write 0.001, without quotes",
    "0.000_1": None,
    "0o17": "write 15, without quotes",
    "017": "is 017, which YAML takes for 15; write 17, without quotes",
    "0__7": "is 0__7, which YAML takes for 7; write 7, without quotes",
    "1:30": "is 1:30, which YAML takes for 90; write 90, without quotes",
    "yes": "is yes; a number is expected",
    "1e-400x": "is 1e-400x; a number is expected",
    "inf": "is inf; a number is expected",
    ".inf": "is .inf; a number is expected",
}


def test_the_advice_for_a_number_is_a_number_in_yaml(checker):
    texts = {
        f"number_{i}": STUDY.replace("1.0e-7", text).replace("0.1}", "100}")
        for i, text in enumerate(NUMBERS)
    }
    messages = dict(zip(NUMBERS, checker.check(texts).values(), strict=True))

    for text, advice in NUMBERS.items():
        if advice is None:
            assert messages[text] == []
        else:
            assert len(messages[text]) == 1 and advice in messages[text][0], (text, messages[text])
    # Each advice, followed, gives a file without a fault.
    written = [re.search(r"write (\S+?),? ", lines[0])[1] for lines in messages.values() if "write" in "".join(lines)]  # fmt: skip
    assert len(written) == 9
    followed = checker.check(
        {
            f"followed_{i}": STUDY.replace("1.0e-7", text).replace("0.1}", "100}")
            for i, text in enumerate(written)
        }
    )
    assert set(map(tuple, followed.values())) == {()}


# {(a text of STUDY, what stands there instead): what to write}
OTHERS = {
    ("maxTrialCount: 2", "maxTrialCount: 1e2"): "is 1e2, which YAML takes for a text; write 100",
    ("maxTrialCount: 2", "maxTrialCount: 2.0"): "is 2.0; a whole number of 32 bits is expected",
    ("maxTrialCount: 2", "maxTrialCount: 0o17"): "is 0o17, which YAML takes for a text; write 15",
    ("maxTrialCount: 2", "maxTrialCount: 010"): "which YAML takes for 8; write 10, without",
    ("maxTrialCount: 2", "maxTrialCount: 1:30"): "which YAML takes for 90; write 90",
    ("[16, 32]", "[32, 1e-05]"): "write 1.0e-05, without quotes",
    ("[16, 32]", "[32, 1.0e-05]"): "must rise, each value above the one before; write [1.0e-05, 32]",
    ("timeout: 3600s", "timeout: 1:30"): 'write "3600s" for an hour',
    ("3600s}", "3600s, disableRetries: 'yes'}"): "write true or false, without quotes",
    ('"--epochs=1"', "--batch-size, 1_000"): 'put it in quotes: "1_000"',
    ("maxTrialCount: 2", "maxTrialCount: 2\nparameterSpec: []"): "did you mean studySpec.parameters?",
    ("  metrics", "  parameterSpecs: []\n  metrics"): "did you mean parameters?",
    ("  metrics", "  params: []\n  metrics"): "did you mean parameters?",
    ("maxTrialCount: 2", "maxTrialCount: 2\nmaxTrials: 3"): "did you mean maxTrialCount?",
    ("maxTrialCount: 2", "maxTrialCount: 2\nmetric: x"): "did you mean studySpec.metrics?",
    ("minValue: 1.0e-7, maxValue", "min: 1.0e-7, minValue: 0, maxValue"): "did you mean minValue?",
    ("containerSpec: {", "containerSpec: {environment: {}, "): "did you mean env?",
    ("containerSpec: {", "containerSpec: {image: x, "): "did you mean imageUri?",
    ("replicaCount: 1", "replicaCount: 1\n    disk: {}"): "did you mean diskSpec?",
    ("replicaCount: 1", "replicaCount: 1\n    replicas: 1"): "did you mean replicaCount?",
    ("  workerPool", "  machineType: x\n  workerPool"): "did you mean workerPoolSpecs.machineSpec.machineType?",
    ("  workerPool", "  timeOut: 3s\n  workerPool"): "did you mean scheduling.timeout?",
    ("3600s}", "3600s, maxWait: 3s}"): "did you mean maxWaitDuration?",
}  # fmt: skip


def test_the_advice_for_a_field_names_what_was_meant(checker):
    texts = {}
    for i, (old, new) in enumerate(OTHERS):
        assert STUDY.count(old) == 1
        texts[f"other_{i}"] = STUDY.replace(old, new)

    messages = zip(OTHERS.items(), checker.check(texts).values(), strict=True)

    for (change, advice), lines in messages:
        assert any(advice in line for line in lines), (change, lines)


def job_files(path):
    """Return the job files in a file of several, by the comment that names each."""
    parts = re.split(r"^--- # (.*)\n", path.read_text(encoding="utf-8"), flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


PUBLIC = job_files(DATA / "public_jobs.yaml")
LEGAL = PUBLIC | job_files(DATA / "legal_jobs.yaml")


@pytest.fixture(scope="module")
def checked(bake, tmp_path_factory):
    """What one run of scripts/check.py says of all legal files, by name."""
    checker = Checker(bake(), tmp_path_factory.mktemp("legal"))
    texts = {f"legal_{i}": text for i, text in enumerate(LEGAL.values())}
    return dict(zip(LEGAL, checker.check(texts).values(), strict=True))


@pytest.mark.parametrize("name", LEGAL)
def test_a_legal_file_is_accepted(name, checked):
    assert checked[name] == []


def test_the_api_accepts_these_files():
    from google.cloud.aiplatform_v1 import CustomJobSpec, HyperparameterTuningJob
    from google.protobuf import json_format

    assert len(PUBLIC) == 17 and len(LEGAL) >= 37
    for name, text in LEGAL.items():
        value = yaml.safe_load(text)
        message = HyperparameterTuningJob if "studySpec" in value else CustomJobSpec
        try:
            json_format.ParseDict(value, message.pb(message()))
        except json_format.ParseError as error:
            pytest.fail(f"{name}: {error}")


# Who reads the messages

# Words of other messages that have the same spelling: a login, and what the service says of a trial.
ALIKE = {("cloud/clients.py", "serviceAccount")}
ALIKE |= {("cloud/study.py", name) for name in ("metricId", "parameterId")}


def test_only_jobfile_names_the_fields_of_a_job():
    """All others read the attributes of a `Job`. endpoints/ has the files of a service."""
    launcher = PRODUCT / "launcher"
    messages = json.loads((launcher / "jobfile/messages.json").read_text("utf-8"))["messages"]
    # The launcher writes this envelope, and the service; the others are no parts of a job.
    others = "Model", "DeployModelRequest", "DeployedModel", "BatchPredictionJob"
    for name in ("HyperparameterTuningJob", *others):
        messages.pop(name)
    fields = {name for message in messages.values() for name in message if name != name.lower()}
    fields.remove("endTime")  # of a limit of studies; of every job that ended, too
    assert {"workerPoolSpecs", "machineType", "parameterId", "replicaCount"} <= fields
    used = set()
    for path in launcher.rglob("*.py"):
        words = {n.value for n in ast.walk(ast.parse(path.read_bytes())) if type(n) is ast.Constant}
        used |= {(path.relative_to(launcher).as_posix(), word) for word in words & fields}
    own = "jobfile/", "endpoints/"
    assert {(path, word) for path, word in used if not path.startswith(own)} == ALIKE


# What a check executes

SPY = """\
import json, os, sys

DESCRIBES = True
if __name__ == "__main__":
    seen = {"argv": sys.argv[1:], "env": sorted(os.environ), "questions": json.load(sys.stdin)}
    with open("seen.jsonl", "a") as file:
        print(json.dumps(seen), file=file)
    answers = [[] for _ in seen["questions"]]
    print(json.dumps({"flags": {}, "metrics": {}, "sources": [], "answers": answers}))
"""
POOL = """
- machineSpec: {{machineType: e2-standard-4}}
  replicaCount: 1
  containerSpec: {{args: ["{}"]}}"""
OUTER = {"TF_CONFIG": "{}", "CLUSTER_SPEC": "{}", "AIP_MODEL_DIR": "x", "CLOUD_ML_TRIAL_ID": "3"}


@pytest.fixture
def spied(bake):
    """A bake whose trainer/task.py is the test's."""
    return bake(fresh=True)


def runs_of(project):
    path = project.path / "seen.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check_pools(project, task, *words):
    (project.path / "trainer" / "task.py").write_text(task, encoding="utf-8")
    text = "workerPoolSpecs:" + "".join(map(POOL.format, words)) + "\nscheduling: {timeout: 60s}\n"
    (project.path / "pools.yaml").write_text(text, encoding="utf-8")
    return project.run(["python", "scripts/check.py", "pools.yaml"], **OUTER).stdout


def test_a_check_runs_the_trainer_once_and_only_where_it_says_so(spied):
    check_pools(spied, SPY, "--one=1", "--two=2", "--three=3")

    [seen] = runs_of(spied)
    assert seen["argv"] == ["--describe"]
    assert seen["questions"] == [["--one=1"], ["--two=2"], ["--three=3"]]
    assert not set(OUTER) & set(seen["env"])

    for other in (
        "DESCRIBES = False",
        "DESCRIBES: bool = False",
        "DESCRIBES = 'True'",
        "if True:\n    DESCRIBES = True",
        "'DESCRIBES = True'",
        "",
        "DESCRIBES = True; (",
    ):
        task = SPY.replace("DESCRIBES = True", other)
        assert check_pools(spied, task, "--one=1").startswith("ok  pools.yaml")
    assert len(runs_of(spied)) == 1  # none of these was run


def test_a_dry_run_checks_the_file_with_the_flags_of_the_command_line_once(bake):
    project = bake(fresh=True, gcp_project="lab-4711", gcs_bucket="my-lab-runs")
    check_pools(project, SPY, "--one=1")
    (project.path / "seen.jsonl").unlink()

    project.run(["python", "scripts/train_cloud.py", "pools.yaml", "--dry-run", "--", "--two=2"])

    [seen] = runs_of(project)
    assert seen["questions"] == [["--one=1"], ["--two=2"]]


def test_a_trainer_that_hangs_is_waited_for_once(spied):
    task = "import time\nDESCRIBES = True\nopen('seen.jsonl', 'a').write('{}\\n')\ntime.sleep(60)\n"
    (spied.path / "trainer" / "task.py").write_text(task, encoding="utf-8")
    rules = spied.path / "launcher" / "jobfile" / "trainer_rules.py"
    rules.write_text(rules.read_text("utf-8").replace("PATIENCE = 10 ", "PATIENCE = 1 "), "utf-8")

    done = spied.run(["python", "scripts/check.py"])

    assert len(runs_of(spied)) == 1
    assert done.stderr.splitlines() == [
        "warning: trainer.task --describe hangs: flags are not checked"
    ]


def test_a_strange_answer_of_the_trainer_is_no_answer(spied):
    for answer in ("", "no JSON", "{}", "[]", "null", '{"flags": 1, "answers": 2}'):
        task = f"DESCRIBES = True\nprint({answer!r})\n"
        assert check_pools(spied, task, "--one=1").startswith("ok  pools.yaml")


# What runs here, and what is refused

JOB = """\
workerPoolSpecs:
- machineSpec: {{machineType: n1-standard-4}}
  replicaCount: 1
  {}
scheduling: {{timeout: 600s, disableRetries: true}}
"""
SHOW = """\
import json, os, sys
print(json.dumps([sys.argv[1:], os.environ["AIP_MODEL_DIR"]]))
"""


@pytest.fixture(scope="module")
def shown(bake):
    """A bake with a module trainer.show, which prints its flags."""
    project = bake(fresh=True)
    (project.path / "trainer" / "show.py").write_text(SHOW, encoding="utf-8")
    return project


def run_job(project, task, *words, check=True, **environment):
    (project.path / "job.yaml").write_text(JOB.format(task), encoding="utf-8")
    command = ["python", "scripts/train_local.py", "job.yaml", *words]
    return project.run(command, check=check, **environment)


def shown_flags(done):
    """The flags and the model directory that trainer.show printed."""
    [line] = re.findall(r"^\[\[.*", done.stdout, flags=re.M)
    return json.loads(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "flags"),
    [
        ("containerSpec: {command: [python, -m, trainer.show], args: [--a]}", ["--a"]),
        ("containerSpec: {command: [python3, -u, -m, trainer.show, -b]}", ["-b"]),
        ("containerSpec: {command: [/usr/bin/python3.11], args: [-m, trainer.show, c d]}", ["c d"]),
        ("pythonPackageSpec: {pythonModule: trainer.show, args: [--e]}", ["--e"]),
    ],
)
def test_a_command_that_names_a_module_of_this_repo_runs_here(shown, task, flags):
    done = run_job(shown, task, "--", "--last")

    assert shown_flags(done)[0] == [*flags, "--last"]
    assert "not the project's" not in done.stdout


@pytest.mark.slow
def test_args_and_env_are_expanded_for_the_program(shown):
    env = "env: [{name: A, value: one}, {name: B, value: $(A)+$(A)}]"
    words = '["--out=$(AIP_MODEL_DIR)x", $(B), $$(A), $(CLOUD_ML_TRIAL_ID), $(HOME)]'
    task = f"containerSpec: {{command: [python, -m, trainer.show], args: {words}, {env}}}"

    flags, model_dir = shown_flags(run_job(shown, task, CLOUD_ML_TRIAL_ID="9"))

    assert flags == [f"--out={model_dir}x", "one+one", "$(A)", "$(CLOUD_ML_TRIAL_ID)", "$(HOME)"]


@pytest.mark.slow
def test_a_foreign_image_with_a_module_of_this_repo_runs_it_and_says_so(shown):
    task = "containerSpec: {imageUri: 'lab/other:1', command: [python, -m, trainer.show, --x]}"

    done = run_job(shown, task)

    assert "lab/other:1 is not the project's: here its command runs trainer.show" in done.stdout
    assert shown_flags(done)[0] == ["--x"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "task", "remedy"),
    [
        ("containerSpec.imageUri", "imageUri: 'lab/other:1'", "add --container, or"),
        (
            "containerSpec.imageUri",
            "imageUri: 'lab/other:1', args: [--epochs=1]",
            "add --container",
        ),
        ("containerSpec.imageUri", "imageUri: x, command: [python, -m, x.main]", "add --container"),
        ("containerSpec.imageUri", "imageUri: x, command: [sh, -c, ls]", "add --container"),
        (
            "pythonPackageSpec.packageUris",
            "executorImageUri: x, packageUris: ['gs://lab/p.tar.gz'], pythonModule: x.main",
            "send it to Vertex AI",
        ),
    ],
)
def test_what_is_not_ours_does_not_run_our_trainer(shown, key, task, remedy):
    before = sorted(shown.path.glob("runs/*"))

    done = run_job(shown, f"{key.partition('.')[0]}: {{{task}}}", check=False)

    assert done.returncode == 2 and done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith(f"error: job.yaml:4: workerPoolSpecs[0].{key}: ")
    assert "is not the project's, and its program is not in this repo" in line
    assert f"; {remedy}" in line and "python scripts/train_cloud.py job.yaml" in line
    assert sorted(shown.path.glob("runs/*")) == before


def test_the_projects_image_is_known_by_its_name_in_the_registry(bake, tmp_path):
    project = bake(gcp_project="lab-4711", gcp_region="us-east1")
    host = "us-east1-docker.pkg.dev/lab-4711"
    images = {
        f"{host}/my-research/my-research": True,
        f"{host}/my-research/my-research:1a2b3c": True,
        f"{host}/my-research/my-research:v1@sha256:0a1b": True,
        f"{host}/my-research/my-research-2:1": False,
        f"{host}/other/my-research:1": False,
        "us-docker.pkg.dev/lab-4711/my-research/my-research:1": False,
        "my-research:1": False,
    }
    task = "containerSpec: {{imageUri: '{}', args: [--epochs=many]}}"
    texts = {f"image_{i}": JOB.format(task.format(name)) for i, name in enumerate(images)}

    messages = Checker(project, tmp_path).check(texts)

    checked = {name: "argument --epochs: 'many'" in " ".join(lines) for name, lines in zip(images, messages.values(), strict=True)}  # fmt: skip
    assert checked == images


SERVER = "us-docker.pkg.dev/vertex-ai-restricted/training/reductionserver:latest"
MIXED = f"""\
workerPoolSpecs:
- machineSpec: &gpu {{machineType: g2-standard-8, acceleratorType: NVIDIA_L4, acceleratorCount: 1}}
  replicaCount: 1
  containerSpec: {{command: [python], args: [-m, trainer.task, --epochs=1]}}
- machineSpec: *gpu
  replicaCount: 1
  containerSpec: {{args: [--epochs=1]}}
- machineSpec: {{machineType: n1-highcpu-16}}
  replicaCount: 4
  containerSpec: {{imageUri: {SERVER}, args: [--theirs, /etc/passwd]}}
scheduling: {{timeout: 600s}}
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", ["container", "package"])
def test_a_cloud_job_of_our_trainer_and_of_others(bake, tmp_path, code):
    project = bake(fresh=True, gcp_project="lab-4711", gcs_bucket="my-lab-runs")
    (tmp_path / "mixed.yaml").write_text(MIXED, encoding="utf-8")
    settings = project.read("project.yaml").replace("code: container", f"code: {code}")
    settings = settings.replace('executor_image: ""', "executor_image: us-docker.pkg.dev/p/r/e:1")
    (project.path / "project.yaml").write_text(settings, encoding="utf-8")
    command = ["python", "scripts/train_cloud.py", tmp_path / "mixed.yaml", "--dry-run"]

    done = project.run([*command, "--", "--seed=7"])

    chief, worker, server = yaml.safe_load(done.stdout)["workerPoolSpecs"]
    if code == "package":
        assert chief["pythonPackageSpec"]["pythonModule"] == "trainer.task"
        assert chief["pythonPackageSpec"]["args"] == ["--epochs=1", "--seed=7"]
        assert worker["pythonPackageSpec"]["args"] == ["--epochs=1", "--seed=7"]
    else:
        assert chief["containerSpec"]["command"] == ["python"]
        args = ["-m", "trainer.task", "--epochs=1", "--seed=7"]
        assert chief["containerSpec"]["args"] == args
        assert worker["containerSpec"]["args"] == ["--epochs=1", "--seed=7"]
    # It goes as it is: its flags are its own, and its paths are not of this machine.
    assert server["containerSpec"] == {"imageUri": SERVER, "args": ["--theirs", "/etc/passwd"]}

    done = project.run(["python", "scripts/train_local.py", tmp_path / "mixed.yaml"], check=False)
    assert done.returncode == 2 and done.stdout == ""
    assert "leave it out: --replicas ps=0" in done.stderr
