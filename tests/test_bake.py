"""What comes out of the template, file by file: it parses, it is clean, and it keeps its walls."""

import ast
import email
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import answers
import dev
from conftest import PRODUCT, ROOT, Project, bake_into, fork_trainers, forked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

# Anything that a person can type, and that has broken some file of some template.
HOSTILE = (
    '"It\'s" C:\\Users\\new \\" {{ 7*7 }} {% if x %} {# #} {## ##} #~ for ${HOME} $(id) `x` %s'
    " <b> &amp; 'a': [b], - # no comment — Größe 研究 👩‍🔬 e\u0301 \u202b \ufeff \u00a0 "
)
HOSTILE += "x" * (198 - len(HOSTILE)) + " \\"
HOSTILE_AUTHOR = HOSTILE[::-1]


@pytest.fixture(scope="module")
def fresh(bake):
    """{problem: a bake with the defaults that no other test adds to}."""
    return {problem: bake(fresh=True, problem=problem) for problem in answers.PROBLEMS}


@pytest.fixture(params=answers.PROBLEMS)
def project(request, fresh):
    return fresh[request.param]


@pytest.fixture(params=answers.PROBLEMS)
def hostile(request, bake):
    texts = {"project_name": HOSTILE, "author": HOSTILE_AUTHOR, "project_slug": "hostile"}
    return bake(problem=request.param, **texts)


OPTIONS = {
    "problem": answers.PROBLEMS,
    "audience": answers.AUDIENCES,
    "license": answers.LICENSES,
    "project_name": ("My Research", HOSTILE),
    "project_slug": ("my-research", "with_underscore"),
    "author": ("Your Name", HOSTILE_AUTHOR),
    "gcp_project": ("", "my-lab-4711"),
    "gcp_region": ("us-central1", "europe-west4"),
    "gcs_bucket": ("", "lab-runs"),
}
ROWS = (dict(zip(OPTIONS, row, strict=True)) for row in itertools.product(*OPTIONS.values()))
ALL = [row for row in ROWS if not answers.faults(row)]


def cover_pairs():
    """Rows of answers in which every two answers to two questions occur together."""
    pairs = [set(itertools.combinations(row.items(), 2)) for row in ALL]
    missing, rows = set().union(*pairs), []
    while missing:
        best = max(range(len(ALL)), key=lambda i: len(pairs[i] & missing))
        missing -= pairs[best]
        rows.append(ALL[best])
    return rows


def name_row(row):
    return "-".join(row[question] for question in ("problem", "audience", "license"))


@pytest.fixture(params=cover_pairs(), ids=name_row)
def either(request, bake):
    return bake(**request.param)


