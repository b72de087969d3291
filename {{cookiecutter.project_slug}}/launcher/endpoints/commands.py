"""The requests of a deployment as commands: curl, and gcloud where it can say the same."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping

from launcher.cloud import clients
from launcher.cloud.vertex import Step
from launcher.project.settings import Settings

MODEL, BOX = "model", "model.containerSpec"
DEPLOYED, RESOURCES = "deployedModel", "deployedModel.dedicatedResources"
# {field of a request: gcloud's flag}; gcloud has no flag for the others, and takes no file.
FLAGS = {
    "ai models upload": {
        f"{MODEL}.displayName": "display-name",
        f"{MODEL}.versionDescription": "version-description",
        f"{MODEL}.versionAliases": "version-aliases",
        f"{MODEL}.labels": "labels",
        f"{BOX}.imageUri": "container-image-uri",
        f"{BOX}.ports": "container-ports",
        f"{BOX}.predictRoute": "container-predict-route",
        f"{BOX}.healthRoute": "container-health-route",
        f"{BOX}.deploymentTimeout": "container-deployment-timeout-seconds",
    },
    "ai endpoints create": {"displayName": "display-name", "labels": "labels"},
    "ai endpoints deploy-model": {
        f"{DEPLOYED}.model": "model",
        f"{DEPLOYED}.displayName": "display-name",
        f"{DEPLOYED}.serviceAccount": "service-account",
        f"{RESOURCES}.machineSpec.machineType": "machine-type",
        f"{RESOURCES}.minReplicaCount": "min-replica-count",
        f"{RESOURCES}.maxReplicaCount": "max-replica-count",
        f"{RESOURCES}.autoscalingMetricSpecs": "autoscaling-metric-specs",
        "trafficSplit": "traffic-split",
    },
}
COMMANDS = {"upload": "ai models upload", "endpoints": "ai endpoints create"}
COMMANDS |= {"deployModel": "ai endpoints deploy-model"}
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
    command = COMMANDS.get(method or name, "")
    flags = FLAGS.get(command, {})
    words = [name] if method == "deployModel" else []
    for path, value in _list_fields(step.body, flags):
        text = _format(value)
        if path not in flags or not text:
            return []
        if flags[path].endswith("-seconds"):
            text = text.removesuffix("s")
        words.append(f"--{flags[path]}={text}")
    return [*command.split(), *words]


def _list_fields(body: Mapping, flags: Mapping, path: str = "") -> Iterator[tuple[str, object]]:
    """The fields of a message, each with its path; what has a flag is one as a whole."""
    for key, value in body.items():
        inner = f"{path}{key}"
        if isinstance(value, Mapping) and inner not in flags:
            yield from _list_fields(value, flags, f"{inner}.")
        else:
            yield inner, value


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
