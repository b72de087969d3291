"""`cruft update` brings a new template into an old repo: the files are compared, never its words."""

import json
import re
import shutil
import subprocess

import pytest

from conftest import PRODUCT, ROOT, Project

pytestmark = pytest.mark.slow

ANSWERS = {"project_name": 'Penguin "Study" 研究', "project_slug": "study", "author": "Ada"}
OURS = (".cruft.json", "notes/plan.md", "configs/mine.yaml")  # files that the user adds


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True)


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "A commit")
    return git(folder, "rev-parse", "HEAD").stdout.strip()


def replace(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def change_template(template):
    """Make the later version of the template: it adds, changes and removes what a version may."""
    product = template / PRODUCT.name
    question = '"gcs_bucket": "",\n'
    new = '  "lab": "none yet",\n  "__check_lab": "{## ours ##}{{ cookiecutter.lab | checked(\'lab\') }}",\n'
    replace(template / "cookiecutter.json", f"  {question}", f"  {question}{new}")
    check = '    "gcs_bucket": check_gcs_bucket,\n'
    replace(template / "answers.py", check, check + '    "lab": lambda name: None,\n')
    filters = "            quoted_inside=quoted_inside,\n"
    replace(template / "answers_jinja.py", filters, filters + "            shout=str.upper,\n")
    settings = product / "project.yaml"
    settings.write_text(
        settings.read_text("utf-8") + 'lab: "{{ cookiecutter.lab | shout }}"\n', "utf-8"
    )
    replace(product / "setup.py", 'version="0.1.0"', 'version="0.2.0"')
    replace(
        product / "problems/tabular/trainer/model.py",
        "the model. Build, compile",
        "the model: build, compile",
    )
    (product / "scripts/new.py").write_text('"""A new verb."""\n', "utf-8")
    (product / "configs/spot.yaml").unlink()
    with (product / "configs/tpu.yaml").open("a", encoding="utf-8") as file:
        file.write("# more\n")
    binary = product / "problems/tabular/data/logo.npy"
    binary.write_bytes(bytes(range(256)))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """This template in a git repo of its own, since a clone of this one may have no older commit."""
    folder = tmp_path_factory.mktemp("template") / "template"
    names = git(ROOT, "ls-files", "-z").stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    git(folder.parent, "init", "-q", folder)
    commit(folder)
    return folder


def cruft(folder, config_file, *words):
    command = ["python", "-m", "cruft", *words]
    return Project(folder).run(command, COOKIECUTTER_CONFIG=str(config_file))


def bake(folder, template, config_file, **answers):
    """In a process of its own, which imports this template's own modules."""
    words = ["--no-input", "--config-file", config_file, "-o", folder, template]
    words += [f"{question}={answer}" for question, answer in answers.items()]
    Project(folder).run(["python", "-m", "cookiecutter", *words])
    return Project(folder / "study")


def create(tmp_path, template, config_file):
    answers = json.dumps(ANSWERS)
    words = ["create", template, "-y", "--output-dir", tmp_path, "--extra-context", answers]
    done = cruft(tmp_path, config_file, *words)
    project = Project(tmp_path / "study")
    assert "git init && git add -A" in done.stdout and not (project.path / ".git").exists()
    git(project.path, "init", "-q")
    commit(project.path)
    return project


def link(tmp_path, template, config_file):
    """A repo that cookiecutter made, without cruft."""
    project = bake(tmp_path, template, config_file, **ANSWERS)
    cruft(project.path, config_file, "link", template, "-y", "--extra-context", json.dumps(ANSWERS))
    return project


def rescue(tmp_path, template, config_file):
    """A repo from before the template knew cruft, with the line that docs/updates.md gives for it."""
    replace(
        template / PRODUCT.name / "pyproject.toml", '[tool.cruft]\nskip = [".git"]', "[tool.other]"
    )
    replace(template / "hooks/post_gen_project.py", "    if CRUFT:", "    if False:")
    commit(template)
    answers = json.dumps(ANSWERS)
    words = ["create", template, "-y", "--output-dir", tmp_path, "--extra-context", answers]
    cruft(tmp_path, config_file, *words)
    project = Project(tmp_path / "study")
    assert (project.path / ".git").exists()
    line = '"skip": [".git"],'
    assert f"`{line}`" in (PRODUCT / "docs/updates.md").read_text(encoding="utf-8")
    replace(project.path / ".cruft.json", '{\n  "template"', f'{{\n  {line}\n  "template"')
    git(template, "checkout", "-q", "HEAD~", ".")
    return project


def contents(folder):
    """{path: bytes} of all files that are not git's."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    kept = [path for path in paths if ".git" not in path.parts]
    return {path.as_posix(): (folder / path).read_bytes() for path in kept}


@pytest.fixture(scope="module")
def fresh(template, tmp_path_factory, config_file):
    """What the later template makes of these answers, as `contents`."""
    folder = tmp_path_factory.mktemp("fresh")
    shutil.copytree(template, folder / "template")
    change_template(folder / "template")
    return contents(bake(folder, folder / "template", config_file, **ANSWERS).path)


@pytest.mark.parametrize("start", [create, link, rescue])
def test_an_update_leaves_exactly_these_files(start, template, fresh, tmp_path, config_file):
    old = tmp_path / "old"
    shutil.copytree(template, old)
    project = start(tmp_path, old, config_file)
    # The user's work.
    for name in OURS[1:]:
        (project.path / name).parent.mkdir(exist_ok=True)
        (project.path / name).write_text("ours\n", encoding="utf-8")
    (project.path / "configs/tpu.yaml").unlink()
    replace(project.path / "setup.py", 'version="0.1.0"', 'version="0.1.1"')
    replace(project.path / "trainer/model.py", 'activation="relu"', 'activation="gelu"')
    with (project.path / "README.md").open("a", encoding="utf-8") as file:
        file.write("Our own words.\n")
    commit(project.path)
    change_template(old)
    latest = commit(old)

    cruft(project.path, config_file, "update", "-y")

    expected = dict(fresh)
    edit = b'<<<<<<< ours\n    version="0.1.1",\n=======\n    version="0.2.0",\n>>>>>>> theirs\n'
    expected["setup.py"] = expected["setup.py"].replace(b'    version="0.2.0",\n', edit)
    expected["trainer/model.py"] = expected["trainer/model.py"].replace(b'"relu"', b'"gelu"')
    expected["README.md"] += b"Our own words.\n"
    [commit_of_fresh] = re.findall(rb'TEMPLATE = "(\w{40})"', expected["trainer/__init__.py"])
    code = expected["trainer/__init__.py"].replace(commit_of_fresh, latest.encode())
    expected["trainer/__init__.py"] = code
    del expected["configs/tpu.yaml"]
    after = contents(project.path)
    assert {name: after.pop(name) for name in OURS[1:]} == dict.fromkeys(OURS[1:], b"ours\n")
    state = json.loads(after.pop(".cruft.json"))
    assert state["commit"] == latest and state["context"]["cookiecutter"]["lab"] == "none yet"
    assert sorted(after) == sorted(expected)
    assert {name: text for name, text in after.items() if text != expected[name]} == {}
    assert expected["project.yaml"].endswith(b'lab: "NONE YET"\n')


def test_the_last_commit_is_updated_to_this_one(template, tmp_path, config_file):
    """With the files as they are here, committed or not; and docs/updates.md shows what changed."""
    old = tmp_path / "old"
    old.mkdir()
    last = subprocess.run(["git", "archive", "HEAD~"], cwd=ROOT, capture_output=True)
    if last.returncode:
        pytest.skip("this clone has no older commit")
    subprocess.run(["tar", "-x", "-C", old], input=last.stdout, check=True)
    git(old, "init", "-q")
    first = commit(old)
    project = create(tmp_path, old, config_file)
    for path in filter(lambda path: path.name != ".git", old.iterdir()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(template, old, ignore=shutil.ignore_patterns(".git"), dirs_exist_ok=True)
    with (old / "CHANGELOG.md").open("a", encoding="utf-8") as file:
        file.write("- A line for users.\n")
    latest = commit(old)
    text = (PRODUCT / "docs/updates.md").read_text(encoding="utf-8")
    [look] = re.findall("```bash\n(.*?)```", text, re.S)
    look = look.replace("URL", str(old)).replace("COMMIT", first)

    (tmp_path / "fresh").mkdir()

    changes = project.run(["bash", "-euo", "pipefail", "-c", look]).stdout
    cruft(project.path, config_file, "update", "-y")

    assert "+- A line for users." in changes
    after = contents(project.path)
    assert json.loads(after.pop(".cruft.json"))["commit"] == latest
    assert after == contents(bake(tmp_path / "fresh", old, config_file, **ANSWERS).path)
