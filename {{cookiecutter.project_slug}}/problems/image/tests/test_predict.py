"""From a client's file to an answer: what may be sent, and that the model sees what training saw."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import predict
import pytest
from conftest import Trained, write
from PIL import Image

from codec import images
from launcher.instances import InstanceError
from launcher.picture_instances import Signature


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


def tagged(orientation: int, endian: str) -> bytes:
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F], exif[0x0112] = "maker", orientation
    return packed(photo(30, 50), "JPEG", exif=exif.tobytes())


COLOURS = photo(60, 91)
CLEAR = photo(60, 91, 4)
FILES = {
    "jpg": packed(COLOURS, "JPEG"),
    "jpg with all colours": packed(COLOURS, "JPEG", subsampling=0),
    "jpg, progressive": packed(COLOURS, "JPEG", progressive=True),
    "jpg, grey": packed(COLOURS.convert("L"), "JPEG"),
    "png": packed(COLOURS, "PNG"),
    "png, half transparent": packed(CLEAR, "PNG"),
    "png, grey and transparent": packed(CLEAR.convert("LA"), "PNG"),
    "png, grey": packed(COLOURS.convert("L"), "PNG"),
    "png with a palette": packed(COLOURS.convert("P"), "PNG"),
    "png with a transparent colour": packed(COLOURS.convert("P"), "PNG", transparency=5),
    "png, black and white": packed(COLOURS.convert("1"), "PNG"),
    "gif": packed(COLOURS, "GIF"),
    "bmp": packed(COLOURS, "BMP"),
    "bmp, grey": packed(COLOURS.convert("L"), "BMP"),
    "bmp with a palette": packed(COLOURS.quantize(16), "BMP"),
    "bmp, transparent": packed(CLEAR, "BMP"),
    "webp": packed(COLOURS, "WEBP"),
    **{f"jpg, turned {i}, {e}": tagged(i, e) for i in range(10) for e in "<>"},
}


# The same pixels as in training


@pytest.fixture(scope="module")
def decode():
    import tensorflow as tf

    from trainer import inputs

    return tf.function(inputs.decode, input_signature=[tf.TensorSpec([], tf.string)])


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_decoded_as_for_training(decode, name):
    ending = "." + name.partition(",")[0].partition(" ")[0]
    np.testing.assert_array_equal(decode(FILES[name]), images.decode(FILES[name], ending))


@pytest.mark.parametrize("policy", images.POLICIES)
@pytest.mark.parametrize("shape", [(60, 91), (300, 120), (7, 500), (5, 3), (32, 32)])
@pytest.mark.parametrize("grey", [False, True])
def test_a_picture_is_resized_as_for_training(policy, shape, grey):
    from trainer import inputs

    image = photo(*shape)
    expected = images.resize(image.convert("L") if grey else image, 32, policy)
    pixels = inputs.grey(np.asarray(image)) if grey else np.asarray(image)
    found = inputs.resize(pixels, 32, policy).numpy().reshape(32, 32, -1).astype(int)
    apart = np.abs(found - np.asarray(expected).reshape(found.shape))
    assert apart.max() <= (0 if shape == (32, 32) else 1)
    assert apart.mean() < 0.3


# The forms in which pictures come


def answers(capsys, model: Trained, *files: str) -> list[dict]:
    """What the script prints for these files."""
    capsys.readouterr()
    assert predict.main(["--model", model.model_dir, *files]) == 0
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


def test_the_same_picture_in_each_form(capsys, digits):
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


def test_a_picture_alone_gets_the_same_bits_in_each_form(capsys, digits):
    path, pixels = first_digit(digits)
    b64 = {"b64": base64.b64encode(Path(path).read_bytes()).decode()}
    write("b64.json", json.dumps({"instances": [{"image": b64}]}))
    write("pixels.json", json.dumps({"instances": [{"image": pixels[..., 0].tolist()}]}))
    found = [answers(capsys, digits, name)[0] for name in (path, "b64.json", "pixels.json")]
    assert found[0].pop("file") == path
    assert found[0] == found[1] == found[2]


def test_pictures_of_any_size_and_kind(capsys, digits):
    for i, (name, content) in enumerate(FILES.items()):
        write(f"in/{i:02d}.{name.split(',')[0].split()[0]}", content)
    found = answers(capsys, digits, "in")
    assert [Path(answer["file"]).stem for answer in found] == [
        f"{i:02d}" for i in range(len(FILES))
    ]


# What is refused


def test_a_broken_picture_does_not_take_the_others_along(capsys, digits):
    path, _ = first_digit(digits)
    whole = Path(path).read_bytes()
    write("in/1.png", whole)
    write("in/2.png", whole[:60])
    write("in/3.png", whole)
    capsys.readouterr()
    assert predict.main(["--model", digits.model_dir, "in"]) == 2
    printed = capsys.readouterr()
    assert [Path(json.loads(line)["file"]).name for line in printed.out.splitlines()] == [
        "1.png",
        "3.png",
    ]
    told = [line for line in printed.err.splitlines() if line.startswith("error: ")]
    assert told == [f"error: {Path('in/2.png')}: cannot be decoded: damaged, or not of a kind that is known"]  # fmt: skip


B64 = base64.b64encode(FILES["png"]).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "f: neither a picture (JPEG, PNG, GIF, BMP, WebP) nor JSON"),
        ("path\n1.png\n", "f: neither a picture (JPEG, PNG, GIF, BMP, WebP) nor JSON"),
        ('{"instances": []}', 'f: expected {"instances": [{…}, …]}, got []'),
        ('{"image": "1.png"}', 'f: instance 0: expected {"image": {"b64": "…"}}, or pixels'),
        ('{"picture": 1}', 'f: instance 0: expected {"image": {"b64": "…"}}, or pixels'),
        ('{"image": {"b64": "%%"}}', "f: instance 0: b64 is not base64 ("),
        ('{"image": {"b64": "aGVsbG8="}}', "f: instance 0: b64 is not a picture: its content is"),
        ('{"image": [[1, 2], [3]]}', "f: instance 0: expected {"),
        ('{"image": [[[1, 2]]]}', "f: instance 0: expected {"),
        ('{"image": [[0.5]]}', "f: instance 0: expected {"),
        ('{"image": [[256]]}', "f: instance 0: expected {"),
        ('{"image": [[-1]]}', "f: instance 0: expected {"),
        ('{"image": []}', "f: instance 0: expected {"),
        (f'{{"image": {{"b64": "{B64}"}}}}\n{{"image": }}', "f:2: instance 1: not JSON ("),
    ],
)
def test_a_fault_in_a_request_is_one_line(text, expected):
    write("f", text)
    with pytest.raises(InstanceError) as refused:
        list(Signature().open("f"))
    assert str(refused.value).startswith(expected) and "\n" not in str(refused.value)


def test_the_script_ends_with_2_and_one_line(capsys, digits):
    write("empty/notes.txt", "x")
    write("wrong/1.jpg", "no picture")
    for file, expected in [
        ("none.png", "error: none.png: cannot be read (No such file or directory)"),
        ("empty", "error: empty: no picture in it; looked for .jpg, "),
        ("wrong", f"error: {Path('wrong/1.jpg')}: not a picture: its content is none of JPEG"),
    ]:
        assert predict.main(["--model", digits.model_dir, file]) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and printed.err.startswith(expected)
        assert printed.err.count("\n") == 1
