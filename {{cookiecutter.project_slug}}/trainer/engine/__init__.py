"""The machinery under `loop.py`: one idea a file. You can train any model without opening it."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no notes on how TensorFlow was compiled
