"""BatchPredictionJobs as they are lived: each look moves one on; when it succeeds, its predictions are there.

    batches = Batches(vertex, serving, buckets)     what predicts is `serving.answer`
    batches.sent                                    the messages, as clients sent them
    batches.ends = "FAILED"                         how jobs end

An answer {"error": "…"} is that instance's failure. Files are written as the service writes them.
"""

import base64
import csv
import io
import json
from datetime import datetime, timezone

from google.protobuf import json_format

from standins.vertex import Refused, sdk

FILES = "prediction.results-00000-of-00001", "prediction.errors_stats-00000-of-00001"


class Batches:
    def __init__(self, vertex, serving, buckets):
        self.vertex, self.serving, self.buckets = vertex, serving, buckets
        self.reset()
        vertex.handlers["CreateBatchPredictionJob"] = self._create
        vertex.handlers["GetBatchPredictionJob"] = self._get

    def reset(self):
        for name in [n for n in self.vertex.resources if "/batchPredictionJobs/" in n]:
            del self.vertex.resources[name]
        self.sent: list[dict] = []
        self.ends = "SUCCEEDED"

    def _create(self, message):
        job = message.batch_prediction_job
        self.sent.append(json_format.MessageToDict(job))
        if not job.display_name or not job.dedicated_resources.machine_spec.machine_type:
            raise Refused(
                400, "INVALID_ARGUMENT", "displayName and dedicatedResources are required"
            )
        self.serving.version(job.model)
        made = type(job)()
        made.CopyFrom(job)
        made.name = f"{message.parent}/batchPredictionJobs/{next(self.vertex._ids)}"
        made.state = sdk().JobState.JOB_STATE_QUEUED
        made.create_time.FromDatetime(datetime.now(timezone.utc))
        self.vertex.resources[made.name] = made
        return made

    def _get(self, message):
        job = self.vertex.resources[message.name]
        states = sdk().JobState
        if job.state == states.JOB_STATE_QUEUED:
            job.state = states.JOB_STATE_RUNNING
            job.start_time.FromDatetime(datetime.now(timezone.utc))
        elif job.state == states.JOB_STATE_RUNNING:
            job.state = states[f"JOB_STATE_{self.ends}"]
            job.end_time.FromDatetime(datetime.now(timezone.utc))
            if self.ends == "SUCCEEDED":
                self._predict(job)
            else:
                job.error.message = "The container ran out\nof memory."
        return job

    def _predict(self, job):
        """Write what each instance gets; instances and keys are taken out as `instanceConfig` says."""
        heads, instances = [], []
        config = json_format.MessageToDict(job.instance_config)
        for value in self._read(job.input_config):
            key, shown = config.get("keyField"), value
            if isinstance(value, dict):
                out = {key, *config.get("excludedFields", ())}
                value = {n: v for n, v in value.items() if n not in out}
            heads.append({"key": shown[key]} if key else {"instance": shown})
            instances.append(value)
        lines = [[], []]
        for head, answer in zip(heads, self.serving.answer(instances), strict=True):
            failed = "error" in answer
            error = {"status": "INVALID_ARGUMENT", "message": answer.get("error")}
            lines[failed].append(
                json.dumps({**head, **({"error": error} if failed else {"prediction": answer})})
            )
        job.completion_stats.successful_count, job.completion_stats.failed_count = map(len, lines)
        uri = f"{job.output_config.gcs_destination.output_uri_prefix}/prediction-{job.display_name}"
        job.output_info.gcs_output_directory = uri
        bucket, _, folder = uri.removeprefix("gs://").partition("/")
        for name, part in zip(FILES, lines, strict=True):
            text = "".join(f"{line}\n" for line in part)
            self.buckets.write(bucket, f"{folder}/{name}", text.encode())

    def _read(self, source):
        """The instances as the container gets them."""
        if source.instances_format == "bigquery":
            return [{"table": source.bigquery_source.input_uri}]
        [uri] = source.gcs_source.uris
        lines = self._content(uri).decode().splitlines()
        if source.instances_format == "file-list":
            return [{"b64": base64.b64encode(self._content(one)).decode()} for one in lines]
        if source.instances_format == "csv":
            return list(csv.reader(io.StringIO("\n".join(lines[1:]))))
        return [json.loads(line) for line in lines]

    def _content(self, uri):
        return self.buckets.read(*uri.removeprefix("gs://").split("/", 1))
