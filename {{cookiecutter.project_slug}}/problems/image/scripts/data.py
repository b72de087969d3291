#!/usr/bin/env python3
"""See --help, or launcher/cli/data.py and codec/shards/command.py."""

import _verb

from codec import files
from codec.shards import command
from launcher.common.terminal import show_steps

files.GFILE = "tensorflow.io.gfile"  # opens gs:// for shards; imported with the first such path

if __name__ == "__main__":
    _verb.run("data", lambda verbs: command.add_verbs(verbs, show_steps))