def tracked():
    """The template's own files with their modes, as git holds them."""
    lines = subprocess.run(
        ["git", "ls-files", "-s", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout
    for line in filter(None, lines.split("\0")):
        mode, name = line.split()[0], line.split("\t")[1]
        if (ROOT / name).exists():
            yield name, mode


def metadata(project, tmp_path):
    """The package metadata that pip and the package index see."""
    code = "import sys, setuptools.build_meta as b; b.prepare_metadata_for_build_wheel(sys.argv[1])"
    project.run(["python", "-c", code, str(tmp_path)])
    text = next(tmp_path.glob("*.dist-info/METADATA")).read_text(encoding="utf-8")
    return email.message_from_string(text)


def test_every_question_is_varied():
    assert set(OPTIONS) == set(answers.CHECKS)
    assert 12 <= len(cover_pairs()) <= 14  # every problem with every license, and few more


def test_hostile_text_comes_back(hostile, tmp_path):
    assert len(HOSTILE) == 200
    settings = yaml.safe_load(hostile.read("project.yaml"))
    assert (settings["name"], settings["author"]) == (HOSTILE, HOSTILE_AUTHOR)
    code = "import trainer; print(ascii([trainer.PROJECT, trainer.AUTHOR]))"
    imported = ast.literal_eval(hostile.run(["python", "-c", code]).stdout)
    assert imported == [HOSTILE, HOSTILE_AUTHOR]
    package = metadata(hostile, tmp_path)
    assert (package["Summary"], package["Author"]) == (HOSTILE, HOSTILE_AUTHOR)
    assert package["Name"] == "hostile"
    assert HOSTILE_AUTHOR in hostile.read("LICENSE")


def test_every_file_parses(either):
    check_files(either)


def check_files(project):
    parsers = {
        ".py": ast.parse,
        ".toml": tomllib.loads,
        ".yaml": lambda text: list(yaml.safe_load_all(text)),
        ".yml": lambda text: list(yaml.safe_load_all(text)),
        ".json": json.loads,
        ".ipynb": json.loads,
        ".cff": yaml.safe_load,
    }
    seen = set()
    for name in project.files():
        raw = (project.path / name).read_bytes()
        if name.suffix in (".png", ".npy", ".npz", ".parquet"):
            continue
        text = raw.decode("utf-8")
        assert "{{ cookiecutter" not in text and "{{cookiecutter" not in text, name
        assert b"\r" not in raw, f"{name}: line endings"
        parsers.get(name.suffix, len)(text)
        seen.add(name.suffix)
    assert {".py", ".toml", ".yaml", ".yml"} <= seen


def test_linter_and_formatter_have_nothing_to_say(either):
    check_style(either)


def check_style(project):
    project.run(["python", "-m", "ruff", "check", "--no-cache", "."])
    project.run(["python", "-m", "ruff", "format", "--no-cache", "--check", "."])


@pytest.mark.soak
def test_every_bake_is_clean(config_file, tmp_path):
    for row in ALL:
        project = bake_into(tmp_path, config_file, **row)
        check_files(project)
        check_style(project)
        shutil.rmtree(project.path)


@pytest.mark.parametrize("verb", [["check"], ["format", "--check"]])
def test_template_is_clean_unrendered(verb):
    Project(ROOT).run(["python", "-m", "ruff", *verb, "--no-cache", "."])


def test_variables_stand_inside_strings():
    """Rendered or not, a Python file has the same shape: names are rendered, logic is not."""
    for path in PRODUCT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert getattr(node, "id", "") != "cookiecutter", path


COPIED = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))[
    "_copy_without_render"
]


# Files that differ by the problem and are no files of a problem: all that asks for it.
ASK_FOR_THE_PROBLEM = {"README.md", "setup.py", "project.yaml", "Dockerfile.serving"}


def test_conditions_ask_for_problem_and_audience_alone():
    """A condition needs a test for each of its sides: these tests bake every pair of them."""
    asking = set()
    for name, _ in tracked():
        path = name.removeprefix(PRODUCT.name + "/")
        rendered = path != name and not any(fnmatch(path, pattern) for pattern in COPIED)
        if rendered and not path.startswith(("LICENSE", "licenses/")):
            text = (ROOT / name).read_text(encoding="utf-8")
            for place in re.findall(r"^\s*#~.*|\{%.*?%\}|\{\{.* if .*?\}\}", text, re.MULTILINE):
                known = r"cookiecutter\.(problem|audience)\b|else|endif"
                assert re.search(known, place), place
                asking.add(path)
    assert asking <= ASK_FOR_THE_PROBLEM


@pytest.mark.parametrize("license", ["MIT", "none"])  # without one, there is a file less
def test_problems_differ_in_their_own_files_alone(bake, license):
    bakes = {problem: bake(problem=problem, license=license) for problem in answers.PROBLEMS}
    own = {
        problem: {
            path.relative_to(PRODUCT / "problems" / problem).as_posix()
            for path in map(ROOT.joinpath, dict(tracked()))
            if path.is_relative_to(PRODUCT / "problems" / problem) and path.parent.name != "readme"
        }
        for problem in answers.PROBLEMS
    }
    files = {problem: {name.as_posix() for name in bakes[problem].files()} for problem in own}
    spine = set.union(*(files[problem] - own[problem] for problem in own))
    for problem, names in files.items():
        assert names == spine | own[problem]
        assert "trainer/loop.py" in spine and "trainer/model.py" in own[problem]
    for name in spine.difference(ASK_FOR_THE_PROBLEM, *own.values()):
        assert len({(found.path / name).read_bytes() for found in bakes.values()}) == 1, name


