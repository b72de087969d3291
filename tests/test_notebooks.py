"""The notebooks are executed as they are, where a laptop's marks are and where Colab's are.

Colab is played by its variables, by a `google.colab` of ours, and by hiding what it does not have.
Trainers are forks. Cloud cells talk to stand-ins, where a job "runs" by leaving the newest local run.
"""

import ast
import base64
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading

import nbformat
import pytest
from nbclient import NotebookClient

import answers
import dev
from cloud_lab import BUCKET, PROJECT
from conftest import PRODUCT, Project, fork_trainers, forked, user_environ
from standins.cloud import SECRET, Cloud

NAMES = sorted(path.stem for path in (PRODUCT / "notebooks").glob("*.ipynb"))
CODE = {
    name: [cell for cell in nbformat.read(PRODUCT / f"notebooks/{name}.ipynb", 4).cells]
    for name in NAMES
}
COLAB = {"COLAB_RELEASE_TAG": "release-colab_20260812"}
MARKS = {
    "this machine": {},
    "Colab": COLAB,
    "Kaggle": {**COLAB, "KAGGLE_KERNEL_RUN_TYPE": "Interactive"},
    "Colab Enterprise": {**COLAB, "VERTEX_PRODUCT": "COLAB_ENTERPRISE"},
    "Workbench": {"VERTEX_PRODUCT": "WORKBENCH_INSTANCE"},
    "Codespaces": {"CODESPACES": "true"},
    "a job": {"CLOUD_ML_JOB_ID": "7", "VERTEX_PRODUCT": "COLAB_ENTERPRISE"},
}
ABSENT = ("onnx", "onnxruntime", "optuna", "tf2onnx")  # from Colab, of what a bake installs
SIGN_IN = {
    "google/colab/auth.py": "def authenticate_user(): SIGN_IN",
    "google/colab/userdata.py": "def get(name): return {'GITHUB_TOKEN': 'ghp_SECRET'}[name]",
    "kaggle_secrets.py": "class UserSecretsClient:\n def set_gcloud_credentials(self, project): SIGN_IN",
}
# What a person changes in the cells, and shorter pauses.
CHANGES = {
    "FLAGS = {}": 'FLAGS = {"epochs": 1}',
    "notebook.start()": "notebook.start()\nfrom launcher.cloud import watch\nwatch.POLL = watch.LAST = 0.1",
    'JOB, FLAGS = "configs/gpu.yaml"': 'JOB, FLAGS = "configs/cpu.yaml"',
    "SEND = False": "SEND = True",
    "PULL = False": "PULL = True",
}
LOADED = (
    "import sys; print('loaded:', *sorted({'tensorflow', 'keras', 'trainer'} & {*sys.modules}))"
)


