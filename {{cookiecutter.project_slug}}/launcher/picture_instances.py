"""What a client sends to a model of pictures: files, folders, or JSON with base64 or pixels.

    {"instances": [{"image": {"b64": "…"}}, {"image": [[[0, 0, 0], …], …]}]}

Of a file only its beginning is looked at here: the model itself decodes it.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from launcher.instances import Call, InstanceError, read

AT_ONCE = 32  # files a call
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp")
BEGINNING = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|BM|RIFF....WEBP", re.DOTALL)
KINDS = "JPEG, PNG, GIF, BMP, WebP"
_EXPECTED = 'expected {"image": {"b64": "…"}}, or pixels, [[[red, green, blue], …], …], 0 to 255'


@dataclass(frozen=True)
class Picture:
    """One picture: a file, its bytes, or its pixels, uint8 [height, width, 3]."""

    place: str
    data: bytes | None = None
    pixels: np.ndarray | None = None

    @property
    def size(self) -> tuple:
        return () if self.pixels is None else self.pixels.shape

    def read(self) -> bytes:
        """A file is read when its turn comes: a folder may hold more than fits in memory.

        Raises:
            InstanceError: it cannot be read any more.
        """
        try:
            return Path(self.place).read_bytes() if self.data is None else self.data
        except OSError as error:
            raise _unreadable(self.place, error) from None

    @property
    def head(self) -> dict:
        """What stands before its answer."""
        return {"file": self.place} if self.data is None and self.pixels is None else {}


@dataclass(frozen=True)
class Signature:
    """What a model of pictures takes."""

    @staticmethod
    def of(schema: dict) -> Signature:
        return Signature()

    def open(self, path: str) -> Iterator[Picture]:
        """The pictures in a file of any kind, or below a folder; - is standard input.

        Raises:
            InstanceError: it cannot be read, or is neither a picture nor JSON.
        """
        try:
            if path == "-":
                data = sys.stdin.buffer.read()
            elif Path(path).is_dir():
                yield from self._folder(Path(path))
                return
            elif _begins_as_picture(path):
                yield Picture(path)
                return
            else:
                data = Path(path).read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from None
        if BEGINNING.match(data):
            yield Picture(path, data)
            return
        text = data.decode("utf-8", "replace")
        if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
            raise InstanceError(f"{path}: neither a picture ({KINDS}) nor JSON")
        yield from read(io.StringIO(text), path, self)

    def _folder(self, folder: Path) -> Iterator[Picture]:
        found = [
            p for p in sorted(folder.rglob("*")) if p.suffix.lower() in ENDINGS and p.is_file()
        ]
        if not found:
            raise InstanceError(f"{folder}: no picture in it; looked for {', '.join(ENDINGS)}")
        for path in found:
            if not _begins_as_picture(path):
                raise InstanceError(f"{path}: not a picture: its content is none of {KINDS}")
            yield Picture(str(path))

    def check(self, place: str, instance: object) -> Picture:
        """One instance of a request.

        Raises:
            InstanceError: not of one of the two forms.
        """
        if isinstance(instance, dict) and set(instance) == {"b64"}:
            instance = {"image": instance}  # where a model has one input, its name may be left out
        if not isinstance(instance, dict) or set(instance) != {"image"}:
            raise InstanceError(f"{place}: {_EXPECTED}")
        value = instance["image"]
        if isinstance(value, list):
            return Picture(place, pixels=_pixels(place, value))
        if not isinstance(value, dict) or not isinstance(value.get("b64"), str) or len(value) != 1:
            raise InstanceError(f"{place}: {_EXPECTED}")
        try:
            data = base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise InstanceError(f"{place}: b64 is not base64 ({error})") from None
        if not BEGINNING.match(data):
            raise InstanceError(f"{place}: b64 is not a picture: its content is none of {KINDS}")
        return Picture(place, data)

    def calls(self, pictures: list[Picture]) -> Iterator[Call]:
        """The calls that ask a model about these pictures."""
        for size, same in groupby(pictures, key=lambda picture: picture.size):
            same = list(same)
            for start in range(0, len(same), AT_ONCE):
                some = same[start : start + AT_ONCE]
                name, image = "pixels", [picture.pixels for picture in some]
                if not size:
                    name, image = "serving_default", [picture.read() for picture in some]
                places, heads = zip(*((one.place, one.head) for one in some), strict=True)
                yield Call(name, {"image": image}, places, heads)


def _unreadable(path: str, error: OSError) -> InstanceError:
    return InstanceError(f"{path}: cannot be read ({error.strerror or error})")


def _begins_as_picture(path: str | Path) -> bool:
    with open(path, "rb") as file:
        return bool(BEGINNING.match(file.read(16)))


def _pixels(place: str, value: list) -> np.ndarray:
    """uint8 [height, width, 3] of nested lists; grey ones may leave the colours out."""
    try:
        pixels = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise InstanceError(f"{place}: {_EXPECTED}; these rows differ in length") from None
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    whole = pixels.size and np.issubdtype(pixels.dtype, np.integer)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not whole:
        raise InstanceError(f"{place}: {_EXPECTED}; these are {pixels.dtype} {list(pixels.shape)}")
    outside = pixels[(pixels < 0) | (pixels > 255)]
    if outside.size:
        raise InstanceError(f"{place}: {_EXPECTED}; one is {outside[0]}")
    return np.repeat(pixels, 3 // pixels.shape[2], axis=2).astype(np.uint8)
