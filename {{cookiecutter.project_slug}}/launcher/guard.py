"""Runs a command, and ends it when the launcher that asked for it is gone.

    python guard.py '["what", "to", "run", "last"]' COMMAND …

The launcher holds the other end of this process's standard input. A byte in it is an order:
`POLITE` or `FIRM`. Its end means that the launcher has ended, by whatever means, `kill -9`
included: so nothing that was started here outlives it. Standard library only, starts in 20 ms.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading

POLITE, FIRM = b"p", b"f"
ORPHANED = 3.0  # seconds that a command has for its checkpoint when its launcher is gone


def send(child, firmly):
    """Signals the command and whatever it has started."""
    with contextlib.suppress(OSError):  # it has ended
        if os.name == "nt":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL if firmly else signal.SIGTERM)


def obey(child, ended):
    while order := os.read(0, 1):
        send(child, firmly=order == FIRM)
    send(child, firmly=False)
    if not ended.wait(ORPHANED):
        send(child, firmly=True)


def main(last, *command):
    ended = threading.Event()
    # A group of its own: a signal to it does not reach the guard, nor does a terminal's Ctrl-C.
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=obey, args=(child, ended), daemon=True).start()
    code = child.wait()
    ended.set()
    send(child, firmly=True)  # what it may have left behind
    if json.loads(last):
        subprocess.run(json.loads(last), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os._exit(code if code >= 0 else 128 - code)  # ended by a signal: as a shell tells it


if __name__ == "__main__":
    main(*sys.argv[1:])
