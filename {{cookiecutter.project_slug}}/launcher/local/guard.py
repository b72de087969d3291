"""Runs a command, and ends it when its launcher has ended.

    python guard.py '["what", "to", "run", "last"]' COMMAND …

The launcher holds the other end of this process's standard input. A byte in it is an order:
`POLITE` or `FIRM`. Its end means that the launcher has ended, by whatever means, `kill -9`
included: so nothing that was started here outlives it. Standard library only, starts in 20 ms.
"""

import contextlib
import ctypes
import glob
import json
import os
import signal
import subprocess
import sys
import threading
import time

POLITE, FIRM = b"p", b"f"
# Each command has a value of its own in this variable, and whatever it starts inherits that.
MARK = "LAUNCHER_REPLICA"
ORPHANED = 3.0  # seconds that a command has for its checkpoint when its launcher has ended


def send(child, firmly):
    """Signal the command and whatever it has started."""
    with contextlib.suppress(OSError):  # it has ended
        if os.name == "nt":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL if firmly else signal.SIGTERM)


def kill_marked(value):
    """Kill every other process with this mark, in whatever session it is. Only Linux shows them."""
    mark, again = f"{MARK}={value}".encode(), True
    deadline = time.monotonic() + 2
    while again and time.monotonic() < deadline:
        again = False  # until there is none: they may be starting others at this moment
        for path in glob.glob("/proc/[0-9]*/environ"):
            pid = int(path.split("/")[2])
            # It may have ended, or belong to somebody else.
            with contextlib.suppress(OSError), open(path, "rb") as file:
                if pid != os.getpid() and mark in file.read().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)
                    again = True


def die_with_parent(number=9):  # SIGKILL, a name that Windows does not have
    """Let Linux send this process a signal when its parent has ended; 0 for none."""
    with contextlib.suppress(AttributeError, OSError):  # another system
        ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG


def obey(child, ended):
    while order := os.read(0, 1):
        send(child, firmly=order == FIRM)
    send(child, firmly=False)
    if not ended.wait(ORPHANED):
        send(child, firmly=True)


def run(command):
    """Run it to its end; return its exit code as a shell does, 128 + N after signal N."""
    ended = threading.Event()
    # A group of its own: a signal to it does not reach the guard, nor does a terminal's Ctrl-C.
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        # When the guard is killed, the launcher may have ended, too.
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )
    threading.Thread(target=obey, args=(child, ended), daemon=True).start()
    code = child.wait()
    ended.set()
    send(child, firmly=True)  # what it may have left behind
    return code if code >= 0 else 128 - code


def main(last, *command):
    code = run(command)
    kill_marked(os.environ.get(MARK))
    if json.loads(last):
        subprocess.run(json.loads(last), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os._exit(code)


if __name__ == "__main__":
    main(*sys.argv[1:])
