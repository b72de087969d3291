"""What the scripts share: they put this repo on Python's path, then run a verb of launcher/cli."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def run(name, *needs):
    """Run launcher/cli/NAME.py on this command line, with `needs`, which the launcher must not import;
    exit with its code."""
    sys.stdout.reconfigure(errors="replace")  # a name that this console cannot show
    sys.exit(import_module(f"launcher.cli.{name}").main(sys.argv[1:], *needs))
