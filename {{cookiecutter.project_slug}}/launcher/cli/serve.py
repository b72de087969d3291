"""Serves a model on this machine as a container on Vertex AI does, with a page to try it.

    python scripts/serve.py [RUN] [--port 8080] [--container] [--bench]

RUN is a run's directory (default: the newest run that has a model). Only this machine reaches the
server. Ctrl-C ends it, once it has answered what it has received.
"""

import argparse
from pathlib import Path

from launcher.cli import command
from launcher.common.document import SpecError

BENCH_SECONDS = 3.0  # for each number of connections


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    add = parser.add_argument
    add("run", nargs="?", type=Path, metavar="RUN", help="default: the newest run with a model")
    add("--port", type=int, default=8080, metavar="N", help="of this machine (default: 8080)")
    add("--container", action="store_true", help="in the serving image, with the model in it")
    text = "measure requests/s, latency and CPU for some seconds, then end"
    add("--bench", action="store_true", help=text)
    options = parser.parse_args(argv)
    return command.run(lambda: _serve(options))


def _serve(options: argparse.Namespace) -> int:
    from launcher.local import serving, view  # --help needs none of it
    from launcher.report import runs

    model = runs.find_model(options.run)
    image = serving.build_image(model) if options.container else ""
    served = serving.Served(model, options.port, image, quiet=options.bench)
    print(f"[launcher] serving {model}", flush=True)
    with view.interruptible(served), served:
        if options.bench:
            return _bench(served)
        print(f"[launcher] page: {served.url}/  (Ctrl-C ends it)", flush=True)
        return served.wait()


def _bench(served) -> int:
    from launcher.local import load, serving

    served.wait_until_ready()
    request = served.make_request()
    print("one instance a request; the load comes from the same machine")
    print("connections  requests/s    p50       p99       CPU a request", flush=True)
    for connections in (1, 16, 64):
        before = served.read_cpu()
        try:
            one = load.run(served.port, serving.PREDICT, request, connections, BENCH_SECONDS)
        except OSError as error:
            raise SpecError(f"the server has ended, or does not answer: {error}") from None
        cpu = (served.read_cpu() - before) / (len(one.latencies) or 1)
        p50, p99 = one.quantile(0.5), one.quantile(0.99)
        times = f"{1e3 * p50:7.2f} ms{1e3 * p99:7.2f} ms{1e6 * cpu:8.0f} µs"
        print(f"{connections:11}{one.rate:12,.0f}{times}", flush=True)
        if one.failures:
            raise SpecError(f"{one.failures} requests failed; see the log above")
    return 0