def test_every_overlay_file_is_used_by_a_bake(bake):
    """It is in the bake for which it is laid over the others, or a part of its README."""
    pairs = {(row["problem"], row["audience"]) for row in ALL}
    bakes = {pair: bake(problem=pair[0], audience=pair[1]) for pair in pairs}
    files = {pair: {name.as_posix() for name in bakes[pair].files()} for pair in pairs}
    for name, _ in tracked():
        overlay = r"[^/]+/(?:audiences/(\w+)/)?(?:problems/(\w+)/)?(.+)"
        match = re.fullmatch(overlay, name) if name.startswith(PRODUCT.name) else None
        if not match or match[1] == match[2]:
            continue
        audience, problem, path = match.groups()
        own = [p for p in pairs if problem in (None, p[0]) and audience in (None, p[1])]
        assert own, name
        if path.startswith("readme/"):
            first = (ROOT / name).read_text(encoding="utf-8").splitlines()[0]
            assert all(first in bakes[pair].read("README.md") for pair in own), name
        else:
            assert all(path in files[pair] for pair in own), name
    texts = {path.name for path in (PRODUCT / "licenses").iterdir()}
    assert texts == set(answers.LICENSES) - {"none"}  # test_license has them all


def test_two_bakes_are_identical(project, config_file, tmp_path):
    problem = yaml.safe_load(project.read("project.yaml"))["problem"]
    again = bake_into(tmp_path, config_file, problem=problem)
    assert project.files() == again.files()
    for name in project.files():
        assert (project.path / name).read_bytes() == (again.path / name).read_bytes(), name


def test_nothing_of_this_machine_is_in_a_bake(project):
    private = [str(ROOT), str(project.path.parent), os.path.expanduser("~") + os.sep]
    for name in project.files():
        text = (project.path / name).read_bytes().decode("utf-8", "replace")
        assert not [path for path in private if path in text], name
    assert "://" not in project.read("constraints.txt")


def test_names_are_legal_everywhere(project):
    """On Windows too, below a home folder and under the longest slug."""
    names = [name for name, _ in tracked()] + [name.as_posix() for name in project.files()]
    lower = [name.lower() for name in names]
    assert len(set(lower)) == len(set(names)), "names that differ in case only"
    for name in names:
        assert len(name.replace(PRODUCT.name, "")) + answers.SLUG_LENGTH < 120, name
        for part in name.split("/"):
            assert not re.search(r'[<>:"|?*\\\x00-\x1f]|[. ]$', part), name
            assert not re.fullmatch("|".join(answers.WINDOWS_DEVICES), part.split(".")[0].lower())


def test_scripts_with_a_shebang_are_executable():
    for name, mode in tracked():
        starts = (ROOT / name).read_bytes()[:2] == b"#!"
        assert (mode == "100755") == starts, f"{name}: mode {mode}, shebang: {starts}"


