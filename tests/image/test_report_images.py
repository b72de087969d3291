"""The report of a run on images: what it shows of them, and whether its maps tell the truth."""

import base64
import json
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import read_json, train
from own import write_images
from pages import page_of, words_of

from codec import saliency
from trainer import outputs
from trainer.images import explain, gradients, png

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The digits, learned as well as the defaults learn them."""
    return train(tmp_path_factory.mktemp("trained") / "run", "--epochs", "30")


@pytest.fixture
def run(trained, tmp_path):
    """A copy of its directory, to be spoilt."""
    return shutil.copytree(trained.job_dir, tmp_path / "run")


def images_of(page):
    """The PNG files on a page, decoded: uint8 [height, width, channels]."""
    found = re.findall(r"data:image/png;base64,([^\"]+)", page)
    return [tf.io.decode_png(base64.b64decode(data)).numpy() for data in found]


def galleries(run_dir):
    """The items of each gallery of a run, by title."""
    sections = read_json(run_dir / "evaluation.json")["sections"]
    return {part["title"]: part["items"] for part in sections if part["kind"] == "gallery"}


def change(run_dir, name, edit):
    """Edits one of a run's JSON files in place."""
    document = read_json(run_dir / name)
    edit(document)
    (run_dir / name).write_text(json.dumps(document), encoding="utf-8")


def held_out(run, rows):
    """Images uint8 [n, height, width, channels] and their classes."""
    return run.data.eval.read(rows), run.data.eval.targets(rows)


def probabilities(model, images):
    return tf.nn.softmax(model({"image": images}, training=False)).numpy()


# --- Integrated gradients


def network(*middle, size=6, classes=4):
    """A functional model of images with random weights."""
    keras.utils.set_random_seed(1)
    image = keras.Input((size, size, 3), dtype="uint8", name="image")
    x = keras.ops.cast(image, "float32")
    for layer in (keras.layers.Rescaling(1 / 255), *middle, keras.layers.Flatten()):
        x = layer(x)
    return keras.Model({"image": image}, keras.layers.Dense(classes)(x))


def draw_images(count, size=6):
    return np.random.default_rng(3).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def score(model, image, place):
    """By the definition in saliency.py, in NumPy."""
    logits = model({"image": image[None]}, training=False).numpy()[0].astype(float)
    return logits[place] - logits.mean()


def test_of_a_linear_model_the_attributions_are_exact():
    model, (image,) = network(), draw_images(1)
    kernel = model.layers[-1].kernel.numpy().astype(float)
    weights = (kernel[:, 2] - kernel.mean(axis=1)).reshape(image.shape) / 255
    base = saliency.baselines(image[None])[0].astype(float)

    (found,) = gradients.attributions(model, image[None], [2], steps=1)

    np.testing.assert_allclose(found.values, weights * (image - base), atol=1e-5)


def test_attributions_add_up_to_the_difference_of_the_scores():
    model = network(
        keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.5),
    )
    some, places = draw_images(5), [0, 1, 2, 3, 0]
    found = gradients.attributions(model, some, places, steps=256)
    for attribution, image, place in zip(found, some, places, strict=True):
        base = saliency.baselines(image[None])[0]
        difference = score(model, image, place) - score(model, base, place)
        assert attribution.score - attribution.baseline == pytest.approx(difference, abs=1e-5)
        assert attribution.values.sum() == pytest.approx(difference, abs=0.01 * abs(difference))
        assert attribution.error < 0.01


def test_an_error_is_what_does_not_add_up():
    values = np.array([[[3.0], [-1.0]]])
    assert saliency.Attribution(values, baseline=1.0, score=3.0).error == 0
    assert saliency.Attribution(values, baseline=1.0, score=4.0).error == 0.25


def test_a_baseline_is_the_middle_colour_of_the_edge():
    image = np.zeros((5, 5, 3), np.uint8)
    image[1:4, 1:4] = 255  # what it shows
    image[:, :4, 1] = 90  # of the edge more than half
    assert np.unique(saliency.baselines(image[None]).reshape(-1, 3), axis=0).tolist() == [
        [0, 90, 0]
    ]


