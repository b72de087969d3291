#!/usr/bin/env python3
"""See --help, or launcher/cli/batch.py."""

import _verb

from predictor import batch

if __name__ == "__main__":
    _verb.run("batch", batch)
