"""The trainer as a Python package, which a job installs before it starts (`gcp.code: package`)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib import metadata
from pathlib import Path

from launcher.common.document import SpecError
from launcher.project import sources
from launcher.project.settings import ROOT

SOURCES = ("setup.py", "pyproject.toml", "MANIFEST.in", "codec", "trainer")
SETUPTOOLS = 77  # the oldest that builds it, as pyproject.toml has it


def build(folder: Path) -> Path:
    """Build the source distribution into a folder; return its path.

    The sources are copied first, so that nothing but them gets in, and nothing is left in the repo.

    Raises:
        SpecError: it cannot be built; with what setuptools said. Or a file would be missing in it.
    """
    files = {path.relative_to(ROOT).as_posix(): path for path in sources.list_files(SOURCES)}
    with tempfile.TemporaryDirectory() as name:
        stage = Path(name)
        for source, path in files.items():
            (stage / source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, stage / source)
        # In an environment of its own, build would fetch setuptools again from the network.
        alone = ["--no-isolation"] if _has_setuptools() else []
        command = [sys.executable, "-m", "build", "--sdist", *alone, "--outdir", folder, stage]
        done = subprocess.run(
            command,
            cwd=stage,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        hint = "; install it: pip install build" if "No module named build" in done.stderr else ""
        last = lines[-1].strip() if lines else "it says nothing"
        raise SpecError(f"setup.py: the package cannot be built: {last}{hint}")
    [path] = folder.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    if missing := sorted(set(files) - packed):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise SpecError(
            f"{missing[0]}{more}: not in the package; setup.py (package_data) and MANIFEST.in decide "
            "what is: change them, or move the file"
        )
    return path


def refuse_links() -> None:
    """Look for links to folders, which work in the image, and which neither package nor digest hold.

    Raises:
        SpecError: names the link.
    """
    for name in SOURCES:
        for path in sorted((ROOT / name).rglob("*")):
            if path.is_symlink() and path.is_dir():
                raise SpecError(
                    f"{path.relative_to(ROOT).as_posix()}: is a link to a folder, which a package "
                    "cannot hold; copy the folder there, or write gcp.code: container"
                )


def _has_setuptools() -> bool:
    try:
        return int(metadata.version("setuptools").split(".")[0]) >= SETUPTOOLS
    except (metadata.PackageNotFoundError, ValueError):
        return False
