"""configs/job.schema.json: what it accepts and refuses, and what an editor shows because of it."""

import json
import subprocess
import sys

import pytest
import yaml

from conftest import PRODUCT, ROOT
from language_server import LanguageServer
from test_job_files import LEGAL
from test_specs import broken_texts

sys.path += [str(PRODUCT), str(ROOT / "tools")]

import job_schema
from launcher.common import document
from launcher.jobfile import spec
from launcher.jobfile.schema import ENUMS, MESSAGES

pytestmark = pytest.mark.slow  # starts Node.js, and checks two hundred files

CONFIGS = {path.name: path.read_text(encoding="utf-8") for path in (PRODUCT / "configs").glob("*.yaml")}  # fmt: skip
FIRST_LINE = "# yaml-language-server: $schema=job.schema.json\n"
# Legal files that the schema refuses on purpose: see the docstring of tools/job_schema.py.
EMPTY = {
    "a chief and an evaluator",
    "a private connection, and what is left empty",
    "spare machines, started again",
}
YES_AND_ON = {
    "a grid, a key for encryption, a limit in time",
    "an experiment, a web shell, addresses",
}
# Broken files that it accepts: the value has another type in YAML 1.1 than in YAML 1.2.
OTHER_TYPE = {"yes in args", "a number as YAML reads it"}


