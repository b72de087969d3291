"""Predicts for all instances of a file, on Vertex AI or on this machine, into the same files.

    python scripts/batch.py FILE [options]

FILE is JSON lines (.jsonl), CSV, a list of files (.txt), or whatever predict.py takes; in the cloud
gs://… or bq://PROJECT.DATASET.TABLE, too. Machines and options are those of configs/batch.yaml, and cost
while the job runs. Without a project in project.yaml it runs on this machine, as with --local.

An instance without a prediction is in prediction.errors_stats-…, with the reason, and the exit code is 2.
The same command again resumes what was killed, and follows a job that runs.
"""

from pathlib import Path
from types import ModuleType

from launcher.cli import command
from launcher.project.settings import ROOT


def main(argv: list[str], predictor: ModuleType) -> int:
    parser = command.new_parser(__doc__)
    add = parser.add_argument
    add("file", metavar="FILE", help="the instances")
    text = "a run's directory, or gs://…/model (default: the newest run with a model)"
    add("--model", metavar="RUN", help=text)
    text = "a BatchPredictionJob (default: configs/batch.yaml)"
    add("--config", type=Path, default=ROOT / "configs/batch.yaml", metavar="FILE", help=text)
    where = parser.add_mutually_exclusive_group()
    text = "on this machine, without the cloud"
    where.add_argument("--local", action="store_true", help=text)
    text = "print the messages as curl commands; send nothing"
    where.add_argument("--dry-run", action="store_true", help=text)
    text = "of a local prediction (default: runs/NAME/batch/FILE)"
    add("--output", type=Path, metavar="DIR", help=text)
    options = parser.parse_args(argv)
    from launcher.endpoints import batch  # --help needs none of it

    return command.run(
        lambda: batch.batch(options, predictor), "interrupted; the same command resumes"
    )
