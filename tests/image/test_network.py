"""The network of images beside the SavedModel: the same answers, and the same bits in any company."""

from __future__ import annotations

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import Trained

from codec.answers import to_plain
from predictor import runtime
from predictor.model import Model, Parameters
from trainer.engine import network
from trainer.images.backbone import Backbone

pytestmark = pytest.mark.slow
BATCHES = [1, 2, 7, 64, 1000]


def make_images(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def test_onnxruntime_answers_as_tensorflow_does(digits: Trained):
    images = {"image": digits.data.eval.pixels.read("eval", np.arange(100))}
    lean, full = runtime.load(digits.model_dir), runtime.TensorFlow(digits.model_dir)
    got, expected = lean.call(images), full.call(images)
    full.close()
    assert isinstance(lean, runtime.Onnx) and got.keys() == expected.keys()
    np.testing.assert_allclose(got["probabilities"], expected["probabilities"], rtol=0, atol=1e-5)
    assert [*got["class"]] == [text.decode() for text in expected["class"]]


def test_an_image_gets_the_same_bits_alone_and_among_a_thousand(digits: Trained):
    model = Model(digits.model_dir)
    images = make_images(1000, digits.schema.pictures.shape)
    [whole] = model.call([{"image": images}])
    for size, start in itertools.product(BATCHES, (0, 3, 500, 999)):
        [got] = model.call([{"image": images[start : start + size]}])
        expected = whole["probabilities"][start : start + size]
        assert got["probabilities"].tobytes() == expected.tobytes(), (size, start)


@pytest.mark.parametrize("name", ["mobilenetv2", "efficientnetb0"])
def test_a_backbone_gives_the_same_bits_in_any_company(name, tmp_path):
    """The second one keeps constants of its own, which have to get into the file."""
    image = keras.Input((64, 64, 3), dtype="uint8", name="image")
    features = Backbone(name, 64)(keras.ops.cast(image, "float32"))
    model = keras.Model({"image": image}, keras.layers.Dense(3)(features))
    takes = {"image": tf.TensorSpec([None, 64, 64, 3], tf.uint8, "image")}
    core = tf.function(lambda inputs: {"value": model(inputs, training=False)}, [takes])
    images = make_images(64, (64, 64, 3))

    data = network.convert(core, takes, {"image": images[:10]})

    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra/network.onnx").write_bytes(data)
    lean = runtime.load(tmp_path)
    whole = lean.call({"image": images})["value"]
    for size in BATCHES[:-1]:
        assert lean.call({"image": images[:size]})["value"].tobytes() == whole[:size].tobytes()


def test_a_request_is_answered_by_position(digits: Trained):
    model = Model(digits.model_dir)
    instance = {"image": make_images(1, digits.schema.pictures.shape)[0].tolist()}
    first, second, third = model.answer([instance, 1, instance], Parameters(top=2))
    assert len(first["probabilities"]) == 2 and "instance 1: expected" in second["error"]
    assert json.dumps(first, default=to_plain) == json.dumps(third, default=to_plain)