def refused(texts, folder):
    """Return the names of the files that check-jsonschema refuses."""
    names = {}
    for number, (name, text) in enumerate(texts.items()):
        path = folder / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        names[str(path)] = name
    command = [sys.executable, "-m", "check_jsonschema", "--output-format=json", "--schemafile"]
    done = subprocess.run(
        [*command, job_schema.SCHEMA, *names], capture_output=True, encoding="utf-8", timeout=120
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    return {names[error["filename"]] for error in result.get("errors", [])}


def fails(read, path):
    try:
        read(path)
    except spec.SpecError:
        return True
    return False


def test_the_file_is_what_the_tool_makes():
    assert job_schema.SCHEMA.read_text(encoding="utf-8") == job_schema.make()


def test_every_field_and_every_name_has_a_description():
    words = yaml.safe_load(job_schema.DESCRIPTIONS.read_text(encoding="utf-8"))
    described = {
        (name, key) for name, texts in words.items() for key, text in texts.items() if text
    }
    fields = {(message, key) for message in MESSAGES for key in job_schema.list_fields(message)}
    names = {(enum, name) for enum in ENUMS for name in job_schema.names_of(enum)}
    assert described == fields | names
    assert len(fields) > 190 and len(names) > 30


def test_no_old_name_is_offered():
    names = {name for enum in ENUMS for name in job_schema.names_of(enum)}
    old = {"ON_DEMAND", "LOW_COST", "NVIDIA_TESLA_K80", "TPU_V5_LITEPOD", "GOAL_TYPE_UNSPECIFIED"}
    assert old & names == set()
    assert old & {name for names in ENUMS.values() for name in names} == old


def test_it_accepts_our_job_files_and_all_legal_ones(tmp_path):
    assert len(CONFIGS) == 14 and len(LEGAL) >= 37
    assert all(text.startswith(FIRST_LINE) for text in CONFIGS.values())
    assert refused(CONFIGS | LEGAL, tmp_path) == EMPTY | YES_AND_ON


def test_it_refuses_a_model_or_a_deployment_of_a_wrong_shape(tmp_path):
    model, endpoint = CONFIGS["model.yaml"], CONFIGS["endpoint.yaml"]
    texts = {
        "a misspelt field": model.replace("predictRoute", "predictionRoute"),
        "a port as a word": model.replace("8080", "http"),
        "minutes": model.replace("1800s", "30m"),
        "what deploy.py fills in": f"{model}displayName: penguins\n",
        "no such machine": endpoint.replace("e2-highmem-2", "e2-tiny"),
        "a share as a word": endpoint.replace('"0": 100', '"0": all'),
        "two kinds of resources": endpoint.replace(
            ":\n  ded", ":\n  sharedResources: pool\n  ded", 1
        ),
        "no machines' number": endpoint.replace("minReplicaCount", "# minReplicaCount"),
    }
    assert refused(texts, tmp_path) == set(texts)


def test_it_accepts_every_legal_message(tmp_path):
    """Also those of the files that are refused for how they are written."""
    messages = {}
    for name, text in LEGAL.items():
        (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
        messages[name] = json.dumps(spec.read(tmp_path / "job.yaml").message)
    assert refused(messages, tmp_path) == set()


def test_it_refuses_whatever_has_a_wrong_shape(tmp_path):
    """All files that are YAML, but not a message of the API."""
    path, wrong, texts = tmp_path / "job.yaml", set(), broken_texts()
    for name, text in texts.items():
        path.write_text(text, encoding="utf-8")
        if fails(spec.read, path) and not fails(document.read, path):
            wrong.add(name)
    assert len(wrong) > 40
    names = refused({name: texts[name] for name in wrong}, tmp_path)
    assert wrong - names == OTHER_TYPE


def test_what_it_refuses_check_refuses_too(tmp_path):
    """Whatever is refused of the broken files that have the right shape breaks a rule just there."""
    path, right, texts = tmp_path / "job.yaml", {}, broken_texts()
    for name, text in texts.items():
        path.write_text(text, encoding="utf-8")
        if not fails(spec.read, path):
            right[name] = text
    names = refused(right, tmp_path)
    assert {
        "a misspelt machine",
        "an old strategy",
        "no goal",
        "a variable without a value",
    } <= names
    assert len(names) < 20 < len(right)


@pytest.fixture(scope="module")
def editor():
    with LanguageServer() as server:
        yield Editor(server)


class Editor:
    """Job files, each open in an editor whose cursor is where the text has a ‸."""

    def __init__(self, server):
        self.server, self.count = server, 0

    def open(self, text):
        """Return the file's diagnostics, and the position that a request needs."""
        self.count += 1
        before = (FIRST_LINE + text).partition("‸")[0]
        uri = (PRODUCT / "configs" / f"unsaved_{self.count}.yaml").as_uri()
        diagnostics = self.server.open(uri, FIRST_LINE + text.replace("‸", ""))
        line = before.rpartition("\n")[2]
        position = {"line": before.count("\n"), "character": len(line)}
        return diagnostics, {"textDocument": {"uri": uri}, "position": position}

    def complete(self, text):
        """Return what the editor offers: {name: its description}."""
        _, where = self.open(text)
        items = self.server.request("textDocument/completion", **where)["items"]
        return {item["label"]: item.get("documentation", "") for item in items}

    def hover(self, text):
        _, where = self.open(text)
        return self.server.request("textDocument/hover", **where)["contents"]["value"]


JOB = """\
workerPoolSpecs:
  - machineSpec:
      machineType: n1-standard-4
      acceleratorType: NVIDIA_TESLA_T4
      acceleratorCount: 1
    replicaCount: 1
    containerSpec: {imageUri: trainer, args: []}
scheduling:
  timeout: 3600s
"""
POOL = "workerPoolSpecs:\n  - machineSpec:\n      "


def test_an_empty_file_may_become_a_job_or_a_study(editor):
    offered = editor.complete("‸")
    assert {"workerPoolSpecs", "studySpec", "maxTrialCount"} <= set(offered)
    assert {"deployedModel", "trafficSplit", "containerSpec"} <= set(offered)
    assert "first the chief" in offered["workerPoolSpecs"]


def test_the_editor_completes_fields(editor):
    offered = editor.complete(f"{POOL}machineType: n1-standard-4\n      acc‸\n")
    assert {"acceleratorType", "acceleratorCount", "tpuTopology"} <= set(offered)
    assert not {"machineType", "replicaCount", "studySpec"} & set(offered)


def test_the_editor_completes_a_model_its_deployment_and_a_batch(editor):
    offered = editor.complete("deployedModel:\n  dedicatedResources:\n    min‸\n")
    assert {"machineSpec", "minReplicaCount", "autoscalingMetricSpecs"} <= set(offered)
    assert offered["minReplicaCount"].startswith("How many replicas run and are paid for")
    offered = editor.complete("deployedModel:\n  ‸\n")
    assert "serviceAccount" in offered and not {"model", "displayName"} & set(offered)
    machine = (
        "deployedModel:\n  dedicatedResources:\n    machineSpec:\n      machineType: e2-highm‸\n"
    )
    assert editor.complete(machine)["e2-highmem-2"] == "2 cores, 16 GB"
    offered = editor.complete("containerSpec:\n  health‸\n")
    assert {"healthRoute", "deploymentTimeout"} <= set(offered)
    offered = editor.complete("instanceConfig:\n  key‸\n")
    assert offered["keyField"].startswith("Field by which you know a row again.")
    assert "Percents of the requests" in editor.hover(CONFIGS["endpoint.yaml"].removeprefix(FIRST_LINE).replace("trafficSplit", "traffic‸Split"))  # fmt: skip


def test_the_editor_completes_names_of_enums(editor):
    offered = editor.complete(f"{POOL}acceleratorType: ‸\n")
    assert {"NVIDIA_TESLA_T4", "NVIDIA_L4", "NVIDIA_H100_80GB"} <= set(offered)
    assert not any("K80" in name or "UNSPECIFIED" in name for name in offered)
    assert offered["NVIDIA_TESLA_T4"] == "16 GB. On n1 machines."
    assert set(editor.complete("maxTrialCount: 3\nstudySpec:\n  metrics:\n    - goal: ‸\n")) == {
        "MINIMIZE",
        "MAXIMIZE",
    }


def test_the_editor_completes_machine_types_with_their_size(editor):
    assert editor.complete(f"{POOL}machineType: n2-‸\n")["n2-standard-8"] == "8 cores, 32 GB"


def test_the_editor_describes_a_field(editor):
    assert "stopped after this time. Seconds with an s" in editor.hover(JOB.replace("timeout", "time‸out"))  # fmt: skip
    shown = editor.hover(JOB.replace("NVIDIA_T", "NVIDIA‸_T"))
    assert "Type of the GPUs of each machine." in shown
    assert shown.index("NVIDIA_TESLA_T4") < shown.index("NVIDIA_L4")  # its own value comes first


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("NVIDIA_TESLA_T4", "T4", 5, 'Value is not accepted. Valid values: "NVIDIA_TESLA_V100"'),
        ("n1-standard-4", "n1-standard-5", 4, "No machine type for training."),
        ("replicaCount", "replicas", 7, "Property replicas is not allowed."),
        ("replicaCount: 1", "replicaCount: one", 7, "Write a whole number."),
        ("args: []", "args: [3]", 8, "Write a text; put a number in quotes."),
        ("3600s", "1h", 10, "Write seconds with an s, such as 3600s."),
        ("3600s", "3600", 10, "Write seconds with an s, such as 3600s."),
    ],
)
def test_the_editor_underlines_a_mistake(editor, old, new, line, message):
    (diagnostic,), _ = editor.open(JOB.replace(old, new, 1))
    assert diagnostic[0] == line and diagnostic[1].startswith(message)


def test_the_editor_underlines_nothing_in_our_job_files(editor):
    for name, text in CONFIGS.items():
        assert editor.open(text.removeprefix(FIRST_LINE))[0] == [], name
