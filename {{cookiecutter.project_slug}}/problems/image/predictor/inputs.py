"""What a client sends to a model of images: files, folders, or JSON with base64 or pixels.

    {"instances": [{"image": {"b64": "…"}}, {"image": [[[0, 0, 0], …], …]}]}

Images are decoded and resized here by `codec/images.py`, as the shards were: the model gets the
pixels that it would have been trained on.
"""

from __future__ import annotations

import base64
import binascii
import collections
import importlib.util
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from codec import images, saliency
from codec.schema import Schema
from predictor.gradients import Gradients
from predictor.instances import InstanceError, JsonInputs, explain_errors, read
from predictor.runtime import ModelError

_EXPECTED = 'expected {"image": {"b64": "…"}}, or pixels, [[[red, green, blue], …], …], 0 to 255'


@dataclass(frozen=True)
class Instance:
    """One image: a file, a file's bytes, or its pixels, uint8 [height, width, 3]."""

    where: str
    data: bytes | None = None
    pixels: np.ndarray | None = None

    @property
    def head(self) -> dict:
        """What its answer begins with."""
        return {"file": self.where} if self.data is None and self.pixels is None else {}

    def decode(self) -> Image.Image:
        """Read a file only now: a folder may hold more than fits in memory.

        Raises:
            OSError: it cannot be read.
            images.Rejected: it cannot be decoded.
        """
        if self.pixels is not None:
            return Image.fromarray(self.pixels)
        if self.data is not None:
            return images.decode(self.data)
        with open(self.where, "rb") as file:
            return images.decode(file.read(images.MAX_BYTES + 1))


