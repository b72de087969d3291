"""The requests of a deployment as commands: curl, and gcloud where it can say the same."""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping

from launcher.cloud import clients
from launcher.cloud.vertex import Step
from launcher.project.settings import Settings

COMMANDS = {"upload": "ai models upload", "endpoints": "ai endpoints create"}
COMMANDS |= {"deployModel": "ai endpoints deploy-model"}
# The fields for which gcloud has a flag of the same name; it takes no file.
FIELDS = ("displayName", "labels", "versionDescription", "versionAliases", "model", "trafficSplit")
FIELDS += ("imageUri", "ports", "predictRoute", "healthRoute", "deploymentTimeout")
FIELDS += ("serviceAccount", "machineType", "minReplicaCount", "maxReplicaCount")
FIELDS += ("autoscalingMetricSpecs",)
ONLINE = "aiplatform.googleapis.com/prediction/online"
METRICS = {f"{ONLINE}/cpu/utilization": "cpu-usage"}
METRICS |= {f"{ONLINE}/accelerator/duty_cycle": "gpu-duty-cycle"}


def to_shell(settings: Settings, steps: Iterable[Step]) -> Iterator[str]:
    """Requests in their order, as for a project that has nothing yet."""
    project, region = settings.project, settings.region
    for step in steps:
        body = json.dumps(step.body, indent=2, ensure_ascii=False)
        yield f"# {step.what}"
        if words := to_gcloud(step):
            there = [f"--project={project}", f"--region={region}"]
            yield f"# or: {shlex.join(['gcloud', *words, *there])}"
        yield f"curl -X POST '{clients.endpoint('aiplatform', region)}/v1/{step.path}' \\"
        yield '  -H "Authorization: Bearer $(gcloud auth print-access-token)" \\'
        yield f"  -H 'Content-Type: application/json' -d @- <<'END'\n{body}\nEND"


def to_gcloud(step: Step) -> list[str]:
    """The words of a gcloud command that sends the same; none where it cannot."""
    name, _, method = step.path.rpartition("/")[2].partition(":")
    words = [*COMMANDS.get(method or name, "").split(), *([name] * (method == "deployModel"))]
    flags = [*_list_flags(step.body)]
    return [*words, *flags] if words and all(flags) else []


def _list_flags(body: Mapping, prefix: str = "") -> Iterator[str]:
    """A flag for each field of a message; "" for one that gcloud cannot set."""
    for key, value in body.items():
        if isinstance(value, Mapping) and key not in ("labels", "trafficSplit"):
            yield from _list_flags(value, "container-" if key == "containerSpec" else "")
            continue
        flag, text = prefix + re.sub("[A-Z]", lambda c: f"-{c[0].lower()}", key), _format(value)
        if key == "deploymentTimeout":
            flag, text = f"{flag}-seconds", text.removesuffix("s")
            text = text if text.isdecimal() else ""  # it takes no fractions
        yield f"--{flag}={text}" if text and key in FIELDS else ""


def _format(value: object) -> str:
    """A value as gcloud's flags take it; "" where they do not."""
    if isinstance(value, Mapping):
        return ",".join(f"{key}={part}" for key, part in value.items())
    if isinstance(value, list):
        parts = [_format_part(part) for part in value]
        return ",".join(parts) if all(parts) else ""
    return str(value)


def _format_part(part: object) -> str:
    if not isinstance(part, Mapping):
        return str(part)
    if "metricName" not in part:
        return str(part.get("containerPort", ""))
    name = METRICS.get(part["metricName"])
    return f"{name}={part['target']}" if name and "target" in part else ""