def test_the_cost_counts_multiplications_inside_of_layers_too():
    inner = keras.Sequential([keras.Input((6, 6, 3)), keras.layers.Conv2D(8, 3, padding="same")])

    class Wrapped(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.network = inner

        def call(self, x):
            return self.network(x)

    pixels, dense = 6 * 6, 6 * 6 * 8 * 4
    assert gradients.cost(network(Wrapped())) == pixels * 3 * 3 * 3 * 8 + dense


def test_a_map_shows_what_speaks_for_and_against():
    values = np.zeros((80, 80, 1))
    values[:40, :40], values[40:, 40:] = 1.0, -1.0
    drawn = saliency.draw(np.zeros((80, 80, 1), np.uint8), values)
    assert drawn.shape == (80, 80, 3)
    assert drawn[0, 0].tolist() == list(saliency.FOR)
    assert drawn[79, 79].tolist() == list(saliency.AGAINST)
    assert len(set(drawn[0, 79].tolist())) == 1  # grey: nothing to say
    assert saliency.draw(np.zeros((7, 90, 3), np.uint8), np.zeros((7, 90, 3))).shape == (7, 90, 3)


# --- Of the digits


@pytest.fixture(scope="module")
def mapped(trained):
    """Images uint8 [n, 8, 8, 1], the probabilities of their classes, the attribution of each guess."""
    some, _ = held_out(trained, range(60))
    shares = probabilities(trained.model, some)
    return some, shares, gradients.attributions(trained.model, some, shares.argmax(axis=1))


def test_the_maps_of_digits_are_on_their_strokes(mapped):
    some, _, found = mapped
    ink = some[..., 0] >= 64
    sizes = np.abs(np.stack([attribution.values.sum(axis=2) for attribution in found]))
    shares = (sizes * ink).sum(axis=(1, 2)) / sizes.sum(axis=(1, 2))
    assert ink.mean() < 0.5
    assert shares.mean() > 0.9 and shares.min() > 0.7
    assert max(attribution.error for attribution in found) < 0.05


def test_what_a_map_marks_is_what_the_prediction_hangs_on(trained, mapped):
    """On the strokes the map would be anyway, since black has no part in it. So: wipe out a few
    stroke pixels, those that it marks most, or as many by lot, and see which are missed more."""
    some, before, found = mapped
    guesses = before.argmax(axis=1)
    random = np.random.default_rng(0)
    marked, any_ = some.copy(), some.copy()
    for i, attribution in enumerate(found):
        ink = np.flatnonzero(some[i] >= 64)
        order = ink[np.argsort(-attribution.values.ravel()[ink])]
        marked[i].ravel()[order[:6]] = 0
        any_[i].ravel()[random.choice(ink, 6, replace=False)] = 0
    rows = np.arange(len(some))
    left = [probabilities(trained.model, p)[rows, guesses].mean() for p in (marked, any_)]
    assert before[rows, guesses].mean() > 0.95
    assert left[0] < 0.25 and left[0] < left[1] / 2


# --- What a run leaves


def test_a_run_leaves_few_small_images_and_says_what_they_are(trained):
    samples, mistakes, maps = galleries(trained.job_dir).values()
    assert (len(samples), len(maps)) == (outputs.SAMPLES, explain.MAPS)
    [_, confusion, *_, last] = read_json(trained.job_dir / "evaluation.json")["sections"]
    assert float(re.search(r"among these maps is (?:less than )?([\d.]+) ?%", last["text"])[1]) < 5
    wrong = sum(map(sum, confusion["counts"])) - np.trace(confusion["counts"])
    assert 0 < len(mistakes) == min(wrong, 24)

    files = {image for item in samples + mistakes + maps for image in item["images"]}
    assert {f"gallery/{path.name}" for path in (trained.job_dir / "gallery").iterdir()} == files
    assert all(len(item["images"]) == 2 for item in maps)

    labels = trained.schema.labels
    for item in samples + mistakes + maps:
        row = int(re.fullmatch(r"gallery/eval-(\d+)\.png", item["images"][0])[1])
        (image,), (target,) = held_out(trained, [row])
        stored = tf.io.decode_png(tf.io.read_file(str(trained.job_dir / item["images"][0]))).numpy()
        shares = probabilities(trained.model, image[None])[0]
        assert (stored == image).all()
        first, *truth, name = item["lines"]
        assert item["right"] == (shares.argmax() == target) == (not truth)
        assert name.split("/")[0] == labels[target]
        for line, place in [(first, shares.argmax()), *((line, target) for line in truth)]:
            label, share = line.removeprefix("truth: ").removesuffix("%").split(" ")
            assert label == labels[place]
            assert float(share) == pytest.approx(100 * shares[place], abs=0.06)
    shares = [float(item["lines"][1].split()[-1].removesuffix("%")) for item in mistakes]
    assert shares == sorted(shares)


def test_samples_are_of_all_classes_and_the_same_each_time():
    targets = np.array([0] * 900 + [1] * 90 + [2] * 3)
    targets = np.random.default_rng(5).permutation(targets)
    rows = explain.choose(targets, 24)
    assert np.bincount(targets[rows]).tolist() == [11, 10, 3]
    assert len(set(rows.tolist())) == 24
    assert (explain.choose(targets, 24) == rows).all()
    assert explain.choose(targets[:5], 24).size == 5


def test_the_images_of_the_run_before_make_room(run):
    """Those that its report shows: whatever else lies there is somebody's."""
    shown, gallery = (run / "evaluation.json"), run / "gallery"
    shown.write_text(shown.read_text(encoding="utf-8") + '\n"gallery/eval-999999.png"')
    for name in ("eval-999999.png", "mine.png", "notes.txt"):
        (gallery / name).write_bytes(b"old")
    again = train(run, "--epochs", "31")
    assert {"mine.png", "notes.txt"} == {path.name for path in gallery.iterdir()} - {
        path.removeprefix("gallery/")
        for path in re.findall(r"gallery/[\w-]+\.png", shown.read_text())
    }
    assert "Not on this page" not in words_of(page_of(again.job_dir))


def test_large_images_are_stored_small(tmp_path):
    size = png.SIDE + 2
    source = write_images(str(tmp_path / "in"), size=size, a=9, b=9)
    flags = ("--data", source, "--image-size", str(size), "--filters", "2", "--epochs", "1")
    found = train(tmp_path / "run", *flags)
    images = images_of(page_of(found.job_dir))
    assert images and all(max(image.shape) <= png.SIDE for image in images)
    sizes = [path.stat().st_size for path in (found.job_dir / "gallery").iterdir()]
    assert max(sizes) < 64_000  # random pixels, which PNG cannot make smaller


def test_a_model_too_large_for_maps_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(explain, "BUDGET", {"CPU": 1000, "GPU": 1000})
    source = write_images(str(tmp_path / "in"), a=9, b=9)
    found = train(tmp_path / "run", "--data", source, "--filters", "4")
    page = page_of(found.job_dir)
    assert "What it looked at No maps were made: one map would take this model too long." in (
        words_of(page)
    )
    assert images_of(page)


def test_a_model_that_is_no_graph_of_layers_costs_the_maps_and_not_the_run(trained):
    class Own(keras.Model):
        def call(self, inputs, training=False):
            return trained.model(inputs, training=training)

    sample = outputs.Prediction(0, "1", "1", 1.0, 1.0)
    section = explain.gallery(Own(), trained.data, None, [sample], [], {})
    assert section["items"] == []
    assert re.match("No maps were made: [A-Z][A-Za-z]+Error: ", section["text"])


# --- The page


def test_the_page_shows_them(trained):
    page = page_of(trained.job_dir)
    words = words_of(page)
    items = galleries(trained.job_dir)
    worst = " ".join(items["The worst mistakes"][0]["lines"])
    for expected in (
        "%, on held-out examples (val_accuracy)",
        "examples a second",
        f"Of {trained.data.eval.rows} held-out examples,",
        "Images and predictions",
        "The worst mistakes",
        worst,
        "What it looked at",
        f"Training examples: {trained.data.train.rows:,}",
        "The model sees 8 × 8 pixels, grey.",
        f"class training held-out 0 {trained.data.train.class_counts()[0]} ",
    ):
        assert expected in words
    assert "rows" not in words and "Not on this page" not in words
    shown = sum(len(item["images"]) for listed in items.values() for item in listed)
    assert len(images_of(page)) == shown
    assert page.count('class="pixels"') == shown  # 8 × 8: each pixel a square
    assert not re.findall(r"""(?:src|href)=["'](?!data:)|url\(|@import|<script|<link""", page)
    assert page == page_of(trained.job_dir)


def test_a_run_brought_from_elsewhere_has_the_same_page(trained, tmp_path):
    there = page_of(shutil.copytree(trained.job_dir, tmp_path / "a" / "run"))
    here = tmp_path / "b" / "run"
    here.parent.mkdir()
    shutil.move(tmp_path / "a" / "run", here)
    assert page_of(here) == there


def test_phases_are_marked(run):
    one = page_of(run)
    assert "Trained in phases" not in one
    change(run, "run.json", lambda record: record.update(phases={"head": 1, "fine-tuning": 11}))
    two = page_of(run)
    assert "Trained in phases: 1, head , from epoch 1; 2, fine-tuning , from epoch 11." in (
        words_of(two)
    )
    figures = [re.findall(r"data:image/svg\+xml;base64,([^\"]+)", page)[0] for page in (one, two)]
    drawn = [base64.b64decode(figure).decode() for figure in figures]
    assert ["<!-- phase 2 -->" in figure for figure in drawn] == [False, True]
    change(run, "run.json", lambda record: record.update(phases={"a": 1, "b": 11, "c": 99}))
    assert "<!-- phase 3 -->" not in page_of(run)  # it never began


def test_two_phases_of_a_backbone_reach_the_page(tmp_path):
    source = write_images(str(tmp_path / "in"), size=32, a=9, b=9)
    flags = ("--backbone", "mobilenet", "--weights", "none", "--image-size", "32")
    phases = ("--epochs", "2", "--head-epochs", "1", "--fine-tune-layers", "2")
    found = train(tmp_path / "run", "--data", source, *flags, *phases)
    words = words_of(page_of(found.job_dir))
    assert "Trained in phases: 1, head , from epoch 1; 2, fine-tuning , from epoch 2." in words
    assert "Blue places speak for the class" in words


def lonely(run_dir):
    """The first three items whose image no other one shows."""
    items = [item for listed in galleries(run_dir).values() for item in listed]
    images = [image for item in items for image in item["images"]]
    return [item for item in items if images.count(item["images"][0]) == 1][:3]


def test_images_that_are_gone_or_torn_are_left_out_and_counted(run):
    before = len(images_of(page_of(run)))
    gone, torn, other = (run / item["images"][0] for item in lonely(run))
    gone.unlink()
    torn.write_bytes(torn.read_bytes()[:20])
    other.write_bytes(b"<svg onload='alert(1)'/>")
    page = page_of(run)
    assert len(images_of(page)) == before - 3
    assert "3 images of “Images and predictions” are not there, or are no images." in words_of(page)
    shutil.rmtree(run / "gallery")
    page = page_of(run)
    assert "Class by class" in words_of(page) and not images_of(page)


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/passwd", "gallery/../../secret.png", "gallery/link.png", 7, None],
)
def test_no_other_file_is_read(run, name):
    [item, *_] = galleries(run)["Images and predictions"]
    secret = shutil.copy(run / item["images"][0], run.parent / "secret.png")
    try:
        (run / "gallery" / "link.png").symlink_to(secret)
    except OSError:
        if name == "gallery/link.png":
            pytest.skip("this user may not make links on Windows")
    before = len(images_of(page_of(run)))
    change(
        run, "evaluation.json", lambda page: page["sections"][2]["items"][-1].update(images=[name])
    )
    page = page_of(run)
    assert len(images_of(page)) == before - 1
    assert "1 images of “Images and predictions” are not there" in words_of(page)


def test_hostile_names_stay_text(run):
    evil = """<script>alert("1")</script> & 'x' " onload="x"""

    def spoil(evaluation):
        for section in evaluation["sections"]:
            for item in section.get("items", []):
                item["lines"] = [evil, evil]

    change(run, "evaluation.json", spoil)
    page = page_of(run)
    assert "<script" not in page and not re.search(r'<[^>]*" onload="x', page)
    assert words_of(page).count(evil) > 50


def test_hundreds_of_images_are_cut_down(run):
    def multiply(evaluation):
        evaluation["sections"][2]["items"] *= 100

    change(run, "evaluation.json", multiply)
    assert len(images_of(page_of(run))) < 100


def test_a_run_that_has_not_ended_has_a_page_without_images(run):
    (run / "evaluation.json").unlink()
    shutil.rmtree(run / "gallery")
    change(run, "run.json", lambda record: record.update(status="running"))
    words = words_of(page_of(run))
    assert "had not ended when this page was written" in words and "examples a second" in words
    assert "What it looked at" not in words and "Images and predictions" not in words
