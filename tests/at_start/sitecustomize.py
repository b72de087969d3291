"""Python runs this file at its start where the folder is on PYTHONPATH: a trainer becomes a fork.

See `fork_trainers` in conftest.py.
"""

import os
import sys

if sys.orig_argv[1:3] == ["-m", "trainer.task"]:
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    from forked import be_client

    be_client(os.environ["FORK_SERVER"], sys.orig_argv[2:])
