"""What the benchmarks share: a baked repo to measure, children to run in it, medians, tables.

Every script runs by itself, `python benchmarks/start.py [--quick]`, with the Python that the baked
repo's packages are installed in; `run.py` runs all and writes RESULTS.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import census

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
FOLDER = ROOT / "build" / "benchmarks"
QUIET = 0.2  # cores that others may take meanwhile; more, and ratios are noise


@dataclass
class Done:
    """A child that has ended."""

    seconds: float
    cpu: float  # seconds, with all that it started and waited for
    peak: int  # the most memory it held at any time, bytes
    code: int
    output: str

    @property
    def answer(self):
        """The JSON in the last line of a child of ours."""
        return json.loads(self.output.splitlines()[-1])


class Lab:
    """A fresh bake, data files, and the ways to run the trainer on them.

    Args:
        answers: to the template's questions, such as "problem=image".
        before: a commit whose bake is measured beside this one's, by parts that can.
    """

    def __init__(self, quick, *answers, before=None):
        self.quick = quick
        self.repeats = 1 if quick else 5
        self.folder = FOLDER / ("quick" if quick else "full")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.runs = 0
        self.out = tempfile.TemporaryDirectory(prefix="bake-", dir=self.folder)  # goes with us
        out = Path(self.out.name)
        self.repo, self.before, self.before_commit = (
            self._bake(ROOT, out / "now", answers),
            None,
            before,
        )
        if before:
            archive = subprocess.run(
                ["git", "archive", before], cwd=ROOT, check=True, stdout=subprocess.PIPE
            )
            (out / "template").mkdir()
            subprocess.run(["tar", "-x"], cwd=out / "template", check=True, input=archive.stdout)
            self.before = self._bake(out / "template", out / "before", answers)

    def _bake(self, template, out, answers):
        command = [sys.executable, "-m", "cookiecutter", template, "--no-input", "--default-config"]
        subprocess.run([*command, "-o", out, *answers], check=True, stdout=subprocess.DEVNULL)
        repo = next(out.iterdir())
        # A user's first run writes bytecode; it is not what we measure.
        subprocess.run(
            [sys.executable, "-m", "compileall", "-q", repo / "codec", repo / "trainer"], check=True
        )
        return repo

    def csv(self, rows, seed=0):
        """A census file; the same one each time."""
        path = self.folder / f"census-{rows}-{seed}.csv"
        if not path.exists():
            partial = path.with_suffix(".partial")
            census.write(partial, rows, seed)
            partial.rename(path)
        return path

    def data_flags(self, rows):
        """Flags for training on that many rows; a tenth as many, at most 50,000, are held out."""
        held_out = self.csv(min(max(rows // 10, 1000), 50_000), seed=1)
        files = ["--train-files", self.csv(rows), "--eval-files", held_out]
        return [*files, "--target", census.TARGET]

    def job_dir(self):
        """A new one, each beside a cache of encoded data of its own."""
        self.runs += 1
        return self.repo / "runs" / f"{self.runs}" / "run"

    def train(self, *flags, **options):
        """`python -m trainer.task` with these flags; they name the job directory, if any."""
        return self.run(["-m", "trainer.task", *flags], **options)

    def child(self, script, *arguments, **options):
        """A script of this folder, run in the baked repo."""
        return self.run([HERE / script, *arguments], **options)

    def run(self, arguments, **options):
        self.start(arguments, **options)
        return self.finish(self.started)

    def start(self, arguments, code=0, repo=None, limit_data=None, cpus=None, **environment):
        """Starts Python in the baked repo; `finish` waits for it.

        Args:
            code: the exit code that it must have.
            repo: another one than `self.repo`.
            limit_data: bytes of memory that it may take, beside the files that it maps (Linux).
            cpus: the processors that it may use (Linux).
        """

        def limit():
            if limit_data:
                import resource

                resource.setrlimit(resource.RLIMIT_DATA, (limit_data, limit_data))
            if cpus:
                os.sched_setaffinity(0, cpus)

        if limit_data:  # Arrow's own pool takes a GiB of addresses at once, which count as taken
            environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"
        settings = {
            **os.environ,
            "PYTHONPATH": str(repo or self.repo),
            "PYTHONIOENCODING": "utf-8",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            **environment,
        }
        log = open(self.folder / f"child-{time.time_ns()}.log", "w+b")  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=repo or self.repo,
            env=settings,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=limit if limit_data or cpus else None,
        )
        self.started = (process, log, time.monotonic(), code, arguments)
        return self.started

    def finish(self, started):
        process, log, begin, code, arguments = started
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read().decode("utf-8", "replace")
        log.close()
        os.unlink(log.name)
        if process.returncode != code:
            raise SystemExit(f"{output}\n{arguments} ended with {process.returncode}, not {code}")
        return Done(
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * 1024,
            process.returncode,
            output,
        )


class Clock:
    """Time since it was made, and how busy others kept the machine (Linux)."""

    def __init__(self):
        self.begin, self.busy, self.ours = time.monotonic(), _busy(), _ours()

    def seconds(self):
        return time.monotonic() - self.begin

    def others(self):
        """Cores that were busy with other work, on average; None if it cannot be known."""
        if self.busy is None:
            return None
        taken = (_busy() - self.busy) - (_ours() - self.ours)
        return max(0.0, taken / self.seconds())


def _busy():
    """Seconds that all processors together have worked, for anybody."""
    try:
        with open("/proc/stat", encoding="utf-8") as file:
            user, nice, system, _, _, irq, softirq, steal, *_ = map(
                int, file.readline().split()[1:]
            )
    except OSError:
        return None
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _ours():
    """Seconds that we and our children have worked."""
    return sum(os.times()[:4])


def interleave(repeats, ways):
    """Calls every way in turn, again and again, so that a busy moment hits all alike.

    Args:
        ways: {name: function without arguments}.

    Returns:
        {name: list of what the function gave}
    """
    found = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            print(f"  {name} ...", file=sys.stderr, flush=True)
            found[name].append(way())
    return found


def middle(values):
    return statistics.median(values)


def shown(values, unit="", digits=3):
    """Median, and the lowest and highest of what was measured."""
    low, mid, high = min(values), middle(values), max(values)
    return f"{short(mid, digits)}{unit} ({short(low, digits)}–{short(high, digits)})"


def short(value, digits=3):
    """A number in few letters: 1.30 M, 76.1 k."""
    if value >= 1e6:
        return f"{value / 1e6:.{digits - 1}f} M"
    if value >= 1e4:
        return f"{value / 1e3:.{digits}g} k"
    return f"{value:,.0f}" if value >= 1e3 else f"{value:.{digits}g}"


def verdict(value, aim, below=False):
    """A ratio, its aim, and whether that is met."""
    met = value < aim if below else value >= aim
    return f"{value:.3g}", f"{'<' if below else '≥'} {aim:g}", "met" if met else "**missed**"


def missed(row):
    """Whether a row of a table says that its aim is not met."""
    return "missed" in row[-1]


def rates(answers):
    """Rows a second, out of what some children of `ways.py` gave."""
    return [answer["rate"] for answer in answers]


def table(head, *rows):
    """Markdown."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def standalone(measure):
    """The command line of one script."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--quick", action="store_true", help="small and once: does it run at all?")
    print(measure(Lab(parser.parse_args().quick)))
