"""Images as they are found in the wild, and worse: `make(folder)` writes over 200 of them.

Every good one comes with the pixels that a reader must see, every bad one with the reason why it is
none. All are small but for the ones whose point is that they are not.
"""

from __future__ import annotations

import io
import os
import socket
import struct
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

SIDES = (23, 17)  # width and height, unless the point is another size
POSIX = os.name == "posix"
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "BMP": ".bmp", "WEBP": ".webp"}
LOSSLESS, LOSSY = 2, 40  # how far a pixel may be off, on average over the image


@dataclass(frozen=True)
class Good:
    """What a reader must see: 8-bit RGB, upright."""

    pixels: Image.Image
    tolerance: float = LOSSLESS


@dataclass(frozen=True)
class Bad:
    """How the reason begins; of several, with any of them."""

    reason: str | tuple[str, ...]


class Maker:
    """Collects files; `expected` tells what must become of each, by its path."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.expected: dict[str, Good | Bad] = {}
        self.count = 0

    def add(self, path: str, data: bytes, outcome: Good | Bad) -> Path:
        assert path not in self.expected, path
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        self.expected[path] = outcome
        return place

    def draw(self, mode: str = "RGB", size: tuple[int, int] = SIDES) -> Image.Image:
        """Another one each time: a colour gradient with a number of its own, and no symmetry."""
        self.count += 1
        width, height = size
        y, x = np.mgrid[:height, :width]
        seed = self.count * 37
        bands = [
            40 + 170 * x / width + seed % 11,
            30 + 150 * y / height + seed % 41,
            (x * 5 + y * 3 + seed * 2) % 90 + 60 + seed % 71,
        ]
        image = Image.fromarray(np.stack(bands, axis=-1).clip(0, 255).astype(np.uint8))
        return image if mode == "RGB" else image.convert(mode)


def pack(image: Image.Image, kind: str, **how) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    check = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *more: bytes) -> bytes:
    """A PNG by hand, for what Pillow cannot write. `rows`: each with its filter byte before it."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", head), *more, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def make(folder: str | Path) -> dict[str, Good | Bad]:
    """Writes the classes `cat`, `dog` and others below a folder; returns the outcome by path."""
    maker = Maker(Path(folder))
    for write in (jpegs, pngs, other_formats, sizes, names, twins, broken, truncated, misnamed):
        write(maker)
    for write in (unsuitable, bombs, no_images, hidden):
        write(maker)
    if POSIX:
        links_and_pipes(maker)
    return maker.expected


def jpegs(m: Maker) -> None:
    for quality in (5, 50, 75, 95, 100):
        image = m.draw()
        m.add(
            f"cat/quality {quality}.jpg", pack(image, "JPEG", quality=quality), Good(image, LOSSY)
        )
    for name, how in {
        "progressive": {"progressive": True},
        "optimised": {"optimize": True},
        "full colour": {"subsampling": 0},
        "restarts": {"restart_marker_blocks": 2},
        "comment": {"comment": b"a comment with \xff\xd9 in it"},
        "profile": {"icc_profile": b"no real profile" * 5000},
    }.items():
        image = m.draw()
        m.add(f"cat/{name}.jpg", pack(image, "JPEG", quality=90, **how), Good(image, LOSSY))
    grey = m.draw("L")
    m.add("cat/grey.jpg", pack(grey, "JPEG"), Good(grey.convert("RGB"), LOSSY))
    for ending in (".JPG", ".jpeg", ".Jpeg", ".jpe", ".jfif", ""):
        image = m.draw()
        m.add(f"cat/ending{ending}", pack(image, "JPEG"), Good(image, LOSSY))
    for name, appended in {
        "zeros": bytes(100),
        "noise": bytes(range(256)) * 9,
        "film": b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\4\1\2" * 50,
    }.items():
        image = m.draw()
        m.add(f"cat/followed by {name}.jpg", pack(image, "JPEG") + appended, Good(image, LOSSY))
    for orientation in range(0, 10):  # 0 and 9 mean nothing
        image = m.draw()
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = image.copy()
        turned.getexif()[0x0112] = orientation
        upright = ImageOps.exif_transpose(turned)
        for kind in ("JPEG", "PNG", "WEBP"):
            how = {"lossless": True} if kind == "WEBP" else {}
            path = f"cat/turned {orientation} {kind}{ENDINGS[kind]}"
            tolerance = LOSSY if kind == "JPEG" else LOSSLESS
            m.add(path, pack(image, kind, exif=exif, **how), Good(upright, tolerance))
    image = m.draw()
    preview = pack(m.draw(size=(8, 8)), "JPEG")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + preview
    m.add("cat/with a preview.jpg", pack(image, "JPEG", exif=exif), Good(image, LOSSY))
    image = m.draw()
    torn = b"Exif\0\0MM\0*\xff\xff\xff\xf0" + b"\x01\x12" * 30
    m.add("cat/torn metadata.jpg", pack(image, "JPEG", exif=torn), Good(image, LOSSY))
    image = m.draw()
    depth = m.draw()
    two = pack(image, "MPO", save_all=True, append_images=[depth])
    m.add("cat/a phone's, with depth.jpg", two, Good(image, LOSSY))