def imports(path):
    """The top-level names that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


def test_walls(project):
    """launcher, trainer and predictor meet only at a command line, an environment and a model
    directory. All may import codec, which imports none of them, and no TensorFlow."""
    readers = re.findall(
        r'"([a-z0-9-]+)[^"]*",  # (?:reads the data|checksums)', project.read("setup.py")
    )
    modules = {"pillow": "PIL", "google-crc32c": "google_crc32c"}
    readers = [modules.get(reader, reader) for reader in readers]
    lean = {"codec", "numpy", "onnxruntime", *readers, *sys.stdlib_module_names}
    for path in project.path.glob("codec/**/*.py"):
        assert set(imports(path)) <= lean, path
    for path in project.path.glob("trainer/**/*.py"):
        allowed = lean | {"trainer", "tensorflow", "keras", "onnx", "tf2onnx"}
        assert set(imports(path)) <= allowed, path
    for path in project.path.glob("predictor/**/*.py"):
        allowed = lean | {"predictor", "tensorflow", "orjson", "starlette", "uvicorn"}
        assert set(imports(path)) <= allowed, path
    for path in project.path.glob("launcher/**/*.py"):
        assert not set(imports(path)) & {"trainer", "predictor", "tensorflow", "keras"}, path


def test_each_package_of_the_launcher_lists_its_files():
    packages = [path.parent for path in (PRODUCT / "launcher").glob("*/__init__.py")]
    assert len(packages) >= 10
    for package in packages:
        files = {path.stem for path in package.glob("*.py")} - {"__init__"}
        text = ast.get_docstring(ast.parse((package / "__init__.py").read_text("utf-8")))
        assert sorted(re.findall(r"^ *(\w+)  ", text, re.MULTILINE)) == sorted(files), package


@pytest.mark.parametrize("name", answers.LICENSES)
def test_license(bake, name, tmp_path):
    project = bake(license=name, author="Ada Lovelace")
    assert yaml.safe_load(project.read("project.yaml"))["license"] == name
    citation = yaml.safe_load(project.read("CITATION.cff"))
    assert (citation["title"], citation["authors"]) == ("My Research", [{"name": "Ada Lovelace"}])
    assert citation.get("license", "none") == name
    expression = {"none": "LicenseRef-Proprietary"}.get(name, name)
    assert metadata(project, tmp_path)["License-Expression"] == expression
    if name == "none":
        assert not (project.path / "LICENSE").exists()
        return
    text = project.read("LICENSE")
    assert re.search(r"^ *Copyright (\(c\) )?20\d\d Ada Lovelace$", text, re.MULTILINE)
    assert {"MIT": "MIT License", "Apache-2.0": "Apache License", "BSD-3-Clause": "BSD 3-Clause"}[
        name
    ] in text
    assert "{" not in text and "[yyyy]" not in text


def test_cloud_answers_stand_in_one_place(bake):
    cloud = {"gcp_project": "my-lab-4711", "gcp_region": "europe-west4", "gcs_bucket": "lab-runs"}
    settings = yaml.safe_load(bake(**cloud).read("project.yaml"))["gcp"]
    assert (settings["project"], settings["region"], settings["bucket"]) == tuple(cloud.values())
    unset = yaml.safe_load(bake().read("project.yaml"))["gcp"]
    assert (unset["project"], unset["bucket"], unset["service_account"]) == ("", "", "")
    project = bake(project_slug="with_underscore")
    # Artifact Registry takes no underscore.
    assert yaml.safe_load(project.read("project.yaml"))["gcp"]["image_repository"] == (
        "with-underscore"
    )


def command(out, config_file, *more):
    line = [sys.executable, "-m", "cookiecutter", str(ROOT), "--no-input", "-o", str(out)]
    return [*line, "--config-file", str(config_file), *more]


def test_first_commit(project):
    log = project.run(["git", "log", "--format=%an|%D|%s"]).stdout
    assert log == "Test|HEAD -> main|Start from the template\n"
    assert project.run(["git", "status", "--porcelain"]).stdout == ""


def test_without_identity_there_is_no_commit_but_advice(tmp_path, config_file):
    empty = tmp_path / "gitconfig"
    empty.touch()
    done = Project(tmp_path).run(command(tmp_path, config_file), GIT_CONFIG_GLOBAL=str(empty))
    assert "git config --global user.name" in done.stdout
    log = Project(tmp_path / "my-research").run(["git", "log"], check=False)
    assert log.returncode != 0


def test_without_git_the_bake_is_whole(tmp_path, config_file):
    (temporary := tmp_path / "temporary").mkdir()
    environ = {"PATH": str(tmp_path), "TMPDIR": str(temporary)}
    done = Project(tmp_path).run(command(tmp_path, config_file), **environ)
    assert "git is not installed" in done.stdout and not list(temporary.iterdir())
    assert (tmp_path / "my-research" / "setup.py").exists()
    assert not (tmp_path / "my-research" / ".git").exists()


def test_inside_another_repo_nothing_is_nested(tmp_path, config_file):
    outer = Project(tmp_path)
    outer.run(["git", "init", "-q"])
    assert "commit it there" in outer.run(command(tmp_path, config_file)).stdout
    assert not (tmp_path / "my-research" / ".git").exists()
    # A folder that the outer repo ignores is nobody's: it gets its own.
    (tmp_path / ".gitignore").write_text("/build/\n", encoding="utf-8")
    assert "first commit" in outer.run(command(tmp_path / "build", config_file)).stdout


def test_a_git_hook_that_bakes_keeps_its_own_index(tmp_path, config_file):
    """git sets GIT_DIR for its hooks; the commit must still land in the new repo."""
    elsewhere = tmp_path / "elsewhere"
    Project(tmp_path).run(["git", "init", "-q", str(elsewhere)])
    out = tmp_path / "out"
    git_dir = str(elsewhere / ".git")
    Project(tmp_path).run(command(out, config_file), GIT_DIR=git_dir)
    assert "Start" in Project(out / "my-research").run(["git", "log", "--format=%s"]).stdout


def test_bake_again_over_a_bake(tmp_path, config_file):
    Project(tmp_path).run(command(tmp_path, config_file))
    project = Project(tmp_path / "my-research")
    again = Project(tmp_path).run(command(tmp_path, config_file, "-f", "license=none"))
    assert "repo that was here is kept" in again.stdout
    assert project.run(["git", "rev-list", "--count", "HEAD"]).stdout == "1\n"
    assert not (project.path / "LICENSE").exists()


def test_next_steps_bear_the_users_own_names(tmp_path, config_file):
    name = "Größe 👩‍🔬"
    pair = f"project_name={name}", "project_slug=sizes"
    done = Project(tmp_path).run(command(tmp_path, config_file, *pair))
    assert f"{name} is ready in {tmp_path / 'sizes'}" in done.stdout
    assert "\n  cd sizes\n" in done.stdout
    # A terminal that knows no such letters gets a bake all the same.
    Project(tmp_path).run(command(tmp_path, config_file, *pair, "-f"), PYTHONIOENCODING="ascii")


@pytest.mark.slow
def test_sdist_holds_what_a_job_runs_and_nothing_else(project, tmp_path):
    build = ["python", "-m", "build", "--sdist", "--no-isolation", "-o", str(tmp_path), "."]
    Project(project.path).run(build)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        names = {file.name.partition("/")[2] for file in archive.getmembers() if file.isfile()}
    packaging = r"LICENSE|MANIFEST\.in|PKG-INFO|pyproject\.toml|setup\.(py|cfg)|.*\.egg-info.*"
    others = {name for name in names if not re.fullmatch(packaging, name)}
    assert others == {
        path.as_posix() for path in project.files() if path.parts[0] in ("codec", "trainer")
    }


@pytest.mark.slow
def test_setup_py_alone_installs(project, tmp_path):
    """Cloud tools install it before they copy the sources."""
    (tmp_path / "setup.py").write_text(project.read("setup.py"), encoding="utf-8")
    options = ["--no-deps", "--no-build-isolation", "--target", "installed"]
    pip = ["python", "-m", "pip", "--no-cache-dir", "install", *options, "."]
    Project(tmp_path).run(pip)
    installed = [path.name for path in (tmp_path / "installed").iterdir()]
    assert installed == ["my_research-0.1.0.dist-info"]


@pytest.mark.soak
@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12", "3.13"])
def test_pins_fit_every_python(project, version, tmp_path):
    """The constraints leave nothing open, and can be met."""
    compile_ = ["python", "-m", "uv", "pip", "compile", "--universal", "--quiet"]
    wanted = [
        "--extra",
        "dev",
        "--extra",
        "gpu",
        "--extra",
        "cloud",
        "--no-annotate",
        "--no-header",
        "setup.py",
    ]
    limits = ["--python-version", version, "-c", "constraints.txt"]
    resolved = Project(project.path).run([*compile_, *limits, *wanted]).stdout
    pins = project.read("constraints.txt").splitlines()
    versions = {re.split(" ;", line)[0] for line in pins if not line.startswith("#")}
    for line in resolved.splitlines():
        assert re.sub(r"\[.*\]", "", line.split(" ;")[0]) in versions


def test_own_tests_are_few(project):
    """They are the owner's: what protects the template alone is in tests/launcher and the like."""
    files = [name for name in project.files() if name.parts[0] == "tests"]
    lines = {str(name): len(project.read(name).splitlines()) for name in files}
    assert sum(lines.values()) < 1200, lines


