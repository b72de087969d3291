"""The page of the prediction server, in headless Chromium: it has a form, answers and explains."""

import base64
import json

import pytest

import browser
from conftest import fork_trainers, forked
from served import Served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.find(), reason="there is no Chromium"),
]


def click(page):
    page.run("document.querySelector('#form button').click()")


@pytest.fixture
def open_page(bake, request):
    """Serve the model of a bake of this kind, open the page."""

    def open_page(problem):
        project = bake(with_run=True, problem=problem)
        server = Served(project.path, project.path / "runs" / "one" / "model", **fork_trainers())
        request.addfinalizer(lambda: server.__exit__())
        page = browser.Browser().__enter__()
        request.addfinalizer(lambda: page.__exit__())
        page.open(f"http://127.0.0.1:{server.port}/")  # which may be before the model is loaded
        page.wait_for("document.querySelector('#fields label')")
        return project, server, page

    return open_page


def test_a_table_has_a_field_for_each_feature(open_page):
    project, server, page = open_page("tabular")
    assert page.text().startswith("Model of species\nisland\nbill_length_mm\n")
    click(page)
    page.wait_for("document.querySelectorAll('#answer .track').length == 3")
    shares = page.run(
        "[...document.querySelectorAll('#answer td:last-child')].map(e => +e.innerText)"
    )
    assert sum(shares) == pytest.approx(1, abs=0.001)
    page.run("document.querySelector('#explain').click()")
    click(page)
    page.wait_for("document.querySelectorAll('#answer .track').length == 3 + 7")
    assert "what moves the probability of" in page.text()
    width = "showBars({a: 0.001, b: 0}, true).querySelector('.bar').style.width"
    assert page.run(width) == "50%"  # of attributions that are all small and of one sign
    request = page.run("document.querySelector('#request').innerText")
    assert request.startswith(f"curl http://127.0.0.1:{server.port}/predict -d '")
    printed = project.run(["bash", "-c", request]).stdout
    assert '"explanation"' in printed
    page.run("document.querySelector('[name=year]').value = ''")  # a missing value
    page.run("document.querySelector('#form').oninput()")
    assert '"year":null' in page.run("document.querySelector('#request').innerText")


HIDE_TENSORFLOW = "import sys\nsys.modules['tensorflow'] = None\n"


def test_a_dropped_image_is_answered_and_explained(open_page, tmp_path):
    project, server, page = open_page("image")
    [path, *_] = sorted((project.path / "runs/.cache/digits/7").iterdir())
    page.choose_file("input[type=file]", path)
    page.wait_for("document.querySelectorAll('#answer .track').length == 10")
    assert page.run("document.querySelector('.drop img').naturalWidth") == 8
    page.run("document.querySelector('#explain').click()")
    click(page)
    page.wait_for("document.querySelector('#answer .map')")
    assert page.run("document.querySelector('#answer .map').naturalWidth") == 8
    assert "what moves the logit of" in page.text() and "for an image of one colour" in page.text()
    instance = {"image": {"b64": base64.b64encode(path.read_bytes()).decode()}}
    [answer] = server.predict([instance], explain=True)[1]["predictions"]
    explanation = answer["explanation"]
    assert explanation["score"] == f"logit of {answer['class']}, less the mean of all logits"
    assert explanation["value"] > explanation["baseline"]
    folder = tmp_path / "images"
    folder.mkdir()
    for name, end in {"cut.png": -20, "whole.png": None}.items():
        (folder / name).write_bytes(path.read_bytes()[:end])
    predict = ["python", *forked("scripts/predict.py"), "--model=runs/one/model", folder]
    done = project.run([*predict, "--url", f"http://127.0.0.1:{server.port}/predict"], check=False)
    cut, whole = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 2 and "truncated" in cut["error"]
    assert whole["class"] == answer["class"]
    (tmp_path / "sitecustomize.py").write_text(HIDE_TENSORFLOW, encoding="utf-8")
    model = project.path / "runs/one/model"
    with Served(project.path, model, PYTHONPATH=str(tmp_path)) as lean:
        lean.wait_until_ready()
        status, body = lean.predict([instance], explain=True)
        assert status == 400 and "explain: for an image it takes TensorFlow" in body["error"]
        assert json.loads(lean.get("/form")[1])["explains"] is False
    page.run(
        """{
        const data = new DataTransfer();
        data.items.add(new File(["no image"], "a.png"));
        document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {dataTransfer: data}));
        }"""
    )
    page.wait_for("document.querySelector('#answer .error')")
    assert "instance 0: not an image" in page.text()


def test_a_table_of_samples_is_drawn_and_answered(open_page, tmp_path):
    project, server, page = open_page("series")
    names = ["ax", "ay", "az", "wx", "wy", "wz"]
    rows = [[f"{0.04 * i:.2f}", *(f"{(i * j) % 7 / 10}" for j in range(6))] for i in range(400)]
    rows[3][2] = ""  # a lost sample
    lines = [",".join(['"seconds"', *names]), *map(",".join, rows)]
    (tmp_path / "one.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "wrong.csv").write_text("seconds,ax\n0,1\n", encoding="utf-8")

    page.run("document.querySelector('#windows').click()")
    page.choose_file("input[type=file]", tmp_path / "one.csv")
    page.wait_for("document.querySelectorAll('#answer .rows tr').length == 1 + 3")

    assert page.run("document.querySelectorAll('.lines path').length") == 6
    assert "class" in page.text() and "windows" in page.text()
    instance = json.loads(page.run("document.querySelector('#json').value"))
    assert instance["samples"]["ay"][3] is None and instance["time"][1] == 0.04
    _, answer = server.predict([instance], windows=True)
    predict = ["python", *forked("scripts/predict.py"), "--model=runs/one/model"]
    wanted = ["--parameters", '{"windows": true}', tmp_path / "one.csv"]
    printed = json.loads(project.run([*predict, *wanted]).stdout)
    assert printed == {"recording": "one.csv"} | answer["predictions"][0]
    text = "\n".join(lines).replace(",", ";").replace(".", ",").replace("0,5", "0,25")
    (tmp_path / "commas.csv").write_text(text, encoding="utf-8")
    page.choose_file("input[type=file]", tmp_path / "commas.csv")
    page.wait_for("document.querySelector('#json').value.includes('0.25')")
    with_commas = json.loads(page.run("document.querySelector('#json').value"))
    assert json.dumps(with_commas) == json.dumps(instance).replace("0.5", "0.25")
    named = [
        "participant,recording," + lines[0],
        *(f"p{i // 100},1,{r}" for i, r in enumerate(lines[1:])),
    ]
    (tmp_path / "named.csv").write_text("\n".join(named), encoding="utf-8")
    page.choose_file("input[type=file]", tmp_path / "named.csv")  # each has a recording 1
    page.wait_for("JSON.parse(document.querySelector('#json').value).time.length == 100")
    (tmp_path / "quoted.csv").write_text("\n".join([*lines[:3], '"0,08"' + lines[3][4:]]))
    page.choose_file("input[type=file]", tmp_path / "quoted.csv")
    page.wait_for("document.querySelector('#answer .error')")
    assert "row 3: 8 values, expected 7; is there a , in a value?" in page.text()
    page.choose_file("input[type=file]", tmp_path / "wrong.csv")
    page.wait_for("document.querySelector('#answer .error').innerText.includes('no column')")
    assert "no column ay, az, wx, wy, wz; there are: seconds, ax" in page.text()
