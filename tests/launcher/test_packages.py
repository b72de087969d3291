"""The packages of the launcher import downwards."""

from __future__ import annotations

from conftest import ROOT
from test_imports import read_imports

# The launcher's packages, bottom up: each imports only itself and those before it.
ORDER = ("common", "project", "jobfile", "local", "report", "study", "cost", "cloud")
ORDER += ("endpoints", "doctor", "setup", "cli")


def test_the_packages_of_the_launcher_import_downwards():
    packages = {path.parent.name for path in (ROOT / "launcher").glob("*/__init__.py")}
    assert packages == set(ORDER)
    for i, package in enumerate(ORDER):
        for path, names in read_imports(f"launcher/{package}"):
            imported = {name[1] for name in names if name[0] == "launcher"}
            assert not imported.intersection(ORDER[i + 1 :]), path