def pngs(m: Maker) -> None:
    for mode in ("1", "L", "P", "RGB"):
        image = m.draw(mode)
        m.add(f"dog/mode {mode}.png", pack(image, "PNG"), Good(image.convert("RGB")))
    for colours in (2, 4, 16, 200):
        image = m.draw().quantize(colours)
        m.add(f"dog/{colours} colours.png", pack(image, "PNG"), Good(image.convert("RGB")))
    for mode in ("LA", "RGBA"):
        image, opaque = m.draw(mode), m.draw(mode)
        alpha = np.tile(np.linspace(0, 255, SIDES[0]).astype(np.uint8), (SIDES[1], 1))
        image.putalpha(Image.fromarray(alpha))
        share = alpha[..., np.newaxis] / 255.0
        seen = np.asarray(image.convert("RGB")) * share + 255 * (1 - share)
        seen = Image.fromarray(seen.round().astype(np.uint8))
        m.add(f"dog/half seen {mode}.png", pack(image, "PNG"), Good(seen))
        m.add(f"dog/opaque {mode}.png", pack(opaque, "PNG"), Good(opaque.convert("RGB")))
    unseen = m.draw("RGBA")
    unseen.putalpha(0)
    m.add("dog/unseen.png", pack(unseen, "PNG"), Good(Image.new("RGB", SIDES, "white")))
    for mode in ("L", "P", "RGB"):
        image = m.draw(mode)
        one = image.getpixel((3, 4))
        white = np.asarray(image.convert("RGB")).copy()
        same = np.asarray(image) == one
        white[same if same.ndim == 2 else same.all(axis=-1)] = 255
        packed = pack(image, "PNG", transparency=one)
        m.add(f"dog/one colour unseen {mode}.png", packed, Good(Image.fromarray(white)))
    image = m.draw()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", "a text", zip=True)
    m.add("dog/texts.png", pack(image, "PNG", pnginfo=texts), Good(image))
    image = m.draw()
    m.add("dog/followed by noise.png", pack(image, "PNG") + b"noise" * 99, Good(image))
    image = m.draw()
    m.add("dog/one frame.png", pack(image, "PNG", save_all=True), Good(image))
    image = m.draw()
    m.add("dog/stored.PNG", pack(image, "PNG", compress_level=0), Good(image))
    for depth in (1, 2, 4):
        values = (np.arange(8 * 5).reshape(5, 8) * (m.count + 3)) % (1 << depth)
        bits = (values[..., np.newaxis] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(5, -1).astype(np.uint8), axis=1)
        rows = b"".join(b"\0" + row.tobytes() for row in rows)
        grey = (values * 255 // ((1 << depth) - 1)).astype(np.uint8)
        seen = Image.fromarray(grey).convert("RGB")
        m.add(f"dog/{depth} bits.png", png(8, 5, depth, 0, rows), Good(seen))


def other_formats(m: Maker) -> None:
    for mode in ("1", "L", "P"):
        image = m.draw(mode)
        m.add(f"bird/mode {mode}.gif", pack(image, "GIF"), Good(image.convert("RGB")))
    image = m.draw("P")
    place = image.getpixel((3, 4))
    seen = np.asarray(image.convert("RGB")).copy()
    seen[np.asarray(image) == place] = 255
    packed = pack(image, "GIF", transparency=place)
    m.add("bird/one colour unseen.gif", packed, Good(Image.fromarray(seen)))
    image = m.draw("P")
    m.add("bird/in rows.gif", pack(image, "GIF", interlace=0), Good(image.convert("RGB")))
    for mode in ("1", "L", "P", "RGB"):
        image = m.draw(mode)
        m.add(f"bird/mode {mode}.bmp", pack(image, "BMP"), Good(image.convert("RGB")))
    for how in ({"lossless": True}, {"quality": 50}, {"quality": 100, "method": 6}):
        image = m.draw()
        tolerance = LOSSLESS if "lossless" in how else LOSSY
        name = " ".join(f"{key} {value}" for key, value in how.items())
        m.add(f"bird/{name}.webp", pack(image, "WEBP", **how), Good(image, tolerance))
    image = m.draw("RGBA")
    image.putalpha(0)
    unseen = Good(Image.new("RGB", (9, 9), "white"))
    m.add("bird/unseen.webp", pack(image.resize((9, 9)), "WEBP", lossless=True), unseen)


def sizes(m: Maker) -> None:
    for width, height in [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1), (7, 900), (1500, 1100)]:
        for kind in ("PNG", "JPEG", "BMP"):
            image = m.draw(size=(width, height))
            tolerance = LOSSY if kind == "JPEG" else LOSSLESS
            path = f"bird/{width}x{height}{ENDINGS[kind]}"
            m.add(path, pack(image, kind), Good(image, tolerance))


