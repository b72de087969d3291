"""Python runs this file at its start where the folder is on PYTHONPATH: what needs TensorFlow becomes
a fork. See `fork_trainers` in conftest.py.
"""

import os
import sys

PROGRAMS = (
    "trainer.task",
    "launcher.local.fork_server",
    "predictor.tensorflow_child",
    "predictor.gradients",
    "scripts/predict.py",
)

words = sys.orig_argv[1:]
if words[:1] == ["-m"]:
    del words[0]
if words and (words[0] in PROGRAMS or (words[0] == "-c" and "from trainer import" in words[1])):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from forked import be_client

    be_client(os.environ["FORK_SERVER"], words)
