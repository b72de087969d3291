"""Compares a run with simple models: is its network needed?

    python scripts/baseline.py [RUN]             fits them here; a table, and one sentence
    python scripts/baseline.py [RUN] --bqml      prints SQL that trains such models in BigQuery
    python scripts/baseline.py [RUN] --automl    prints the message that starts AutoML, and its price

RUN is a run's directory (default: the newest run that has a model). The models learn from the rows that
the run has learned from, and predict its held-out rows. The run's report shows the same table.
scikit-learn is installed once, into build/scikit-learn, apart from the trainer's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from launcher.cli import command
from launcher.common.document import SpecError
from launcher.common.terminal import print_table
from launcher.project.settings import ROOT, read_or_default

APART = ROOT / "build" / "scikit-learn"
REQUIREMENT = "scikit-learn>=1.5,<2"
MACHINE = "n2-standard-4"  # whose price gives the costs: that of configs/cpu.yaml


def main(argv: list[str], automl) -> int:
    """Run the verb; automl is `codec.automl`, which the launcher does not import."""
    parser = command.new_parser(__doc__)
    add = parser.add_argument
    add("run", nargs="?", type=Path, metavar="RUN", help="default: the newest run with a model")
    elsewhere = parser.add_mutually_exclusive_group()
    text = "print SQL for BigQuery ML; run nothing"
    elsewhere.add_argument("--bqml", action="store_true", help=text)
    text = "print a TrainingPipeline for Vertex AI, as JSON; send nothing"
    elsewhere.add_argument("--automl", action="store_true", help=text)
    options = parser.parse_args(argv)
    return command.run(lambda: _start(options, automl))


def _start(options: argparse.Namespace, automl) -> int:
    from launcher.report import runs  # --help needs none of it

    run = runs.load(runs.find_model(options.run).parent)
    if not (options.bqml or options.automl):
        return _compare(run)
    settings = read_or_default()
    schema = (run.path / "schema.json").read_text(encoding="utf-8")
    home = settings.project or "PROJECT", settings.slug.replace("-", "_")
    try:
        if options.bqml:
            print(automl.write_sql(schema, run.record["data"], *home))
        else:
            message, notes = automl.describe_training(schema, run.record["data"], *home)
            print(json.dumps(message, indent=2, ensure_ascii=False))
            print("\n".join(notes), file=sys.stderr)
    except ValueError as error:
        raise SpecError(str(error)) from None
    return 0


def _compare(run) -> int:
    from launcher.common.files import write_file
    from launcher.jobfile.program import drop_contract
    from launcher.local import simple_models
    from launcher.report import baselines

    _install()
    fit = [sys.executable, simple_models.__file__, str(APART)]
    words = [sys.executable, "-m", "trainer.engine.baselines", str(run.path.resolve()), *fit]
    env = drop_contract(os.environ)
    done = subprocess.run(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, encoding="utf-8")
    if done.returncode:
        return done.returncode  # it has said why
    result = json.loads(done.stdout.splitlines()[-1]) | {"ended": run.record.get("ended")}
    _add_costs(result, run)
    write_file(run.path / baselines.FILE, json.dumps(result, indent=2) + "\n")
    section = baselines.read_section(run)[0]
    rows = [
        [baselines.write_estimate(c["bar"]) if isinstance(c, dict) else c for c in row]
        for row in section["rows"]
    ]
    print_table(section["columns"], rows)
    print(section["text"])
    return 0


def _install() -> None:
    """Install scikit-learn where only this verb looks for it, unless it is there.

    Raises:
        SpecError: it cannot be installed; the command that does it.
    """
    if APART.is_dir():
        return
    words = [sys.executable, "-m", "pip", "install"]
    if shutil.which("uv"):
        words = ["uv", "pip", "install", "--python", sys.executable]
    words += ["--quiet", "--constraint", "constraints.txt", REQUIREMENT, "--target"]
    print(f"[launcher] installing scikit-learn into {APART}, once", file=sys.stderr, flush=True)
    partial = APART.with_name(f"{APART.name}.{os.getpid()}.partial")
    try:
        done = subprocess.run([*words, partial], cwd=ROOT, capture_output=True, encoding="utf-8")
        if done.returncode:
            *_, why = ["no word", *done.stderr.strip().splitlines()]
            again = shlex.join([*words, APART.relative_to(ROOT).as_posix()])
            raise SpecError(
                f"scikit-learn: cannot be installed ({why}); with a network, run: {again}"
            )
        os.replace(partial, APART)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _add_costs(result: dict, run) -> None:
    """Add to each model what its fit costs, and to the run what its training costs, on one machine."""
    from launcher.cost.prices import dollars
    from launcher.endpoints.plan import price_machine

    price = price_machine(MACHINE, read_or_default().region)
    result["priced"] = f"cost on {MACHINE}"
    for model in result["models"]:
        if model["name"] == "this run":
            model["seconds"] = run.record["timings"].get("train")
        known = price is not None and model["seconds"] is not None
        model["cost"] = dollars(price * model["seconds"] / 3600) if known else "unknown"