def names(m: Maker) -> None:
    wild = ["a space", " before", "comma, and 'quotes'", "ünïcødé", "ノート", "🐈", "a.b.c", "-rf"]
    wild += ["%s %20", "#1", "a;b", "100%", "(1)", "[ab]", "{x}", "~", "x" * 200, "$HOME", "=1+1"]
    if POSIX:
        wild += ["new\nline", "tab\there", 'double"quote', "back\\slash", "star*", "what?", "a:b"]
        wild += ["\x01control"]
    if sys.platform == "linux":
        wild += [os.fsdecode(b"not \xff\xfe utf-8")]
    for name in wild:
        image = m.draw()
        m.add(f"cat/{name}.png", pack(image, "PNG"), Good(image))
    for path in ("deep/er/and/deeper still/a.png", "a.jpg/b.png", "empty/../a.png/c.png"):
        image = m.draw()
        m.add(os.path.normpath(f"dog/{path}"), pack(image, "PNG"), Good(image))
    image = m.draw()
    m.add("class, with a comma é/a.png", pack(image, "PNG"), Good(image))
    (m.folder / "a class without a file").mkdir()


def twins(m: Maker) -> None:
    image = m.draw()
    for i, data in enumerate([pack(image, "PNG")] * 3 + [pack(image, "PNG", compress_level=1)]):
        m.add(f"dog/copy {i}.png", data, Good(image))
    m.add("dog/copy 4.bmp", pack(image, "BMP"), Good(image))
    for kind in ("PNG", "BMP"):
        image = m.draw()
        path = f"cat/in two classes {kind}.png"
        m.add(path, pack(image, "PNG"), Bad("in two classes: the same as dog/"))
        path = f"dog/in two classes {kind}{ENDINGS[kind]}"
        m.add(path, pack(image, kind), Bad("in two classes: the same as cat/"))