@pytest.fixture(scope="module")
def project(bake):
    project = bake(fresh=True, project_name="Penguins", gcp_project=PROJECT, gcs_bucket=BUCKET)
    source = project.path.parent / "source"
    source.mkdir()
    (source / "mine.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    text = project.read("data.yaml").replace('source: ""', f"source: {source}")
    (project.path / "data.yaml").write_text(text, encoding="utf-8")
    return project


class Copies:
    """Runs jobs: each leaves the files of the newest run of a repo, and a line in its log."""

    def __init__(self, cloud, project):
        self.cloud, self.project = cloud, project

    def find_run(self):
        return max(self.project.path.glob("runs/*/run.json"), key=os.path.getmtime).parent

    def predict(self, instances):
        """What an endpoint answers: what the newest run does."""
        (self.project.path / "instances.json").write_text(json.dumps(instances), encoding="utf-8")
        command = ["python", *forked("scripts/predict.py"), "--model", self.find_run() / "model"]
        answers = self.project.run([*command, "instances.json"]).stdout
        return [json.loads(line) for line in answers.splitlines()]

    def start(self, resource, log):
        folder, run = resource["jobSpec"]["baseOutputDirectory"]["outputUriPrefix"], self.find_run()
        for path in filter(os.path.isfile, run.rglob("*")):
            name = f"{folder.removeprefix(f'gs://{BUCKET}/')}/{path.relative_to(run).as_posix()}"
            self.cloud.buckets.write(BUCKET, name, path.read_bytes())
        log.write(resource["name"].rpartition("/")[2], "workerpool0-0", "a line of the job")
        return self

    def describe(self):
        return {"state": "JOB_STATE_SUCCEEDED"}


@pytest.fixture(scope="module")
def cloud(project):
    with Cloud(BUCKET) as cloud:
        copies = Copies(cloud, project)
        cloud.jobs.runner, cloud.jobs.life = copies, {"JOB_STATE_QUEUED": "JOB_STATE_SUCCEEDED"}
        cloud.serving.looks, cloud.serving.answer = 0, copies.predict
        yield cloud
        assert cloud.proxy.leaks == []


@pytest.fixture
def environ(cloud, tmp_path):
    """environ(where): the variables of a kernel there; in Colab and Kaggle nobody is signed in yet."""

    def environ(where):
        signs_in = cloud.login(tmp_path / "key.json")
        act = f"import os; os.environ.update({signs_in}); print('signed in')"
        fakes = dict(SIGN_IN) if "Colab" in where or where == "Kaggle" else {}
        if where == "Colab":
            fakes |= {f"{name}.py": f"raise ModuleNotFoundError('{name}')" for name in ABSENT}
        for name, text in fakes.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text.replace("SIGN_IN", act), encoding="utf-8")
        variables = user_environ() | cloud.environ(tmp_path / "gcloud") | fork_trainers()
        variables["PYTHONPATH"] = os.pathsep.join([str(tmp_path), variables.get("PYTHONPATH", "")])
        # Not this user's own start-up files.
        return variables | MARKS[where] | {"IPYTHONDIR": str(tmp_path / "ipython")}

    return environ


def execute(cells, folder, environ, **options):
    """Execute cells in a folder; return all that they printed and showed, as text."""
    notebook = nbformat.v4.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(folder)}}
    options = {"timeout": 300, "kernel_name": "python3", **options}
    options["coalesce_streams"] = True  # the kernel sends one line in several parts at times
    NotebookClient(notebook, resources=resources, **options).execute(env=environ)
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells], ensure_ascii=False)


def changed(name, changes=CHANGES):
    """The cells of a notebook with changes, and one that names what its kernel has loaded."""
    cells = nbformat.read(PRODUCT / f"notebooks/{name}.ipynb", as_version=4).cells
    for cell in cells:
        for old, new in changes.items():
            cell.source = cell.source.replace(old, new)
    return [*cells, nbformat.v4.new_code_cell(LOADED)]


def run_all(project, environ, where, changes):
    """Execute all notebooks; return {name: what they printed and showed}."""
    folder = project.path / "notebooks"
    return {name: execute(changed(name, changes), folder, environ(where)) for name in NAMES}


def check_outputs(outputs, where):
    for name, text in outputs.items():
        assert f"{where}, Python 3." in text and "loaded:\\n" in text, name
        assert SECRET not in text and "missing:" not in text, name
    assert "data/raw: 1 files, 0.0 MB" in outputs["1_get_data"]
    assert "raw/mine.csv" in outputs["1_get_data"] and "━" not in outputs["1_get_data"]
    assert "Adelie 122, Gentoo 99, Chinstrap 54" in outputs["2_explore"]
    learned = outputs["3_train_and_compare"]
    assert learned.count("exported epoch 1 of 1") == 2
    assert re.search(
        r"0: classification of species by val_accuracy, .*: ([2-9]|\d\d) run\(s\)", learned
    )
    assert re.search(r"val_accuracy, \S+ minus \S+: ", learned)
    there = outputs["4_to_the_cloud"]
    signs_in = where in ("Colab", "Kaggle")
    assert ("signed in" in there) == signs_in and "signed in" not in learned
    for words in ("at most: $", "sent: cpu-", "a line of the job", "run directory: ", "succeeded"):
        assert words in there, words


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [
        where if where in ("this machine", "Colab") else pytest.param(where, marks=pytest.mark.soak)
        for where in MARKS
    ],
)
def test_all_notebooks_run(project, cloud, environ, where):
    deploys = where == "this machine"
    more = {f"{name} = False": f"{name} = {deploys}" for name in ("DEPLOY", "CLEAN_UP")}

    outputs = run_all(project, environ, where, CHANGES | more)

    check_outputs(outputs, where)
    # The only thing that is not done in Colab:
    assert ("will serve it: it does not convert" in outputs["3_train_and_compare"]) == (
        where == "Colab"
    )
    there = outputs["4_to_the_cloud"]
    assert ("deleted the endpoint penguins" in there and "address: " in there) == deploys
    assert not cloud.serving.endpoints() and not cloud.serving.versions


