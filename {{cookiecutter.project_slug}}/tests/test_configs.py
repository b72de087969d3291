"""Each job file in configs/ fits the job message, the project and your trainer's flags.

The check runs the trainer's `--describe`: it must stay fast, so nothing that `trainer/options.py` and
`trainer/outputs.py` import at their top may be heavy.
"""

import json
import subprocess
import sys

from conftest import ROOT


def test_no_file_has_a_fault_and_each_is_described():
    command = [sys.executable, ROOT / "scripts/check.py"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8")

    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len([*ROOT.glob("configs/*.yaml")])


def test_the_trainer_describes_itself_at_once():
    code = "import sys, trainer.task as t\ntry: t.parse(['--describe'])\nexcept SystemExit: pass\n"
    code += "print({'tensorflow', 'pyarrow', 'PIL'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    description, heavy = done.stdout.splitlines()
    assert heavy == "set()"
    description = json.loads(description)
    assert set(description["sources"]) <= set(description["flags"])