def broken(m: Maker) -> None:
    whole = pack(m.draw(size=(60, 60)), "PNG")
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        place = int(len(whole) * share)
        bad = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
        m.add(f"bad/one byte of {share}.png", bad, Bad("broken"))
    m.add("bad/head.png", whole[:20] + b"\xff" + whole[21:], Bad("broken"))
    reason = "broken: no valid header of a {} file"  # Pillow's own text holds a memory address
    m.add("bad/no header.png", whole[:8] + whole[33:], Bad(reason.format("PNG")))
    m.add("bad/no frame.gif", pack(m.draw(), "GIF")[:13] + b";", Bad(reason.format("GIF")))
    for kind, head in {
        "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        "PNG": b"\x89PNG\r\n\x1a\n",
        "GIF": b"GIF89a\x10\0\x10\0",
        "BMP": b"BM",
        "WEBP": b"RIFF\x20\x01\0\0WEBPVP8 ",
    }.items():
        for i in range(3):
            noise = np.random.default_rng([i, len(kind)]).bytes(300)
            ends = {"JPEG": b"\xff\xd9", "PNG": b"IEND", "GIF": b";"}.get(kind, b"")
            m.add(
                f"bad/noise {i}{ENDINGS[kind]}",
                head + noise + ends,
                Bad(("broken", "truncated", "too large")),
            )
    no_data = png(9, 9, 8, 2, b"")
    m.add("bad/no data.png", no_data, Bad("broken"))
    no_size = png(0, 9, 8, 2, b"\0")
    m.add("bad/no width.png", no_size, Bad("broken"))
    unknown = png(9, 9, 8, 7, b"\0" * 99)
    m.add("bad/no such colours.png", unknown, Bad("broken"))
    m.add("bad/only a beginning.jpg", b"\xff\xd8\xff\xd9", Bad("broken"))


