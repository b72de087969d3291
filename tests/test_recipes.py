"""What docs/recipes.md promises: each recipe applies, trains, resumes, predicts and reports."""

import base64
import functools
import io
import json
import re
import shutil
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

import answers
import cluster
from conftest import PRODUCT, fork_trainers, forked
from test_models import ONE, TWO, columns, history

MADE_TO_BE_EDITED = {f"trainer/{name}.py" for name in ("data", "model", "options", "outputs")}
LONGEST = 60  # lines of a diff
VAE = "image: A variational autoencoder"
UNET = "image: A U-Net, from an image to a mask"
INSTANCES = {"tabular": "data/penguins_eval.csv", "image": "runs/.cache/digits/7"}
INSTANCES |= {UNET: "runs/scenes/images/7", "series": "data/watch.parquet"}
ANSWERS = {"tabular": 69, "image": 179, UNET: 90, "series": 140}
EPOCHS = {UNET: 4, VAE: 4}  # of which the quality is tested; the others need two to fall from


@dataclass(frozen=True)
class Recipe:
    problem: str
    title: str
    diff: str
    code: str  # what to run once before


def read_recipes():
    for problem in answers.PROBLEMS:
        path = PRODUCT / "problems" / problem / "docs/recipes.md"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for section in text.split("\n## ")[1:]:
            title, _, text = section.partition("\n")
            [diff] = re.findall(r"^```diff\n(.*?)^```$", text, flags=re.M | re.S)
            # Keras would download its weights; random ones have the same shapes.
            code = "".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S))
            code = code.replace("include_top=False", "include_top=False, weights=None")
            yield Recipe(problem, title, diff, code)


RECIPES = {f"{recipe.problem}: {recipe.title}": recipe for recipe in read_recipes()}
BACKBONE = "image: A network of keras.applications as feature extractor, with weights from a file"
# To the trainer they are like the others.
LATER = dict.fromkeys(["series", BACKBONE, "image: Any model with plain `fit`"], pytest.mark.soak)
every_recipe = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=LATER.get(recipe.problem, LATER.get(name, ())))
        for name, recipe in RECIPES.items()
    ],
)
ON_TWO_WORKERS = [
    "tabular: L2 and dropout on the default model",
    "tabular: A transformer over the columns of a table",
    "tabular: Two outputs, a class and a value, with loss weights",
]
WITH_FIT = "tabular: Any model with plain `fit`"


@pytest.fixture(scope="module")
def adapted(bake, tmp_path_factory):
    """adapted(name): a bake to which that recipe was applied."""
    projects = {}

    def adapted(name):
        if name not in projects:
            recipe = RECIPES[name]
            original = bake(problem=recipe.problem)
            copy = tmp_path_factory.mktemp("recipe") / "project"
            shutil.copytree(original.path, copy, ignore=shutil.ignore_patterns("runs", ".git"))
            project = type(original)(copy)
            (copy.parent / "recipe.diff").write_text(recipe.diff, encoding="utf-8")
            project.run(["git", "apply", "../recipe.diff"], GIT_CEILING_DIRECTORIES=copy.parent)
            if recipe.code:
                project.run(["python", *forked("-c"), recipe.code])
            projects[name] = project
        return projects[name]

    return adapted


@pytest.fixture(scope="module")
def trained(adapted):
    """trained(name): the directory of a run of that recipe, with its report, and its answers."""

    @functools.cache
    def trained(name):
        project, problem = adapted(name), RECIPES[name].problem
        run = project.path / "runs/plain"
        epochs = str(EPOCHS.get(name, 2))
        cluster.run(project, project.path / "log", ONE, run, "--epochs", epochs)
        project.run(["python", "scripts/report.py", run])
        instances = INSTANCES.get(name, INSTANCES[problem])
        predict = ["python", *forked("scripts/predict.py"), "--model", run / "model", instances]
        printed = project.run(predict, **fork_trainers()).stdout  # some by TensorFlow
        return run, [json.loads(line) for line in printed.splitlines()]

    return trained


def read_report(run):
    return (run / "report.html").read_text(encoding="utf-8")


