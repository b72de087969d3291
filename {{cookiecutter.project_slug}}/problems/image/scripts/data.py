#!/usr/bin/env python3
"""See --help, or launcher/cli/data.py and codec/shards/command.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from codec import files
from codec.shards import command
from launcher.cli.data import main
from launcher.common.terminal import show_steps

files.GFILE = "tensorflow.io.gfile"  # opens gs:// for shards; imported with the first such path

if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a name that this console cannot show
    sys.exit(main(sys.argv[1:], lambda verbs: command.add_verbs(verbs, show_steps)))
