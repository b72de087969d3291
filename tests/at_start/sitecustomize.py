"""Python runs this file at its start where the folder is on PYTHONPATH: a trainer becomes a fork.

So does scripts/predict.py, where it is called by that path. See `fork_trainers` in conftest.py.
"""

import os
import sys

words = sys.orig_argv[1:]
if words[:1] == ["-m"]:
    del words[0]
if words[:1] in (["trainer.task"], ["scripts/predict.py"]):
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from forked import be_client

    be_client(os.environ["FORK_SERVER"], words)
