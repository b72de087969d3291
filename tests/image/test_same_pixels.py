"""Each kind of image gives the same pixels in shards, in predict.py and in the exported model.

The expected pixels are made with NumPy, not with the decoder under test.
"""

from __future__ import annotations

import csv
import struct
from pathlib import Path
from types import SimpleNamespace

import hostile
import numpy as np
import pytest
from conftest import write
from PIL import Image, ImageCms, PngImagePlugin

from codec import images
from codec.schema import Pictures, Schema
from codec.shards.make import make_shards
from codec.shards.manifest import Options
from predictor.inputs import Inputs, Instance
from predictor.instances import attempt
from predictor import runtime
from trainer.images.shards import Dataset

pytestmark = pytest.mark.slow

SIDE = 24
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "WEBP": ".webp"}
RANDOM = np.random.default_rng(0)
DRAWING = np.asarray(
    Image.fromarray(RANDOM.integers(0, 256, (5, 5, 3), np.uint8)).resize((SIDE, SIDE), 3)
)
INDICES = RANDOM.integers(0, 256, (SIDE, SIDE), np.uint8)  # in a palette of 256
PALETTE = RANDOM.integers(0, 256, (256, 3), np.uint8)
ALPHA = RANDOM.integers(0, 256, (SIDE, SIDE), np.uint8)
REFUSED = {}  # name: (file, how the reason begins)
GOOD = {}  # name: (file, pixels; None for a JPEG file, which Pillow decides)
SERVED = set()  # names of those that the exported model decodes itself


def add(name: str, data: bytes, pixels, served: bool = False) -> None:
    """`name` begins with the kind, as Pillow calls it."""
    GOOD[name] = data, pixels
    SERVED.update([name] if served else [])


def pack(image, kind: str, **how) -> bytes:
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    how = {"lossless": True, "exact": True} | how if kind == "WEBP" else how
    return hostile.pack(image, kind, **how)


def on_white(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., np.newaxis] / 255
    return np.floor(pixels * share + 255 * (1 - share) + 0.5).astype(np.uint8)


def spread(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., np.newaxis], 3, axis=2)


def rows(values: np.ndarray, depth: int) -> list[bytes]:
    """Numbers of `depth` bits, row by row, the first in the highest bits of a byte."""
    bits = (values[..., np.newaxis] >> np.arange(depth - 1, -1, -1)) & 1
    return [np.packbits(row.astype(np.uint8)).tobytes() for row in bits.reshape(len(values), -1)]


def png(depth: int, colour: int, lines: list[bytes], *chunks: bytes) -> bytes:
    return hostile.png(SIDE, SIDE, depth, colour, b"".join(b"\0" + row for row in lines), *chunks)