class Inputs(JsonInputs):
    """Checks, decodes and resizes what the model takes."""

    FORMS = f"an image, a folder of images, {JsonInputs.FORMS}"
    AT_ONCE = 32

    def __init__(self, schema: Schema):
        self._looks, self._labels = schema.pictures, schema.labels
        self._gradients = None  # they start with the first explanation, and stay

    def open(self, path: str) -> Iterator[Instance | InstanceError]:
        """The images in a file of any kind, or below a folder; - is standard input.

        Raises:
            InstanceError: it cannot be read, or is JSON without instances.
        """
        with explain_errors(path):
            if path == "-":
                data = sys.stdin.buffer.read()
            elif Path(path).is_dir():
                yield from _find_images(Path(path))
                return
            elif not _is_json(_read_start(path)):
                yield Instance(path)
                return
            else:
                data = Path(path).read_bytes()
        if not _is_json(data):
            yield Instance(path, data)
            return
        yield from read(io.StringIO(data.decode("utf-8", "replace")), path, self)

    def list_fields(self) -> list[dict]:
        """One image; a grey one of the model's size is the example."""
        side = self._looks.size
        data = images.encode(Image.new("RGB", (side, side), "grey"), "png", quality=0)
        example = {"b64": base64.b64encode(data).decode()}
        return [{"name": "image", "kind": "image", "example": example}]

    @property
    def explains(self) -> bool:
        """Gradients need TensorFlow, which the serving image has only if it was built with it."""
        return bool(self._labels) and importlib.util.find_spec("tensorflow") is not None

    def explain(self, model, instance: dict) -> dict:
        """What the model looked at: the integrated gradients of the class that it predicts.

        Returns:
            score: what is explained; value, of the image, and baseline, of an image of one colour;
            map: a PNG file of the image as the model sees it, in greys, with its places in colours.

        Raises:
            InstanceError: there is no TensorFlow, or the model has no classes.
        """
        if not self.explains:
            why = "the answers of this model have no class"
            if self._labels:
                why = "for an image it takes TensorFlow, which this server does not have; ask one "
                why += "beside the trainer, or build the image with --build-arg RUNTIME=tensorflow"
            raise InstanceError(f"explain: {why}")
        pixels = self.load(self.check("the instance", instance))
        [outputs] = model.call([self.encode([pixels])])
        index = int(outputs["probabilities"][0].argmax())
        [base] = saliency.baselines(pixels[None])
        try:
            self._gradients = self._gradients or Gradients(model.path)
            differentiate = partial(self._gradients.differentiate, index)
            result = saliency.integrate(base.astype(float), pixels.astype(float), differentiate)
        except ModelError as error:
            raise InstanceError(f"explain: {error}") from None
        drawn = Image.fromarray(saliency.draw(pixels, result.values))
        png = base64.b64encode(images.encode(drawn, "png", quality=0)).decode()
        score = f"logit of {self._labels[index]}, less the mean of all logits"
        ends = {"value": result.score, "baseline": result.baseline}
        return {"score": score, **ends, "map": {"b64": png}}

    def close(self) -> None:
        if self._gradients:
            self._gradients.close()

    def check(self, where: str, instance: object) -> Instance:
        """One instance of a request.

        Raises:
            InstanceError: not of one of the two forms.
        """
        if isinstance(instance, dict) and set(instance) == {"b64"}:
            instance = {"image": instance}  # where a model has one input, its name may be left out
        if not isinstance(instance, dict) or set(instance) != {"image"}:
            raise InstanceError(f"{where}: {_EXPECTED}")
        value = instance["image"]
        if isinstance(value, list):
            return Instance(where, pixels=_pixels(where, value))
        if not isinstance(value, dict) or not isinstance(value.get("b64"), str) or len(value) != 1:
            raise InstanceError(f"{where}: {_EXPECTED}")
        return Instance(where, _decode_base64(where, value["b64"]))

    def to_json(self, checked: Instance) -> dict:
        """A checked instance as a client sends it to a server.

        Raises:
            InstanceError: its file cannot be read.
        """
        if checked.pixels is not None:
            return {"image": checked.pixels.tolist()}
        with explain_errors(checked.where):
            data = Path(checked.where).read_bytes() if checked.data is None else checked.data
        return {"image": {"b64": base64.b64encode(data).decode()}}

    def load(self, instance: Instance) -> np.ndarray:
        """Its pixels as the model takes them, uint8 [size, size, channels].

        Raises:
            InstanceError: its file cannot be read, or it cannot be decoded.
        """
        looks = self._looks
        try:
            with explain_errors(instance.where):
                image = images.fit(instance.decode(), looks.size, looks.channels, looks.resize)
        except images.Rejected as rejected:
            raise InstanceError(f"{instance.where}: {rejected}") from None
        return np.asarray(image).reshape(looks.shape)

    def encode(self, loaded: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Images as the model takes them."""
        return {"image": np.stack(loaded)}


def _find_images(folder: Path) -> Iterator[Instance]:
    """The files below a folder that are images by name or by content, whether good or not; hidden
    ones are left out, as from shards, and the others are counted on stderr."""
    skipped: collections.Counter[str] = collections.Counter()
    count = 0
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        if path.suffix.lower() in images.IMAGE_ENDINGS or _has_image(path):
            count += 1
            yield Instance(str(path))
        else:
            skipped[path.suffix or path.name] += 1
    if not count:
        endings = ", ".join(images.ENDINGS)
        raise InstanceError(f"{folder}: no image in it; looked for {endings}")
    if skipped:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(skipped.items())[:10])
        print(f"{folder}: skipped what is no image: {kinds}", file=sys.stderr)


def _has_image(path: Path) -> bool:
    try:
        return path.is_file() and images.find_kind(_read_start(path)) is not None
    except OSError:
        return False


def _read_start(path: str | Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(256)


def _is_json(data: bytes) -> bool:
    return data.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[")


def _decode_base64(where: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        wrong = f"b64 is not base64 ({error})"
    if text.startswith("data:"):
        wrong = "b64 is a data: URI; send only what follows its comma"
    elif "-" in text or "_" in text:
        wrong = "b64 is URL-safe base64 (with - and _); send standard base64 (with + and /)"
    elif any(letter.isspace() for letter in text):
        wrong = "b64 has spaces or line breaks; send it as one line"
    raise InstanceError(f"{where}: {wrong}")


def _pixels(where: str, value: list) -> np.ndarray:
    """uint8 [height, width, 3] of nested lists; grey ones may leave the colours out."""
    try:
        pixels = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise InstanceError(f"{where}: {_EXPECTED}; these rows differ in length") from None
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    whole = pixels.size and np.issubdtype(pixels.dtype, np.integer)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not whole:
        raise InstanceError(f"{where}: {_EXPECTED}; these are {pixels.dtype} {list(pixels.shape)}")
    outside = pixels[(pixels < 0) | (pixels > 255)]
    if outside.size:
        raise InstanceError(f"{where}: {_EXPECTED}; one is {outside[0]}")
    return np.repeat(pixels, 3 // pixels.shape[2], axis=2).astype(np.uint8)