def read_record(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def read_sections(run):
    return json.loads((run / "evaluation.json").read_text(encoding="utf-8"))["sections"]


def read_pixels(file):
    return np.asarray(Image.open(file))


def decode(answer):
    return base64.b64decode(answer["b64"])


def iou(masks, truth):
    return (masks & truth).sum() / (masks | truth).sum()


@pytest.mark.slow
@every_recipe
def test_a_recipe_is_short_and_changes_files_made_to_be_edited(adapted, name):
    diff = RECIPES[name].diff

    assert diff.count("\n") <= LONGEST
    assert set(re.findall(r"^\+\+\+ b/(.*)$", diff, flags=re.M)) <= MADE_TO_BE_EDITED
    project = adapted(name)
    project.run(["python", "-m", "ruff", "check", "--no-cache", "trainer"])
    project.run(["python", "-m", "ruff", "format", "--no-cache", "--check", "trainer"])


@pytest.mark.slow
@every_recipe
def test_a_recipe_trains_predicts_and_reports(trained, name):
    run, predictions = trained(name)

    assert len(predictions) == ANSWERS.get(name, ANSWERS[RECIPES[name].problem])
    assert "val_loss" in read_report(run)
    record = read_record(run)
    losses = columns(history(run), "loss")
    assert losses[-1] < losses[0]
    assert record["metrics"]["val_loss"] == pytest.approx(min(columns(history(run), "val_loss")))


@pytest.mark.slow
def test_a_reconstruction_is_better_than_the_mean_image(trained):
    run, predictions = trained(VAE)
    values, gallery = read_sections(run)

    error, of_the_mean_image = (value["value"] for value in values["values"])
    assert error < 0.8 * of_the_mean_image
    assert gallery["columns"] == ["image", "reconstruction"] and len(gallery["items"]) == 24
    assert read_report(run).count("<span>reconstruction</span>") == 24
    assert {read_pixels(io.BytesIO(decode(p["image"]))).shape for p in predictions} == {(8, 8)}


@pytest.mark.slow
def test_a_mask_is_better_than_brightness_and_the_mean_mask(trained):
    """The bars hide strokes and the noise is as strong as they are: brightness is not enough."""
    run, predictions = trained(UNET)
    values, gallery = read_sections(run)
    files = sorted(run.parent.glob("scenes/images/*/*.png"))
    scenes = np.stack([read_pixels(file) for file in files])
    masks = np.stack([read_pixels(str(file).replace("images", "masks")) for file in files])
    bright = max(iou(scenes > level, masks > 127) for level in range(0, 256, 5))
    mean = max(iou(masks.mean(axis=0) > level, masks > 127) for level in range(0, 256, 5))

    assert max(bright, mean) < 0.4
    assert read_record(run)["metrics"]["val_iou"] > 0.55
    assert values["values"][0]["label"] == "IoU" and values["values"][0]["value"] > 0.55
    assert gallery["columns"] == ["image", "prediction", "truth"] and len(gallery["items"]) == 24
    assert read_report(run).count("<span>truth</span>") == 24
    sevens = [file.parent.name == "7" for file in files]
    predicted = np.stack([read_pixels(io.BytesIO(decode(p["mask"]))) for p in predictions])
    assert iou(predicted > 127, masks[sevens] > 127) > 0.55


@pytest.mark.soak
@every_recipe
def test_a_killed_recipe_ends_with_the_same_weights(adapted, tmp_path, name):
    project, flags = adapted(name), ["--epochs", "20", "--checkpoint-every", "0"]
    [calm] = cluster.run(project, tmp_path / "log", ONE, tmp_path / "calm", *flags)

    [killed] = cluster.start(project, tmp_path / "log", ONE, tmp_path / "run", *flags)
    cluster.wait_for_epoch(killed, 3)
    killed.process.kill()
    cluster.finish([killed])
    [again] = cluster.run(project, tmp_path / "log", ONE, tmp_path / "run", *flags)

    assert re.search(r"after epoch [1-9]", again.text())
    assert again.weights == calm.weights is not None
    assert history(tmp_path / "run") == history(tmp_path / "calm")


@pytest.mark.soak
@pytest.mark.parametrize("name", ON_TWO_WORKERS)
def test_a_recipe_on_two_workers(adapted, tmp_path, name):
    """Without dropout, which draws other numbers on each replica, it equals one process."""
    project = adapted(name)
    flags = ["--epochs", "4", "--batch-size", "83", "--dropout", "0"]

    cluster.run(project, tmp_path / "log", ONE, tmp_path / "one", *flags)
    two = cluster.run(project, tmp_path / "log", TWO, tmp_path / "two", *flags)

    assert len({replica.weights for replica in two} - {None}) == 1
    values = columns(history(tmp_path / "two"), "val_")
    assert values == pytest.approx(columns(history(tmp_path / "one"), "val_"), abs=1e-4)


@pytest.mark.slow
def test_fit_on_two_workers_is_refused_in_one_line(adapted, tmp_path):
    replicas = cluster.start(adapted(WITH_FIT), tmp_path / "log", TWO, tmp_path / "run")

    assert set(cluster.finish(replicas)) == {2}
    assert "error: --fit trains on one device of one machine" in replicas[0].text()
    assert "Traceback" not in replicas[0].text()
