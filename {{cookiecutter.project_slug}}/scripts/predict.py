#!/usr/bin/env python3
"""See --help, or launcher/cli/predict.py."""

import _verb

from predictor import predict

if __name__ == "__main__":
    _verb.run("predict", predict)
