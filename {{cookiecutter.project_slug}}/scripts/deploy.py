#!/usr/bin/env python3
"""See --help, or launcher/cli/deploy.py."""

import _verb

if __name__ == "__main__":
    _verb.run("deploy")
