"""dev.py starts on a machine that has little, and says what it lacks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dev
from conftest import HERE, LONGEST, ROOT, fork_trainers


@pytest.mark.parametrize("arguments", [[], ["tets"], ["demo", "-k", "x"], ["clean", "x"]])
def test_unknown_verb(arguments):
    line = [sys.executable, str(ROOT / "dev.py"), *arguments]
    done = subprocess.run(line, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("dev.py: write python3 dev.py demo") and not done.stdout
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")
def test_python_of_another_version(tmp_path, monkeypatch):
    """The other Pythons on PATH are asked their version: one is a dead shim, one an impostor."""
    (tmp_path / "python3.13").write_text("#!/bin/sh\nexit 127\n", encoding="utf-8")
    (tmp_path / "python3.12").write_text("#!/bin/sh\necho 3.9\n", encoding="utf-8")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dev.sys, "version_info", (3, 9, 18))
    for name in ("python3.13", "python3.12"):
        (tmp_path / name).chmod(0o755)
    with pytest.raises(dev.Stop, match="this is Python 3.9, and TensorFlow needs 3.10 to 3.13"):
        dev.find_python()
    (tmp_path / "python3.11").write_text("#!/bin/sh\necho 3.11\n", encoding="utf-8")
    (tmp_path / "python3.11").chmod(0o755)
    assert dev.find_python() == ("3.11", ["python3.11"])


def test_failing_step_shows_what_was_said(capfd):
    with pytest.raises(dev.Stop, match="Asking failed .exit code 3., see above; ask again"):
        dev.step("Asking", [sys.executable, "-c", "print('no'); exit(3)"], "ask again")
    assert "no\n" in capfd.readouterr().out


def test_the_files_that_begin_are_there():
    assert [name for name in LONGEST if not (HERE / name).exists()] == []


@pytest.mark.slow
def test_demo_runs_and_runs_again():
    """As the README says it, in this checkout; and from inside an activated .venv."""
    for environ in ({}, fork_trainers()):
        line = [sys.executable, str(ROOT / "dev.py"), "demo"]
        environ = {**os.environ, **environ}
        done = subprocess.run(line, env=environ, capture_output=True, encoding="utf-8", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        assert float(re.search(r"^eval accuracy: (\S+)", done.stdout, re.MULTILINE)[1]) >= 0.95
        for what in ("run directory", "report"):
            path = Path(re.search(f"^{what}: (.*)$", done.stdout, re.MULTILINE)[1])
            assert path.exists() and dev.DEMO in path.parents
        *_, address, following = done.stdout.splitlines()
        assert address == f"Open the report in a browser: {path.as_uri()}"
        assert (dev.ROOT / re.match("Next: (.*?),", following)[1]).is_file()