def truncated(m: Maker) -> None:
    for kind, ending in ENDINGS.items():
        how = {"exif": b"Exif\0\0" + pack(m.draw(), "JPEG")} if kind == "JPEG" else {}
        whole = pack(m.draw(size=(64, 64)), kind, **how)
        for share in (0.02, 0.3, 0.6, 0.9, 0.99):
            cut = whole[: max(16, int(len(whole) * share))]
            m.add(f"bad/{share} is left{ending}", cut, Bad(("truncated", "broken")))
        m.add(f"bad/the last byte is gone{ending}", whole[:-1], Bad(("truncated", "broken")))
    long = pack(m.draw(size=(64, 64)), "JPEG", progressive=True)
    m.add("bad/half of a progressive.jpg", long[: len(long) // 2], Bad("truncated"))


def misnamed(m: Maker) -> None:
    for kind in ENDINGS:
        for other, ending in ENDINGS.items():
            if other != kind:
                name = "WebP" if kind == "WEBP" else kind
                path = f"bad/a {kind}{ending}"
                m.add(path, pack(m.draw(), kind), Bad(f"wrongly named: a {name} file"))
    for ending in (".txt", ".tif", ".heic", ".jpg~", ".bak", ".jp2"):
        m.add(f"bad/an image{ending}", pack(m.draw(), "JPEG"), Bad("wrongly named: a JPEG file"))


def unsuitable(m: Maker) -> None:
    for kind in ("GIF", "PNG", "WEBP"):
        for frames in (2, 5):
            more = [m.draw() for _ in range(frames - 1)]
            data = pack(m.draw(), kind, save_all=True, append_images=more, duration=100)
            m.add(f"bad/{frames} frames{ENDINGS[kind]}", data, Bad(f"animated: {frames} frames"))
    deep = Image.fromarray(np.arange(400, dtype=np.uint16).reshape(20, 20) * 150)
    m.add("bad/16 bits grey.png", pack(deep, "PNG"), Bad("16 bits a channel"))
    for name, colour, channels in (("colour", 2, 3), ("alpha", 6, 4), ("grey and alpha", 4, 2)):
        rows = (b"\0" + bytes(range(2 * channels)) * 9) * 9
        m.add(f"bad/16 bits {name}.png", png(9, 9, 16, colour, rows), Bad("16 bits a channel"))
    for quality in (60, 95):
        image = m.draw("CMYK")
        m.add(f"bad/inks {quality}.jpg", pack(image, "JPEG", quality=quality), Bad("CMYK"))


def bombs(m: Maker) -> None:
    def zeros(count: int) -> bytes:
        packer = zlib.compressobj(9)
        piece = bytes(1 << 20)
        out = [packer.compress(piece) for _ in range(count >> 20)]
        return b"".join(out) + packer.compress(piece[: count & 0xFFFFF]) + packer.flush()

    def bomb(width: int, height: int) -> bytes:
        head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
        data = chunk(b"IDAT", zeros((width // 8 + 1) * height))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")

    for side in (9_500, 14_000, 40_000):
        m.add(f"bad/{side} a side.png", bomb(side, side), Bad("too large"))
    m.add("bad/a long one.png", bomb(2_000_000_000, 1), Bad(("too large", "broken")))
    gif = bytearray(pack(m.draw("P"), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    m.add("bad/a wide screen.gif", bytes(gif), Bad("too large"))
    bmp = bytearray(pack(m.draw(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 50_000, 50_000)
    m.add("bad/a wide field.bmp", bytes(bmp), Bad("too large"))
    text = chunk(b"zTXt", b"Title\0\0" + zeros(80 << 20))
    rows = (b"\0" + bytes(27)) * 9
    m.add("bad/a text that unpacks.png", png(9, 9, 8, 2, rows, text), Bad("broken"))
    place = m.add("bad/half a gigabyte.jpg", b"", Bad("too large"))
    os.truncate(place, 1 << 29)  # takes no space


FOREIGN = {"scan": "TIFF", "icon": "icon", "paper": "PDF", "drawing": "SVG", "phone": "HEIC"}


def no_images(m: Maker) -> None:
    for ending in (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".txt", ""):
        m.add(f"bad/nothing{ending}", b"", Bad("empty"))
        m.add(f"bad/a text{ending}", b"a text, and no image\n" * 9, Bad("not an image"))
    tiff = pack(m.draw(), "TIFF")
    for name, data in {
        "a page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "scan.tif": tiff,
        "scan.png": tiff,
        "icon.ico": pack(m.draw(), "ICO", sizes=[(16, 16)]),
        "paper.pdf": b"%PDF-1.4\n%%EOF",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "Thumbs.db": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 9,
        "labels.json": b'{"label": "bad"}',
        "zeros.jpg": bytes(500),
        "film.mp4": b"\0\0\0\x18ftypmp42" + bytes(99),
        "phone.heic": b"\0\0\0\x18ftypheic" + bytes(99),
    }.items():
        kind = FOREIGN.get(name.partition(".")[0])
        m.add(f"bad/{name}", data, Bad(f"{kind}, which is not read" if kind else "not an image"))
    m.add("in no class.png", pack(m.draw(), "PNG"), Bad("in no class"))
    m.add("readme.txt", b"images of mine\n", Bad("in no class"))


def hidden(m: Maker) -> None:
    """Files that systems leave: nobody misses them, and nobody is told of them."""
    for path in (".DS_Store", "cat/.DS_Store", "cat/._a.jpg", ".git/a.png", "cat/.thumbs/a.png"):
        m.add(path, pack(m.draw(), "PNG"), Bad("hidden"))
        del m.expected[path]


def links_and_pipes(m: Maker) -> None:
    aside = m.folder.parent / f"{m.folder.name}, aside"
    aside.mkdir()
    image = m.draw()
    (aside / "linked.png").write_bytes(pack(image, "PNG"))
    (m.folder / "cat/a link.png").symlink_to(aside / "linked.png")
    m.expected["cat/a link.png"] = Good(image)
    image = m.draw()
    (aside / "more").mkdir()
    (aside / "more/a.png").write_bytes(pack(image, "PNG"))
    (m.folder / "cat/a linked folder").symlink_to(aside / "more")
    m.expected["cat/a linked folder/a.png"] = Good(image)
    for path, target in {
        "bad/itself.png": "itself.png",
        "bad/one.png": "two.png",
        "bad/two.png": "one.png",
        "bad/gone.png": "no such file",
    }.items():
        (m.folder / path).symlink_to(target)
        m.expected[path] = Bad("cannot be read")
    for path, target in {"bad/up": "..", "bad/here": ".", "bad/root": m.folder}.items():
        (m.folder / path).symlink_to(target)
        m.expected[path] = Bad("a link to a folder that it is in")
    os.mkfifo(m.folder / "bad/a pipe.png")
    m.expected["bad/a pipe.png"] = Bad("not a file")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(m.folder / "bad")  # a socket's path must be short
        listener.bind("socket.png")
        os.chdir(here)
    m.expected["bad/socket.png"] = Bad("not a file")
    locked = m.add("bad/locked.png", pack(m.draw(), "PNG"), Bad("cannot be read"))
    locked.chmod(0)
    (m.folder / "bad/locked").mkdir(mode=0)
    m.expected["bad/locked"] = Bad("cannot be read")
    if os.access(locked, os.R_OK):  # by one who may read everything
        locked.unlink()
        (m.folder / "bad/locked").rmdir()
        del m.expected["bad/locked.png"], m.expected["bad/locked"]
