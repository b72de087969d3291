"""What the scripts share: they put this repo on Python's path, then run a verb of launcher/cli."""

import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def run(name, *needs):
    """Run launcher/cli/NAME.py on this command line, and exit with its code.

    Args:
        needs: what the verb takes from folders that the launcher does not import.
    """
    sys.stdout.reconfigure(errors="replace")  # a name that this console cannot show
    sys.exit(import_module(f"launcher.cli.{name}").main(sys.argv[1:], *needs))
