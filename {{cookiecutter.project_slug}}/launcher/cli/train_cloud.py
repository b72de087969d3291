"""Sends a job file to Vertex AI: checked and priced first, traceable after.

    python scripts/train_cloud.py JOB.yaml [options] [-- trainer flags]

Where it goes, and how the code gets there, stands in project.yaml. The trainer's own flags:
python -m trainer.task --help
With --job-dir gs://BUCKET/runs/NAME among them, a job that was stopped resumes.
"""

import argparse
from pathlib import Path

from launcher.cli import command, deploy


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    add = parser.add_argument
    add("job", type=Path, metavar="JOB.yaml")
    add("--dry-run", action="store_true", help="print what would be sent, for gcloud; send nothing")
    add("--wait", action="store_true", help="show the log, and end as the job ends; Ctrl-C leaves")
    add("--max-cost", type=command.amount, metavar="USD", help="refuse a job that may cost more")
    text = "waits for the end; after success deploys the run, as scripts/deploy.py does"
    add("--then", choices=["deploy"], help=text)
    options, flags = command.parse_job(parser, argv)
    interrupted = "\nerror: interrupted: nothing was sent"
    return command.run(lambda: _send(options, flags), interrupted)


def _send(options: argparse.Namespace, flags: list[str]) -> int:
    from launcher.cloud import submit  # --help needs none of it

    if not options.then:
        return submit.cloud(options, flags)
    from launcher.endpoints import plan

    print(f"{'# ' if options.dry_run else ''}{plan.announce()}", flush=True)
    return submit.cloud(options, flags, then=lambda job: deploy.main([job.folder]))