def test_the_owners_part_is_small(fresh):
    files = [name for name in fresh["tabular"].files() if name.suffix == ".py"]
    sizes = {
        room: sum(len(fresh["tabular"].read(n).splitlines()) for n in files if n.parts[0] == room)
        for room in ("trainer", "scripts", "tests")
    }
    assert sum(sizes.values()) < 5000, sizes


@pytest.mark.slow
@pytest.mark.parametrize("problem", answers.PROBLEMS)
def test_own_tests_pass(bake, problem):
    pytest_ = ["-m", "pytest"] if problem == "tabular" else forked("pytest")  # once as users run it
    bake(problem=problem).run(["python", *pytest_], timeout=1800, **fork_trainers())


@pytest.mark.soak
@pytest.mark.parametrize("version", ["2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7"])
def test_every_cookiecutter_bakes_alike(project, config_file, tmp_path, version):
    uv, python = ["python", "-m", "uv"], tmp_path / "venv" / dev.IN_ENVIRONMENT
    project.run([*uv, "venv", "--quiet", tmp_path / "venv"])
    install = [*uv, "pip", "install", "--quiet", "--python", python]
    project.run([*install, f"cookiecutter=={version}.*"])
    problem = yaml.safe_load(project.read("project.yaml"))["problem"]
    _, *words = command(tmp_path / "out", config_file, f"problem={problem}")
    Project(tmp_path).run([python, *words])
    other = Project(tmp_path / "out/my-research")
    assert other.files() == project.files()
    for name in project.files():
        assert (other.path / name).read_bytes() == (project.path / name).read_bytes(), name