@pytest.mark.slow
@pytest.mark.parametrize("problem", [name for name in answers.PROBLEMS if name != "tabular"])
def test_every_kind_is_explored(bake, environ, problem):
    project = bake(problem=problem)
    text = execute(changed("2_explore"), project.path / "notebooks", environ("this machine"))
    assert "Nothing of this kind was found." in text and "loaded:\\n" in text
    assert text.count("data:image/png;base64,") == {"image": 30}.get(problem, 0)
    assert ("Training recordings" in text) == (problem == "series")


@pytest.mark.slow
def test_names_that_a_console_may_not_have_are_explored(bake):
    project = bake(fresh=True)
    text = "größe,y\n" + "".join(f"{i},{'groß' if i % 3 else 'klein'}\n" for i in range(40))
    (project.path / "ü.csv").write_text(text, encoding="utf-8")
    code = "from launcher import notebook; notebook.explore(train_files='ü.csv', target='y')"
    done = project.run(["python", "-X", "utf8=0", "-c", code], PYTHONIOENCODING="latin-1")
    assert "classes: gro\ufffd, klein" in done.stdout  # as this test reads Latin-1


@pytest.mark.soak
@pytest.mark.parametrize("problem", answers.PROBLEMS)
def test_all_notebooks_run_on_the_oldest(bake, environ, problem, tmp_path, monkeypatch):
    python = str(dev.make_oldest())
    argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "oldest", "language": "python"}
    (tmp_path / "kernels/oldest").mkdir(parents=True)
    (tmp_path / "kernels/oldest/kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    variables = environ("this machine") | fork_trainers(python)
    no_source = {old: new for old, new in CHANGES.items() if old != "PULL = False"}
    for name in NAMES[:3]:
        folder = bake(problem=problem).path / "notebooks"
        text = execute(changed(name, no_source), folder, variables, kernel_name="oldest")
        assert "loaded:\\n" in text, name


def test_the_first_cell_is_the_same_and_short():
    firsts = {cells[1].source for cells in CODE.values()}
    assert len(NAMES) == 4 and len(firsts) == 1
    assert len(firsts.pop().splitlines()) < 12


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_stored_clean(name):
    notebook = nbformat.read(PRODUCT / f"notebooks/{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}  # no widgets
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell in notebook.cells:
        assert not cell.metadata
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_imports_and_installs_nothing_more(name):
    """What Colab has; there an upgrade of IPython or its kernel ends the session for good."""
    allowed = {"launcher", "predictor", "codec", "polars", *sys.stdlib_module_names}
    for cell in CODE[name]:
        assert not re.search(r"pip3? install|conda |apt", cell.source)
        if cell.cell_type == "code":
            tree = ast.parse(re.sub(r"(?m)^( *)!.*", r"\1pass", cell.source))
            for node in ast.walk(tree):
                names = [alias.name for alias in getattr(node, "names", [])]
                module = getattr(node, "module", None)
                for found in [module] if module else names:
                    assert found.partition(".")[0] in allowed


def test_the_environment_is_known_by_its_variables(project):
    code = (
        "import json, sys; from launcher.notebook import find_environment, to_flags;"
        "marks = json.loads(sys.argv[1]);"
        "print(json.dumps({name: find_environment(marks[name]) for name in marks}));"
        "print(to_flags({'learning_rate': 0.1, 'hidden_units': [8, 4], 'fit': True, 'jit': None}))"
    )
    known, flags = project.run(["python", "-c", code, json.dumps(MARKS)]).stdout.splitlines()
    assert json.loads(known) == {name: name for name in MARKS}
    assert ast.literal_eval(flags) == ["--learning-rate=0.1", "--hidden-units=8,4", "--fit"]


class Private(http.server.SimpleHTTPRequestHandler):
    """Serves a folder to whoever has the token."""

    def do_GET(self):
        words = self.headers.get("Authorization", "").split()
        if words and base64.b64decode(words[1]).decode().endswith(":ghp_SECRET"):
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="GitHub"')
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def github(tmp_path, monkeypatch):
    """A folder whose repos git finds at https://github.com/, though only with the token."""
    folder = tmp_path / "github"
    folder.mkdir()

    def handler(*arguments):
        return Private(*arguments, directory=str(folder))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        config = tmp_path / "gitconfig"
        config.write_text(f'[url "{address}"]\n\tinsteadOf = https://github.com/\n', "utf-8")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
        yield folder
        server.shutdown()


@pytest.mark.slow
def test_a_session_without_the_repo_clones_it_and_keeps_no_token(bake, github, environ, tmp_path):
    project = bake(fresh=True)
    remote = "git@github.com:ada/penguins.git"
    refused = project.run(["python", "-m", "launcher.notebook"], check=False)
    project.run(["git", "remote", "add", "origin", remote])
    for _ in range(2):
        project.run(["python", "-m", "launcher.notebook"])
    project.run(["git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qam", "Badges"])
    bare = github / "ada/penguins"
    project.run(["git", "clone", "-q", "--bare", project.path, bare])
    Project(bare).run(["git", "update-server-info"])
    first = nbformat.read(project.path / "notebooks/2_explore.ipynb", as_version=4).cells
    [private] = re.findall(r"```python\n(.*?)```", project.read("docs/notebooks.md"), re.S)
    session = tmp_path / "content"
    session.mkdir()
    fails = nbformat.v4.new_code_cell("notebook.explore(target='beak')")
    fails.metadata["tags"] = ["raises-exception"]
    cells = [
        nbformat.v4.new_code_cell(private.replace("OWNER/NAME", "ada/penguins")),
        first[1],
        fails,
    ]
    variables = environ("Colab") | {"GIT_TERMINAL_PROMPT": "0"}

    text = execute(
        cells, session, variables | {"GIT_CONFIG_GLOBAL": os.environ["GIT_CONFIG_GLOBAL"]}
    )

    assert "not on GitHub" in refused.stderr and refused.returncode == 2
    assert first[0].source.count("[![Open in Colab]") == 1
    assert "/github/ada/penguins/blob/main/notebooks/2_explore.ipynb)" in first[0].source
    assert 'REPO = "ada/penguins"' in first[1].source
    assert f"Colab, Python {sys.version.split()[0]}, {session}/repo" in text
    assert re.search(r"error: .*no column 'beak'", text) and "Traceback" not in text
    everything = subprocess.run(["grep", "-rIl", "ghp_SECRET", session], capture_output=True)
    assert "ghp_SECRET" not in text and everything.stdout == b""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_an_interrupt_reaches_the_process_once(bake):
    project = bake(fresh=True)
    script = "import time\ntry:\n print('ready')\n time.sleep(60)\nexcept KeyboardInterrupt:\n"
    script += " time.sleep(0.5)\n print('stopped')\n raise SystemExit(130)\n"
    (project.path / "scripts/wait.py").write_text(script, encoding="utf-8")
    code = "from launcher import notebook; notebook.run_script('wait')"
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, cwd=project.path, env=user_environ(), **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert out == "stopped\n"
    assert "SpecError: scripts/wait.py: exit code 130; see above" in err
