"""Run Python programs as forks of a process that has imported TensorFlow: half of a short training.

    forked.py FD PID                 a server on this socket: imports TensorFlow, forks for each client
    forked.py SOCKET PROGRAM ARGS…   a client: it seems to be `python -m PROGRAM ARGS…`; where the
                                     program is a file.py or -c, `python PROGRAM ARGS…`

The fork has the arguments, variables, folder, input and outputs of its client. The client passes
SIGTERM on and ends as the fork does; where it is killed, the fork is killed. Linux only.

Tests of how a process starts, or what TensorFlow does with a variable when it is imported, start a
real process: users have no such server.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
from multiprocessing import process

LONGEST = 1 << 18  # bytes of a client's arguments and variables


def serve(listener, runner):
    """Serve until the process that runs the tests ends, and remove the socket's folder.

    Returns only in the process of a run.
    """
    ended = os.pidfd_open(runner)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # as in codec/session.py
    # All that a run imports, beside its own code.
    for name in (
        *("keras", "tensorflow", "tensorboard.summary.v2"),
        *("onnxruntime", "tf2onnx.convert", "tf2onnx.tfonnx"),
        *("pyarrow.compute", "pyarrow.csv", "PIL.Image"),
    ):
        importlib.import_module(name)
    gc.freeze()  # a run need not look for garbage among all that was imported
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how a watcher ended
    while True:
        if ended in select.select([listener, ended], [], [])[0]:
            shutil.rmtree(os.path.dirname(listener.getsockname()), ignore_errors=True)
            os._exit(0)
        client, _ = listener.accept()
        if not os.fork():
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            return start_run(client)
        client.close()


def start_run(client):
    """Fork the run of a client and watch it; returns only in the process of the run."""
    import tempfile

    import numpy

    message, streams, _, _ = socket.recv_fds(client, LONGEST, 3)
    argv, variables, folder = json.loads(message)
    if run := os.fork():
        watch(client, run)
    client.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # New objects: those of the server remember what kind of file each was.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    lines = 1 if variables.get("PYTHONUNBUFFERED") else -1
    sys.stdout = os.fdopen(1, "w", lines, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    os.chdir(folder)
    process.ORIGINAL_DIR = folder  # where processes that the run spawns look for the program
    os.environ.clear()
    os.environ.update(variables)
    tempfile.tempdir = None  # it is to be found by the run's own variables
    sys.argv[:] = argv
    # As Python itself does.
    sys.path[0] = os.path.dirname(os.path.abspath(argv[0])) if is_file(argv[0]) else folder
    folders = [*filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[1:1] = folders
    # A file there hides a package that the server has imported.
    names = [name for path in folders for name in os.listdir(path)]
    hiding = {name.removesuffix(".py") for name in names if name.endswith(".py")}
    for name in [name for name in sys.modules if name.partition(".")[0] in hiding]:
        del sys.modules[name]
    numpy.random.seed()  # Python's own generator does so by itself


def is_file(program):
    return program.endswith(".py")


def watch(client, run):
    """Pass signals on, and the exit code back; end the run when its client has been killed."""
    ended = os.pidfd_open(run)
    while ended not in select.select([client, ended], [], [])[0]:
        signals = client.recv(1)
        os.kill(run, signals[0] if signals else signal.SIGKILL)
        if not signals:
            os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
    client.send(str(code).encode())
    os._exit(0)


def run_program():
    """Run it, and return its exit code; an exception that it does not catch passes on."""
    try:
        if sys.argv[0] == "-c":
            exec(sys.argv.pop(1), {"__name__": "__main__"})
        elif is_file(sys.argv[0]):
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
            return 1
        return end.code or 0
    return 0


def leave(code):
    """End as Python does, but leave what was imported as it is: to free it takes 0.2 s."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def be_client(address, argv):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(address)
        message = json.dumps([argv, dict(os.environ), os.getcwd()]).encode()
        socket.send_fds(server, [message], [0, 1, 2])
        signal.signal(signal.SIGTERM, lambda number, _: server.send(bytes([number])))
        code = int(server.recv(16))
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if code < 0:
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    if not sys.argv[1].isdigit():
        be_client(sys.argv[1], sys.argv[2:])
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
    leave(run_program())