@pytest.mark.soak
def test_uv_run_sets_the_repo_up(bake):
    """With the tools for development, compiled, and without a trace in git."""
    project = bake(fresh=True)
    code = (
        "import os, ruff, trainer; from importlib.util import find_spec;"
        "print(trainer.PROJECT, os.path.exists(find_spec('tensorflow').cached))"
    )
    done = project.run(["python", "-m", "uv", "run", "--quiet", "python", "-c", code], timeout=1800)
    assert done.stdout == "My Research True\n"
    assert project.run(["git", "status", "--porcelain"]).stdout == ""


@pytest.mark.soak
def test_pip_sets_the_repo_up(bake):
    project = bake(fresh=True)
    project.run(["python", "-m", "venv", ".venv"])
    python = project.path / ".venv" / dev.IN_ENVIRONMENT
    install = ["-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", ".[dev]"]
    project.run([python, *install], timeout=1800)
    code = "import trainer, tensorflow, pytest; print(trainer.PROJECT)"
    assert project.run([python, "-c", code]).stdout == "My Research\n"
    assert project.run(["git", "status", "--porcelain"]).stdout == ""


@pytest.mark.soak
@pytest.mark.parametrize("problem", answers.PROBLEMS)
@pytest.mark.parametrize("version", dev.VERSIONS)
def test_tests_pass_on_every_python(bake, bake_with_tests, tmp_path, version, problem):
    """Each Python gets other versions of its packages; the oldest gets an older Keras."""
    # pyenv has on PATH only what it was set to; the others lie in its folder.
    pyenv = Path.home().glob(f".pyenv/versions/{version}.*/bin/python")
    commands = filter(None, [shutil.which(f"python{version}"), *pyenv])
    real = next((command for command in commands if dev._starts([command], version)), None)
    if not real:
        pytest.skip(f"no Python {version} on this machine")
    project = bake(problem=problem)
    project.run(["python", "-m", "uv", "venv", "-p", real, tmp_path / "venv"])
    python = tmp_path / "venv" / dev.IN_ENVIRONMENT
    install = ["python", "-m", "uv", "pip", "install", "-q", "--compile-bytecode", "-p", python]
    project.run(
        [*install, "-r", "setup.py", "--extra", "dev", "-c", "constraints.txt"], timeout=1800
    )
    for tested in (project, bake_with_tests(problem)):
        tested.run([python, "-m", "pytest"], timeout=1800)
