"""Compare a run with simple models: python -m trainer.engine.baselines RUN_DIR COMMAND …

scripts/baseline.py starts it; the command fits the models, and the last line printed is the result, as
JSON. The examples are those of the run, by its run.json. TensorFlow is not imported.
"""

import json
import sys

from codec import baselines, files
from trainer import data, task
from trainer.engine.ending import explain
from trainer.engine.record import read_record
from trainer.engine.runtime import JobError, join, read


def measure(run_dir: str, *command: str) -> dict:
    """What `codec.baselines.measure` returns; raises a JobError if the data is not the run's."""
    path = join(run_dir, "run.json")
    record, flags = read_record(path), task.parse(["--repeat", path, "--job-dir", run_dir])
    examples = data.load(flags, read(run_dir))
    before, now = (
        [[file["digest"] for file in part["files"]] for part in manifest.values()]
        for manifest in (record["data"], examples.manifest)
    )
    if before != now:
        raise JobError(f"{run_dir}: the data is no longer what it was trained on; train again")
    predictions = join(run_dir, "predictions.csv")
    text = files.read_text(predictions) if files.exists(predictions) else ""
    return baselines.measure(examples, text, command)


if __name__ == "__main__":
    try:
        print(json.dumps(measure(*sys.argv[1:])))
    except (Exception, KeyboardInterrupt) as error:
        sys.exit(explain(error, trained=False))
