"""Makes launcher/jobfile/messages.json from the installed SDK: what a job file may hold, by the API itself.

    python tools/vertex_messages.py

The SDK takes seconds to import and 177 MB to install; the table is a page, and a test compares them.
"""

import functools
import inspect
import json
import re
from importlib.metadata import version
from pathlib import Path

PRODUCT = Path(__file__).parents[1] / "{{cookiecutter.project_slug}}"
TABLE = PRODUCT / "launcher/jobfile/messages.json"
ROOTS = ("CustomJobSpec", "HyperparameterTuningJob", "Model", "DeployModelRequest")
ROOTS += ("BatchPredictionJob",)
PACKAGE = "google.cloud.aiplatform.v1."
# How the API's own notation of them looks in JSON.
WELL_KNOWN = {"Duration": "duration", "Timestamp": "timestamp", "BoolValue": "bool"}
WELL_KNOWN |= {"Int32Value": "int32"}
# Not for models of this repo, and with messages of their own. Vertex Explainable AI ends in March 2027.
LEFT_OUT = {"explanationSpec", "disableExplanations", "metadata", "dataStats", "baseModelSource"}
LEFT_OUT |= {"checkpoints", "defaultCheckpointId", "checkpointId", "speculativeDecodingSpec"}
LEFT_OUT |= {"generateExplanation", "modelParameters", "unmanagedContainerModel"}
LEFT_OUT |= {"vertexMultimodalDatasetSource", "vertexMultimodalDatasetDestination"}


def make() -> str:
    """The table as the text of the file.

    "messages" gives the type of each field: a scalar, an enum or a message; "[]" for a list, "map"
    for a mapping of texts, and "map<int32>" for one of numbers. "required" and "output" say what the service asks for, and what it
    alone writes. Of each list in "oneofs" only one field may stand in a message.
    """
    from google.cloud import aiplatform_v1

    table = {"messages": {}, "required": {}, "output": {}, "oneofs": {}, "enums": {}}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop(0)
        if name in table["messages"]:
            continue
        message = functools.reduce(getattr, name.split("."), aiplatform_v1)
        required, output = _words(message, "Required"), _words(message, "Output only")
        # A copy of the service's own notes in a job file would only mislead its reader.
        every = message.pb(message()).DESCRIPTOR.fields
        fields = [f for f in every if f.name not in output and f.json_name not in LEFT_OUT]
        table["messages"][name] = {f.json_name: _type(f, table, waiting) for f in fields}
        _put(table["required"], name, [f.json_name for f in fields if f.name in required])
        _put(table["output"], name, [_camel(word) for word in output])
        groups = {f.containing_oneof.name: f.containing_oneof for f in fields if f.containing_oneof}
        oneofs = [[f.json_name for f in group.fields] for group in groups.values()]
        _put(table["oneofs"], name, [names for names in oneofs if len(names) > 1])
    table = {"source": f"google-cloud-aiplatform {version('google-cloud-aiplatform')}", **table}
    return "{\n" + ",\n".join(_lines(table)) + "\n}\n"


def _lines(table):
    """JSON with a line for each message: a change of the API is then a change of a line."""
    for part, entries in table.items():
        if isinstance(entries, str):
            yield f'"{part}": {json.dumps(entries)}'
            continue
        lines = (f'  "{name}": {json.dumps(entry)}' for name, entry in entries.items())
        yield f'"{part}": {{\n' + ",\n".join(lines) + "\n}"


def _words(message, word: str) -> list[str]:
    """The fields whose description begins with this word."""
    entries = re.split(r"^ {4}(?=\w+ \()", inspect.cleandoc(message.__doc__), flags=re.MULTILINE)
    texts = {entry.partition(" ")[0]: entry.partition("):\n")[2].strip() for entry in entries[1:]}
    return [name for name, text in texts.items() if text.startswith(f"{word}.")]


def _put(table, name, values) -> None:
    if values:
        table[name] = values


def _camel(name: str) -> str:
    return re.sub("_(.)", lambda m: m[1].upper(), name)


def _type(field, table, waiting) -> str:
    many = "[]" if field.is_repeated else ""
    if field.enum_type:
        name = field.enum_type.full_name.removeprefix(PACKAGE)
        table["enums"][name] = [value.name for value in field.enum_type.values]
        return name + many
    if field.message_type is None:
        kinds = {
            getattr(field, name): name.removeprefix("TYPE_").lower()
            for name in dir(field)
            if name.startswith("TYPE_")
        }
        return kinds[field.type] + many
    name = field.message_type.full_name
    if field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        assert key.type == field.TYPE_STRING, name
        kind = _type(value, table, waiting)
        return "map" if kind == "string" else f"map<{kind}>"
    if name.startswith("google.protobuf."):
        return WELL_KNOWN[name.removeprefix("google.protobuf.")] + many
    assert name.startswith(PACKAGE), name
    waiting.append(name.removeprefix(PACKAGE))
    return waiting[-1] + many


if __name__ == "__main__":
    TABLE.write_text(make(), encoding="utf-8", newline="\n")
    print(TABLE)
