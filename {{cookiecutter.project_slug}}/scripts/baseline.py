#!/usr/bin/env python3
"""See --help, or launcher/cli/baseline.py."""

import _verb

from codec import automl

if __name__ == "__main__":
    _verb.run("baseline", automl)
