"""Make configs/job.schema.json, by which editors complete and check a file of configs/ as it is typed.

    python tools/job_schema.py

Fields and types are those of messages.json, machines those of the launcher; the descriptions are in
job_descriptions.yaml. scripts/check.py remains the judge. The schema differs from it on purpose:

- A field without a value counts as absent for check.py. The schema refuses it: most likely somebody
  is still typing there.
- Editors read YAML 1.2, check.py and gcloud read 1.1. So `yes` and `1e-5` mean different things to
  them, and a whole number may be written 2.0 in an editor only.
- Rules between fields (which accelerator fits which machine) are known to check.py alone.

The schema is of draft 7, as the YAML language server ignores parts of later drafts.
"""

import json
import sys
from pathlib import Path

import yaml

# The product's launcher, unrendered: it holds no template variable.
sys.path.append(str(Path(__file__).parents[1] / "{{cookiecutter.project_slug}}"))

from launcher.endpoints import files
from launcher.jobfile.machines import GONE, MACHINES
from launcher.jobfile.rules import FILLED_IN
from launcher.jobfile.schema import ENUMS, MESSAGES, TABLE
from launcher.jobfile.spec import STUDY_KEYS
from launcher.project.settings import ROOT

SCHEMA = ROOT / "configs" / "job.schema.json"
DESCRIPTIONS = Path(__file__).with_name("job_descriptions.yaml")
# What an editor says of a value that does not fit is in errorMessage, which other tools ignore.
SCALARS = {
    "string": {"type": "string", "errorMessage": "Write a text; put a number in quotes."},
    "bool": {"type": "boolean", "errorMessage": "Write true or false, without quotes."},
    "double": {"type": "number", "errorMessage": "Write a number, without quotes."},
    "duration": {
        "type": "string",
        "pattern": r"^[0-9]+(\.[0-9]{1,9})?s$",
        "errorMessage": "Write seconds with an s, such as 3600s.",
    },
    "timestamp": {
        "type": "string",
        "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$",
        "errorMessage": 'Write it in UTC and in quotes: "2030-12-31T23:59:59Z".',
    },
    "map": {"type": "object", "additionalProperties": {"type": "string"}},
}
for bits in (32, 64):
    SCALARS[f"int{bits}"] = {
        "type": ["integer", "string"],  # the API writes large numbers as texts
        "pattern": "^-?[0-9]{1,19}$",
        "minimum": -(2 ** (bits - 1)),
        "maximum": 2 ** (bits - 1) - 1,
        "errorMessage": "Write a whole number.",
    }
# Names that check.py refuses wherever they are: of old strategies, and of chips that a machine type
# stands for.
OLD_STRATEGIES = {"ON_DEMAND", "LOW_COST"}
ATTACHABLE = {kind for machine in MACHINES.values() for kind in machine.accelerators} - set(GONE)


# {message: the keys of which a file has one at its top}; the first to have one decides.
KINDS = {"HyperparameterTuningJob": sorted(STUDY_KEYS), "CustomJobSpec": ["workerPoolSpecs"]}
for key, kind in files.KINDS.items():
    KINDS.setdefault(kind, []).append(key)


def make() -> str:
    """Return the text of the file."""
    words = yaml.safe_load(DESCRIPTIONS.read_text(encoding="utf-8"))
    # While a file has none of these keys, an editor offers those of all kinds.
    has_one = {
        kind: {"anyOf": [{"required": [key]} for key in keys]} for kind, keys in KINDS.items()
    }
    kinds: dict = {"anyOf": [{"allOf": [_reference(kind), has_one[kind]]} for kind in KINDS]}
    for kind in reversed(KINDS):
        kinds = {"if": has_one[kind], "then": _reference(kind), "else": kinds}
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "description": "A message of Vertex AI: a job, a study, a model, its deployment.",
        "type": "object",
        **kinds,
        "definitions": {name: _message(name, words[name]) for name in MESSAGES}
        | {name: _enum(names_of(name), words[name]) for name in ENUMS},
    }
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def list_fields(message: str) -> list[str]:
    """Return the fields that may be in a file: those that a script fills in may not."""
    return [key for key in MESSAGES[message] if key not in files.FILLED_IN.get(message, ())]


def names_of(enum: str) -> list[str]:
    """Return the names of an enum that check.py accepts."""
    names = [name for name in ENUMS[enum] if not name.endswith("_UNSPECIFIED")]
    if enum == "AcceleratorType":
        return [name for name in names if name in ATTACHABLE]
    return [name for name in names if name not in OLD_STRATEGIES]


def _reference(name: str) -> dict:
    return {"$ref": f"#/definitions/{name}"}


def _message(name: str, words: dict[str, str]) -> dict:
    kinds, fields = MESSAGES[name], list_fields(name)
    schema = {
        "type": "object",
        "properties": {key: {"description": words[key], **_type(kinds[key])} for key in fields},
        "additionalProperties": False,
    }
    if name == "MachineSpec":
        schema["properties"]["machineType"] |= _machine_types()
    required = [key for key in TABLE["required"].get(name, ()) if key in fields]
    if required := [key for key in required if key not in (*FILLED_IN, *files.DEFAULTS)]:
        schema["required"] = required
    if groups := TABLE["oneofs"].get(name):
        # Two fields that exclude each other are both underlined.
        schema["dependencies"] = {
            key: {"properties": {other: False for other in group if other != key}}
            for group in groups
            for key in group
        }
    return schema


def _type(kind: str) -> dict:
    if kind.endswith("[]"):
        return {"type": "array", "items": _type(kind[:-2])}
    if kind.startswith("map<"):
        return {"type": "object", "additionalProperties": _type(kind[4:-1])}
    return SCALARS.get(kind) or _reference(kind)


def _enum(names: list[str], words: dict[str, str]) -> dict:
    return {"enum": names, "enumDescriptions": [words[name] for name in names]}


def _machine_types() -> dict:
    sizes = [f"{m.cores} cores, {m.memory_gb:,.4g} GB" for m in MACHINES.values()]
    return {
        "enum": list(MACHINES),
        "enumDescriptions": sizes,
        "errorMessage": "No machine type for training. Write for instance n2-standard-4.",
    }


if __name__ == "__main__":
    SCHEMA.write_text(make(), encoding="utf-8", newline="\n")
    print(SCHEMA)
