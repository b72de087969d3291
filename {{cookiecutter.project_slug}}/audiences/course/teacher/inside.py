"""What runs inside the sandbox: the tests, then the job, then its predictions; a copy has this name: run.py.

It prints one JSON object. All that it prints may be forged by the submission: only predictions count
much, and those are the submission's own.
"""

import json
import subprocess
import sys
import tempfile

FLAGS = (
    "import json, sys; from assignment.solution import get_flags; print(json.dumps(get_flags()))"
)


def call(*words, **settings):
    """Run Python with these words; what it prints goes to the log."""
    return subprocess.run([sys.executable, *words], **{"stdout": sys.stderr, **settings})


def main(tests: str, features: str, *flags: str) -> None:
    answer, folder = {"report": "", "predictions": []}, tempfile.mkdtemp()
    job, report = f"{folder}/job", f"{folder}/report.xml"
    pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.")
    call(*pytest, f"--junit-xml={report}", tests)
    try:
        with open(report, encoding="utf-8", errors="replace") as file:
            answer["report"] = file.read()
    except OSError:
        print("the tests did not end", file=sys.stderr)
    own = call("-c", FLAGS, stdout=subprocess.PIPE, text=True)
    try:
        words = [*flags, *map(str, json.loads(own.stdout.splitlines()[-1]))]
    except (IndexError, ValueError, TypeError):
        print("get_flags() gives no list of texts", file=sys.stderr)
    else:
        if call("-m", "trainer.task", "--job-dir", job, *words).returncode == 0:
            predict = ("scripts/predict.py", "--model", f"{job}/model", features)
            done = call(*predict, stdout=subprocess.PIPE, text=True)
            answer["predictions"] = done.stdout.splitlines()
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
