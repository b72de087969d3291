"""From a client's file to an answer: what may be sent, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Trained, write
from PIL import Image
from ways import answer_in_all_ways, batch_answers

from launcher.cli import predict
from predictor import predict as predictor
from codec import saliency
from codec.schema import Pictures, Schema
from predictor.gradients import Differentiable
from predictor.inputs import Inputs
from predictor.instances import InstanceError, attempt
from trainer.images import gradients

pytestmark = pytest.mark.slow


def photo(height: int, width: int, channels: int = 3) -> Image.Image:
    """Smooth random colours: JPEG makes noise of noise."""
    small = np.random.default_rng([height, width, channels]).integers(
        0, 256, (height // 8 + 2, width // 8 + 2, channels), np.uint8
    )
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def packed(image: Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


COLOURS = photo(60, 91)
FILES = {
    kind: packed(COLOURS, kind.upper(), **({"quality": 95} if kind == "jpeg" else {}))
    for kind in ("jpeg", "png", "gif", "bmp", "webp")
}


# The forms in which images come


def answers(capsys, model: Trained, *files: str) -> list[dict]:
    """What the script prints for these files."""
    capsys.readouterr()
    assert predict.main(["--model", model.model_dir, *files], predictor) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def first_digit(digits: Trained) -> tuple[str, np.ndarray]:
    """The file of a held-out digit, and its pixels."""
    dataset = digits.data.eval.pixels.dataset
    [name] = dataset.names("eval", [0])
    path = next(digits.job_dir.parent.glob(f".cache/digits/{name}"))
    return str(path), digits.data.eval.pixels.read("eval", [0])[0]


def in_memory(digits: Trained, pixels: np.ndarray) -> np.ndarray:
    """What the model said when it was trained, before it was exported."""
    import keras

    logits = digits.model({"image": pixels[np.newaxis]}, training=False)
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))[0]


def test_the_same_image_in_each_form(capsys, digits):
    path, pixels = first_digit(digits)
    b64 = {"b64": base64.b64encode(Path(path).read_bytes()).decode()}
    colours = np.repeat(pixels, 3, axis=2).tolist()
    forms = [b64, {"image": b64}, {"image": pixels[..., 0].tolist()}, {"image": colours}]
    write("request.json", json.dumps({"instances": forms}))
    write("lines.json", "\n".join(map(json.dumps, forms)))
    os.makedirs("folder/below")
    shutil.copy(path, "folder/below/digit.PNG")
    write("folder/notes.txt", "not looked at")

    [by_file] = answers(capsys, digits, path)
    [by_folder] = answers(capsys, digits, "folder")

    assert by_file.pop("file") == path
    assert by_folder.pop("file") == os.path.join("folder", "below", "digit.PNG")
    assert by_folder == by_file
    expected = dict(zip(digits.schema.labels, in_memory(digits, pixels).tolist(), strict=True))
    found = answers(capsys, digits, "request.json") + answers(capsys, digits, "lines.json")
    assert len(found) == 8
    for answer in [by_file, *found]:
        assert answer["class"] == max(expected, key=expected.get)
        assert answer["probabilities"] == pytest.approx(expected, abs=1e-6)


def test_an_image_alone_gets_the_same_bits_in_each_form(capsys, digits):
    path, pixels = first_digit(digits)
    b64 = {"b64": base64.b64encode(Path(path).read_bytes()).decode()}
    write("b64.json", json.dumps({"instances": [{"image": b64}]}))
    write("pixels.json", json.dumps({"instances": [{"image": pixels[..., 0].tolist()}]}))
    found = [answers(capsys, digits, name)[0] for name in (path, "b64.json", "pixels.json")]
    assert found[0].pop("file") == path
    assert found[0] == found[1] == found[2]


def test_an_image_gets_the_same_bits_in_every_way(capsys, digits):
    path, pixels = first_digit(digits)
    contents = [Path(path).read_bytes(), *FILES.values()]
    instances = [{"image": {"b64": base64.b64encode(data).decode()}} for data in contents]
    write("images.jsonl", "\n".join(map(json.dumps, instances)))
    ways = answer_in_all_ways(capsys, digits.model_dir, "images.jsonl", instances)
    first, *others = ways.values()
    assert len(first) == 6 and all(way == first for way in others), ways
    shares = list(first[0]["probabilities"].values())
    assert shares == pytest.approx(in_memory(digits, pixels).tolist(), abs=1e-6)
    for number, data in enumerate(contents):
        write(f"in/{number}.png", data)
    write("in/6.png", b"no image")
    write("list.txt", "in/1.png\nnothing.png\nin/0.png\n")
    good, bad = batch_answers(digits.model_dir, "in", code=2)
    assert [line["prediction"] for line in good] == first
    assert [line["key"] for line in good] == [os.path.join("in", f"{i}.png") for i in range(6)]
    assert bad[0]["key"] == os.path.join("in", "6.png") and "not an image" in bad[0]["error"]["message"]  # fmt: skip
    good, bad = batch_answers(digits.model_dir, "list.txt", code=2)
    assert [(line["key"], line["prediction"]) for line in good] == [("in/1.png", first[1]), ("in/0.png", first[0])]  # fmt: skip
    assert bad[0]["key"] == "nothing.png" and "cannot be read" in bad[0]["error"]["message"]


def test_images_of_any_size_and_kind(capsys, digits):
    for kind, content in FILES.items():
        write(f"in/{kind}.{kind}", content)
    found = answers(capsys, digits, "in")
    assert [Path(answer["file"]).stem for answer in found] == sorted(FILES)


# What is refused


def run(capsys, model: Trained, *files: str) -> tuple[int, list[dict], list[str]]:
    """(exit code, answers, lines on stderr) of the script."""
    capsys.readouterr()
    code = predict.main(["--model", model.model_dir, *files], predictor)
    printed = capsys.readouterr()
    return code, [json.loads(line) for line in printed.out.splitlines()], printed.err.splitlines()


def test_each_instance_has_its_line_and_a_bad_one_an_error(capsys, digits):
    good, bad = {"b64": base64.b64encode(FILES["png"]).decode()}, {"b64": "aGVsbG8="}
    for text in (
        json.dumps({"instances": [bad, good, {"image": "1.png"}, {"image": good}]}),
        "\n".join([json.dumps(bad), json.dumps(good), '{"b64": ', json.dumps(good)]),
    ):
        write("request.json", text)
        code, found, stderr = run(capsys, digits, "request.json")
        assert code == 2
        assert ["error" in answer for answer in found] == [True, False, True, False]
        assert found[1] == found[3]
        assert "instance 0: not an image: its content is none of JPEG, PNG" in found[0]["error"]
        assert stderr == [
            f"model: {digits.model_dir} (onnxruntime)",
            'error: 2 of 4 instances have no answer; see "error"',
        ]


def test_a_bad_file_in_a_folder_costs_its_own_answer_only(capsys, digits):
    whole = FILES["png"]
    tiff = packed(COLOURS, "TIFF")
    for name, data in {
        "1.png": whole,
        "2.png": whole[:60],
        "3.png": b"",
        "4.tif": tiff,
        "5.heic": b"\0\0\0\x18ftypheic" + bytes(99),
        "6.avif": b"\0\0\0\x18ftypavif" + bytes(99),
        "7.jpg": b"a text",
        "8": whole,
        "9.png": whole,
        "._1.png": b"\0\x05\x16\x07",
        ".thumbs/1.png": whole,
        "notes.txt": b"x",
    }.items():
        write(f"in/{name}", data)
    code, found, stderr = run(capsys, digits, "in")
    assert code == 2
    by_name = {Path(answer["file"]).name: answer.get("error") for answer in found}
    assert list(by_name) == ["1.png", "2.png", "3.png", "4.tif", "5.heic", "6.avif", "7.jpg", "8", "9.png"]  # fmt: skip
    assert {name for name, error in by_name.items() if error is None} == {"1.png", "8", "9.png"}
    for name, expected in {
        "2.png": "truncated: the end of the file is missing",
        "3.png": "empty: the file has no bytes",
        "4.tif": "TIFF, which is not read; save it as PNG or JPEG",
        "5.heic": "HEIC, which is not read; save it as PNG or JPEG",
        "6.avif": "AVIF, which is not read; save it as PNG or JPEG",
        "7.jpg": "not an image: its content is none of JPEG, PNG, GIF, BMP, WebP",
    }.items():
        assert by_name[name] == f"{Path('in') / name}: {expected}"
    assert stderr == [
        f"model: {digits.model_dir} (onnxruntime)",
        "in: skipped what is no image: 1 .txt",
        'error: 6 of 9 instances have no answer; see "error"',
    ]


B64 = base64.b64encode(FILES["png"]).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f: empty: the file has no bytes"),
        ("path\n1.png\n", "f: not an image: its content is none of JPEG, PNG, GIF, BMP, WebP"),
        ('{"image": "1.png"}', 'f: instance 0: expected {"image": {"b64": "…"}}, or pixels'),
        ('{"picture": 1}', 'f: instance 0: expected {"image": {"b64": "…"}}, or pixels'),
        ('{"image": {"b64": "%%"}}', "f: instance 0: b64 is not base64 ("),
        ('{"image": {"b64": "aGVsbG8="}}', "f: instance 0: not an image: its content is"),
        ('{"b64": "data:image/png;base64,aGVsbG8="}', "f: instance 0: b64 is a data: URI; send only"),
        ('{"b64": "_-8="}', "f: instance 0: b64 is URL-safe base64 (with - and _); send standard"),
        ('{"b64": "aGVs\\nbG8="}', "f: instance 0: b64 has spaces or line breaks; send it as one line"),
        ('{"image": [[1, 2], [3]]}', "f: instance 0: expected {"),
        ('{"image": [[[1, 2]]]}', "f: instance 0: expected {"),
        ('{"image": [[0.5]]}', "f: instance 0: expected {"),
        ('{"image": [[256]]}', "f: instance 0: expected {"),
        ('{"image": [[-1]]}', "f: instance 0: expected {"),
        ('{"image": []}', "f: instance 0: expected {"),
        (f'{{"image": {{"b64": "{B64}"}}}}\n{{"image": }}', "f:2: instance 1: not JSON ("),
    ],
)  # fmt: skip
def test_a_fault_in_an_instance_is_one_line(text, expected):
    write("f", text)
    inputs = Inputs(Schema(["a", "b"], Pictures(8, 1, "fit")))
    [*_, last] = (attempt(inputs.load, one) for one in inputs.open("f"))
    assert isinstance(last, InstanceError)
    assert str(last).startswith(expected) and "\n" not in str(last)


def test_a_request_that_cannot_be_read_gets_one_line_and_no_answer(capsys, digits):
    write("empty/notes.txt", "x")
    write("none.json", '{"instances": []}')
    write("cut.json", '{"instances": [\n{"b64": "aGVs')
    for file, expected in [
        ("none.png", "error: none.png: cannot be read (No such file or directory)"),
        ("empty", "error: empty: no image in it; looked for .jpg, "),
        ("none.json", 'error: none.json: expected {"instances": [{…}, …]}, got []'),
        ("cut.json", "error: cut.json: not JSON ("),
    ]:
        code, found, [_, line] = run(capsys, digits, file)
        assert code == 2 and found == [] and line.startswith(expected)


def test_the_script_prints_answers_and_nothing_else(digits):
    path, _ = first_digit(digits)
    command = [sys.executable, ROOT / "scripts" / "predict.py", "--model", digits.model_dir, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == f"model: {digits.model_dir} (onnxruntime)\n"
    assert done.stdout.count("\n") == 1


# What the model looked at


def test_a_saved_model_has_the_gradients_of_the_model_in_memory(digits):
    _, pixels = first_digit(digits)
    some = np.stack([pixels, 255 - pixels])
    network, classes = Differentiable(digits.model_dir), [3, 7]
    expected = gradients.attributions(digits.model, some, np.array(classes))
    for image, index, other in zip(some, classes, expected, strict=True):
        base = saliency.baselines(image[None])[0]
        differentiate = partial(network.differentiate, index)
        own = saliency.integrate(base.astype(float), image.astype(float), differentiate)
        np.testing.assert_allclose(own.values, other.values, atol=1e-5)
        assert (own.score, own.baseline) == pytest.approx((other.score, other.baseline), abs=1e-5)
        assert np.abs(own.values).max() > 0.1
