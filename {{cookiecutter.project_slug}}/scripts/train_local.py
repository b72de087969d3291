#!/usr/bin/env python3
"""See --help, or launcher/cli/train_local.py."""

import _verb

if __name__ == "__main__":
    _verb.run("train_local")
