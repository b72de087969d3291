#!/usr/bin/env python3
"""See --help, or launcher/cli/batch.py."""

import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.cli import batch  # noqa: E402
from predictor import batch as predictor  # noqa: E402

main = partial(batch.main, predictor=predictor)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