def make_pngs() -> None:
    for depth in (1, 2, 4, 8):
        indices = INDICES.astype(int) % (1 << depth)
        grey = spread((indices * (255 // ((1 << depth) - 1))).astype(np.uint8))
        seen = np.where((indices == 1)[..., np.newaxis], 255, grey)
        lines, served = rows(indices, depth), depth == 8
        clear = hostile.chunk(b"tRNS", struct.pack(">H", 1))
        add(f"PNG grey {depth}", png(depth, 0, lines), grey, served)
        add(f"PNG grey {depth} tRNS", png(depth, 0, lines, clear), seen, served)
        palette = hostile.chunk(b"PLTE", PALETTE[: 1 << depth].tobytes())
        colours = PALETTE[indices]
        add(f"PNG palette {depth}", png(depth, 3, lines, palette), colours, served)
        for name, alphas in {"tRNS": [255, 0], "tRNS half": [255, 100]}.items():
            alpha = np.array(alphas + [255] * 254, np.uint8)[indices]
            clear = hostile.chunk(b"tRNS", bytes(alphas))
            data = png(depth, 3, lines, palette, clear)
            add(f"PNG palette {depth} {name}", data, on_white(colours, alpha), served)
    add("PNG RGB", pack(DRAWING, "PNG"), DRAWING, True)
    one = tuple(map(int, DRAWING[3, 4]))
    seen = np.where((one == DRAWING).all(axis=2, keepdims=True), 255, DRAWING)
    add("PNG RGB tRNS", pack(DRAWING, "PNG", transparency=one), seen, True)
    alpha = ALPHA[..., np.newaxis]
    add("PNG RGBA", pack(np.dstack([DRAWING, alpha]), "PNG"), on_white(DRAWING, ALPHA), True)
    grey = np.dstack([INDICES, ALPHA])
    add("PNG LA", pack(grey, "PNG"), on_white(spread(INDICES), ALPHA), True)
    for colour, channels in {0: 1, 2: 3, 4: 2, 6: 4}.items():
        lines = [RANDOM.bytes(2 * channels * SIDE) for _ in range(SIDE)]
        REFUSED[f"PNG 16 bits {channels}"] = png(16, colour, lines), "16 bits a channel; save it"


def bmp(
    bits: int, body: bytes, table=b"", head: int = 40, compression: int = 0, extra=b""
) -> bytes:
    if head == 12:  # OS/2
        info = struct.pack("<IHHHH", 12, SIDE, SIDE, 1, bits)
    else:
        sizes = (head, SIDE, SIDE, 1, bits, compression, len(body), 2835, 2835, len(table) // 4, 0)
        info = (struct.pack("<IiiHHIIiiII", *sizes) + extra).ljust(head, b"\0")
    offset = 14 + len(info) + len(table)
    return struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + info + table + body


def make_bmps() -> None:
    def lines(parts: list[bytes]) -> bytes:
        return b"".join(part.ljust(-(-len(part) // 4) * 4, b"\0") for part in reversed(parts))

    for bits in (1, 4, 8):
        indices = INDICES.astype(int) % (1 << bits)
        colours = PALETTE[: 1 << bits, ::-1]
        four = np.pad(colours, [(0, 0), (0, 1)]).tobytes()
        body = lines(rows(indices, bits))
        add(f"BMP {bits}", bmp(bits, body, four), PALETTE[indices])
        add(f"BMP {bits} OS/2", bmp(bits, body, colours.tobytes(), 12), PALETTE[indices])
        add(f"BMP {bits} OS/2 2", bmp(bits, body, four, 64), PALETTE[indices])
        if bits > 1:
            packed = [
                b"".join(bytes([8 // bits, int(b)]) for b in row) for row in rows(indices, bits)
            ]
            body = b"\0\0".join(reversed(packed)) + b"\0\1"
            add(f"BMP {bits} RLE", bmp(bits, body, four, 40, 3 - bits // 4), PALETTE[indices])
    five = (DRAWING >> 3).astype(np.uint16)
    words = five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]
    seen = five.astype(int) * 255 // 31
    add("BMP 16", bmp(16, words[::-1].astype("<u2").tobytes()), seen.astype(np.uint8))
    add("BMP 24", pack(DRAWING, "BMP"), DRAWING)
    add("BMP 24 OS/2", bmp(24, DRAWING[::-1, :, ::-1].tobytes(), b"", 12), DRAWING)
    body = np.dstack([DRAWING[::-1, :, ::-1], ALPHA[::-1]]).tobytes()
    add("BMP 32", bmp(32, body), DRAWING)  # its fourth byte means nothing
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    seen = on_white(DRAWING, ALPHA)
    for head in (108, 124):
        add(f"BMP 32 alpha {head}", bmp(32, body, b"", head, 3, masks), seen)


def make_others() -> None:
    image = Image.fromarray(INDICES % 7, "P")
    image.putpalette(PALETTE[:7].tobytes())
    colours, clear = PALETTE[INDICES % 7], (INDICES % 7 == 3)[..., np.newaxis]
    add("GIF", pack(image, "GIF"), colours)
    add("GIF transparent", pack(image, "GIF", transparency=3), np.where(clear, 255, colours))
    add("WEBP", pack(DRAWING, "WEBP"), DRAWING)
    rgba = np.dstack([DRAWING, ALPHA])
    add("WEBP alpha", pack(rgba, "WEBP"), on_white(DRAWING, ALPHA))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for kind in ("JPEG", "PNG", "WEBP"):
        seen = None if kind == "JPEG" else DRAWING
        data = pack(DRAWING, kind, icc_profile=profile)
        add(f"{kind} ICC", data, seen, kind != "WEBP")
    for name, how in {
        "JPEG": {},
        "JPEG progressive": {"progressive": True},
        "JPEG 4:4:4": {"subsampling": 0, "quality": 95},
    }.items():
        add(name, pack(DRAWING, "JPEG", **how), None, True)
    add("JPEG grey", pack(INDICES, "JPEG"), None, True)
    cmyk = pack(Image.fromarray(DRAWING).convert("CMYK"), "JPEG")
    REFUSED["JPEG CMYK"] = cmyk, "CMYK, colours of a printer; save it as RGB"
    other = Image.fromarray(255 - DRAWING)
    for kind in ("GIF", "PNG", "WEBP"):
        data = pack(DRAWING, kind, save_all=True, append_images=[other])
        REFUSED[f"{kind} animated"] = data, "animated: 2 frames; save one"
    for name, data in {
        "TIFF": hostile.pack(other, "TIFF"),
        "HEIC": b"\0\0\0\x18ftypheic" + bytes(99),
        "AVIF": b"\0\0\0\x18ftypavif" + bytes(99),
    }.items():
        REFUSED[name] = data, f"{name}, which is not read; save it as PNG or JPEG"


def make_turned() -> None:
    """Orientations in EXIF and in XMP, by the definition of the tag: where row 0 and column 0 are."""
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: a.transpose(1, 0, 2)[::-1],
    }
    for number, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = number
        xmp = f'<x:xmpmeta><rdf:Description tiff:Orientation="{number}"/></x:xmpmeta>'
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp)
        packed = PngImagePlugin.PngInfo()
        packed.add_itxt("XML:com.adobe.xmp", xmp, zip=True)
        for kind in ("JPEG", "PNG", "WEBP"):
            how = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
            seen = turn(DRAWING)
            data = pack(DRAWING, kind, exif=exif, **how)
            add(f"{kind} EXIF {number}", data, seen, kind != "WEBP")
            how |= {"pnginfo": text} if kind == "PNG" else {"xmp": xmp.encode()}
            data = pack(DRAWING, kind, **how)
            add(f"{kind} XMP {number}", data, seen, kind != "WEBP" and number == 1)
        add(f"PNG XMP packed {number}", pack(DRAWING, "PNG", pnginfo=packed), seen)


def make_malformed() -> None:
    """Files of which decoders make different pixels: the graph reads none of those."""
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    plain, twice = (struct.pack("<4sIH", b"II*\0", 8, n) + n * tag + bytes(4) for n in (1, 2))
    for name, data in {"Exif\0\0": twice, "Exif\0!": plain}.items():
        part = name.encode() + data
        start, rest = np.split(np.frombuffer(pack(DRAWING, "JPEG"), np.uint8), [2])
        marker = struct.pack(">HH", 0xFFE1, len(part) + 2)
        data = start.tobytes() + marker + part + rest.tobytes()
        add(f"JPEG {name!r} of {len(part)}", data, None, name.endswith("!"))
    lines, clear = rows(INDICES, 8), struct.pack(">HHH", 1, 1, 1)
    add("PNG grey tRNS of 6", png(8, 0, lines, hostile.chunk(b"tRNS", clear)), None)
    palette = hostile.chunk(b"PLTE", PALETTE.tobytes())
    alphas = hostile.chunk(b"tRNS", bytes(range(256)))
    few = hostile.chunk(b"PLTE", PALETTE[:200].tobytes())
    add("PNG palette tRNS too long", png(8, 3, lines, few, alphas), None)
    late = png(8, 3, lines, palette)
    end = late.index(b"IEND") - 4
    add("PNG palette tRNS late", late[:end] + alphas + late[end:], None)


make_pngs()
make_bmps()
make_others()
make_turned()
make_malformed()
ALL = {name: data for name, (data, _) in {**GOOD, **REFUSED}.items()}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    """An exported model that answers with the pixels it was given."""
    import keras

    from trainer import outputs
    from trainer.data import Examples
    from trainer.engine import export

    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    model = keras.Model({"image": image}, keras.layers.Lambda(lambda x: x)(image))
    path = str(tmp_path_factory.mktemp("echo") / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "answer", lambda examples, output: {"image": output})
        schema = Schema(["a", "b"], Pictures(SIDE, 3, "fit"))
        block = 1, ({"image": np.zeros((1, 1, SIDE, SIDE, 3), np.uint8)},)
        held_out = SimpleNamespace(rows=1, batches=lambda batch_size: iter([block]))
        assert export.write(model, Examples(schema, None, held_out, {}), path) is None
    return path


@pytest.fixture(scope="module")
def serve(model_dir):
    """The signature that takes bytes: inputs in, a row for each instance out."""
    import tensorflow as tf

    model = tf.saved_model.load(model_dir)
    function = model.signatures["serving_default"]

    def call(inputs: dict) -> list[dict]:
        images = function(image=tf.constant(inputs["image"]))["image"].numpy()
        return [{"image": image} for image in images]

    call.model = model  # its variables live only as long as it does
    return call


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """({name: pixels in the shards}, {name: why it was refused})."""
    folder = tmp_path_factory.mktemp("shards")
    for i, (name, data) in enumerate(ALL.items()):
        kind = name.split()[0]
        write(str(folder / f"in/a/{i}{ENDINGS.get(kind, '.' + kind.lower())}"), data)
    options = Options(SIDE, eval_share=0, test_share=0)  # by default, exact
    made = Dataset.open(make_shards(str(folder / "in"), str(folder / "out"), options).path)
    listed = list(ALL)
    count = made.splits["train"].count
    names = [listed[int(Path(path).stem)] for path in made.names("train", range(count))]
    with open(folder / "out/rejected.csv", encoding="utf-8", newline="") as file:
        rejected = {listed[int(Path(row[0]).stem)]: row[1] for row in list(csv.reader(file))[1:]}
    return dict(zip(names, made.read("train", range(count))[0], strict=True)), rejected


def test_shards_hold_the_expected_pixels(sharded):
    pixels, rejected = sharded
    assert rejected.keys() == REFUSED.keys()
    for name, (_, reason) in REFUSED.items():
        assert rejected[name].startswith(reason), name
    assert pixels.keys() == GOOD.keys()
    for name, (_, expected) in GOOD.items():
        if expected is not None:
            apart = np.abs(pixels[name].astype(int) - expected).max()
            assert apart <= (12 if name.startswith("JPEG") else 0), (name, apart)


def test_predictions_see_the_pixels_of_the_shards(sharded, model_dir):
    pixels, rejected = sharded
    inputs = Inputs(Schema(["a", "b"], Pictures(SIDE, 3, "fit")))
    network = runtime.load(model_dir)
    values = {name: attempt(inputs.load, Instance(name, data)) for name, data in ALL.items()}
    for name, reason in rejected.items():
        assert str(values[name]) == f"{name}: {reason}"
    seen = network.call(inputs.encode([values[name] for name in pixels]))["image"]
    for (name, expected), image in zip(pixels.items(), seen, strict=True):
        np.testing.assert_array_equal(image, expected, name)


def test_the_exported_model_sees_the_same_pixels_or_refuses(sharded, serve):
    import tensorflow as tf

    pixels, _ = sharded
    for name, data in ALL.items():
        if name in SERVED:
            [row] = serve({"image": [data]})
            apart = np.abs(row["image"].astype(int) - pixels[name]).max()
            assert apart <= (2 if name.startswith("JPEG") else 0), (name, apart)
            continue
        with pytest.raises(tf.errors.InvalidArgumentError, match="the image .*; decode it with"):
            serve({"image": [data]})


@pytest.mark.parametrize("policy", images.POLICIES)
@pytest.mark.parametrize("shape", [(60, 91), (300, 120), (7, 500), (5, 3), (32, 32), (33, 31)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_exported_model_resizes_as_the_decoder_does(policy, shape, channels):
    from trainer import inputs

    pixels = np.random.default_rng(shape).integers(0, 256, (*shape, 3), np.uint8)
    expected = images.fit(Image.fromarray(pixels), 32, channels, policy)
    resized = inputs.resize(inputs.grey(pixels) if channels == 1 else pixels, 32, policy)
    np.testing.assert_array_equal(resized, np.asarray(expected).reshape(32, 32, channels))


def test_where_metadata_stands_in_a_jpeg_does_not_matter(serve):
    """Behind 100 kB of a colour profile, and not in an image that follows."""
    exif = Image.Exif()
    exif[0x0112] = 6
    late = pack(DRAWING, "JPEG", exif=exif, icc_profile=RANDOM.bytes(150_000))
    other = pack(DRAWING, "JPEG", exif=exif)
    for data in (late, pack(DRAWING, "JPEG") + other):
        [row] = serve({"image": [data]})
        apart = np.abs(row["image"].astype(int) - np.asarray(images.decode(data))).max()
        assert apart <= 2


@pytest.mark.parametrize("endian", "<>")
def test_the_graph_reads_exif_of_both_byte_orders(serve, endian):
    for number in range(10):  # 0 and 9 mean nothing
        exif = Image.Exif()
        exif.endian = endian
        exif[0x010F], exif[0x0112] = "maker", number
        data = pack(DRAWING, "JPEG", exif=exif.tobytes())
        [row] = serve({"image": [data]})
        assert np.abs(row["image"].astype(int) - np.asarray(images.decode(data))).max() <= 2


def test_damaged_exif_is_refused_or_read_as_pillow_reads_it(serve):
    import tensorflow as tf

    random, refused = np.random.default_rng(1), 0
    for number in range(100):
        exif = Image.Exif()
        exif.endian = "<>"[number % 2]
        exif[0x010F], exif[0x0112], exif[0x011A] = "maker", 1 + number % 8, 72.0
        damaged = bytearray(exif.tobytes())
        for at in random.integers(6, 60, number % 4):
            damaged[at] = random.choice([0, 1, 2, 3, 4, 6, 8, 0x12, 0xFF])
        data = pack(DRAWING, "JPEG", exif=bytes(damaged))
        try:
            [row] = serve({"image": [data]})
        except tf.errors.InvalidArgumentError:
            refused += 1
            continue
        assert np.abs(row["image"].astype(int) - np.asarray(images.decode(data))).max() <= 2
    assert 0 < refused < 75
