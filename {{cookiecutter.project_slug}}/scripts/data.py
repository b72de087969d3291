#!/usr/bin/env python3
"""See --help, or launcher/cli/data.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.cli.data import main

if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a name that this console cannot show
    sys.exit(main(sys.argv[1:]))
