"""The one decoder of images: a file's bytes to pixels, and to the size that a model takes.

Whatever a model would learn from by accident (half a file, one frame of many, inverted inks) is
refused with the reason. Everything else becomes 8-bit RGB: greys and palettes are spread out,
transparent pixels turn white, and the orientation that a camera noted (EXIF, else XMP) is applied.
Colour profiles are ignored.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings

from PIL import Image, UnidentifiedImageError

# The name's ending of each format that is read.
ENDINGS = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG"}
ENDINGS |= {".png": "PNG", ".gif": "GIF", ".bmp": "BMP", ".webp": "WebP"}
BEGINNINGS = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL),
}
# Formats that are refused by name, and the endings of their files.
FOREIGN = {
    "TIFF": re.compile(rb"II\*\0|MM\0\*|II\+\0|MM\0\+"),
    "AVIF": re.compile(rb"....ftypavi[fs]", re.DOTALL),
    "HEIC": re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "Photoshop": re.compile(rb"8BPS"),
    "icon": re.compile(rb"\0\0[\1\2]\0"),
    "PDF": re.compile(rb"%PDF"),
    "SVG": re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--[^>]*-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg"),
    "DICOM": re.compile(rb".{128}DICM", re.DOTALL),
}
IMAGE_ENDINGS = {*ENDINGS, ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".j2k"}
IMAGE_ENDINGS |= {".psd", ".ico", ".svg", ".dcm"}
MAX_PIXELS = 89_478_485  # 256 MiB as RGB; Pillow's own limit against files that unpack to gigabytes
MAX_BYTES = 1 << 28  # of a file
POLICIES = ("fit", "crop", "stretch")

# The second byte of a marker in a JPEG file. After 0xFF, 0x00 and 0xD0 to 0xD7 belong to the data.
_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_END_OF_IMAGE = 0xD9
_ORIENTATION = 0x0112  # the EXIF tag; by its value, what turns the image upright
_T = Image.Transpose
_TURNS = {2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE}
_TURNS |= {6: _T.ROTATE_270, 7: _T.TRANSVERSE, 8: _T.ROTATE_90}


class Rejected(Exception):
    """No image to learn or to predict from; the text says why."""


def decode(data: bytes, ending: str = "") -> Image.Image:
    """The image in a file's bytes, upright, 8-bit RGB.

    Args:
        ending: of the file's name, such as ".jpg"; "" where the name has none.

    Raises:
        Rejected: with the reason, for rejected.csv.
    """
    kind = _kind(data, ending)
    if not _is_whole(data, kind):
        raise Rejected("truncated: the end of the file is missing")
    with warnings.catch_warnings():  # on bad metadata, which does not matter here
        warnings.simplefilter("ignore")
        try:
            if kind == "PNG":
                Image.open(io.BytesIO(data), formats=[kind]).verify()  # its checksums
            image = Image.open(io.BytesIO(data), formats=[kind])
            _check_header(image, data, kind)
            image.load()
            if kind == "PNG":
                _scale_transparent_grey(image, depth=data[24])
            turn = _TURNS.get(_orientation(image))
            return _rgb(image) if turn is None else _rgb(image).transpose(turn)
        except Rejected:
            raise
        except Image.DecompressionBombError:
            raise _too_large() from None
        except UnidentifiedImageError:  # its text holds a memory address
            raise Rejected(f"broken: no valid header of a {kind} file") from None
        except Exception as error:  # each decoder has its own
            message = " ".join(str(error).split()) or type(error).__name__
            raise Rejected(f"broken: {message[:200]}") from None


def digest(image: Image.Image) -> bytes:
    """The same for two files of the same pixels, whatever their formats."""
    hasher = hashlib.sha256(repr(image.size).encode())
    hasher.update(image.tobytes())
    return hasher.digest()


def resize(image: Image.Image, size: int, policy: str) -> Image.Image:
    """A square image, `size` pixels a side; `trainer/inputs.py` repeats it in a graph, to the bit.

    Args:
        policy: "fit" keeps all of the image, amid black; "crop" takes the middle square;
            "stretch" forgets the proportions.
    """
    width, height = image.size
    if policy == "stretch":
        return _scale(image, size, size)
    if policy == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        return _scale(image, size, size)
    longest = max(width, height)
    width, height = (max(1, (n * size + longest // 2) // longest) for n in (width, height))
    inside = _scale(image, width, height)
    if width == height:
        return inside
    whole = Image.new(image.mode, (size, size))
    whole.paste(inside, ((size - width) // 2, (size - height) // 2))
    return whole


def fit(image: Image.Image, size: int, channels: int, policy: str) -> Image.Image:
    """The image as a model takes it: grey where the model has one channel, `size` pixels a side."""
    return resize(image.convert("L") if channels == 1 else image, size, policy)


def _scale(image: Image.Image, width: int, height: int) -> Image.Image:
    """First along the rows, then along the columns. Pillow's own choice of which comes first depends
    on its version and on the shape, and can be seen in the last bit."""
    rows = image.resize((width, image.height), Image.Resampling.BILINEAR)
    return rows.resize((width, height), Image.Resampling.BILINEAR)


def encode(image: Image.Image, encoding: str, quality: int) -> bytes:
    """The bytes for a record: a PNG or JPEG file, or raw uint8 [height, width, channels]."""
    if encoding == "raw":
        return image.tobytes()
    file = io.BytesIO()
    if encoding == "png":
        image.save(file, "PNG", compress_level=1)  # three times as fast as the default
        return file.getvalue()
    image.save(file, "JPEG", quality=quality, comment=b"")  # else the file's own
    return file.getvalue()


def find_kind(data: bytes) -> str | None:
    """The format of a file, from its first 256 bytes; None where it is no image."""
    kinds = BEGINNINGS | FOREIGN
    return next((kind for kind, begin in kinds.items() if begin.match(data[:256])), None)


def _kind(data: bytes, ending: str) -> str:
    if not data:
        raise Rejected("empty: the file has no bytes")
    if len(data) > MAX_BYTES:
        raise Rejected(f"too large: more than {MAX_BYTES >> 20} MiB")
    kind = find_kind(data)
    if kind is None:
        raise Rejected(f"not an image: its content is none of {', '.join(BEGINNINGS)}")
    if kind in FOREIGN:
        raise Rejected(f"{kind}, which is not read; save it as PNG or JPEG")
    if ending and ENDINGS.get(ending.lower()) != kind:
        raise Rejected(f"wrongly named: a {kind} file by its content, named {ending}")
    return kind


def _is_whole(data: bytes, kind: str) -> bool:
    """Whether the file's end is there. Decoders make up what is missing, or don't look so far."""
    if kind == "JPEG":
        return _has_jpeg_end(data)
    if kind == "PNG":
        return b"IEND\xae\x42\x60\x82" in data  # a chunk without data, and its checksum
    if kind == "GIF":
        return data.rstrip(b"\0").endswith(b";")
    if kind == "WebP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return True  # Pillow counts a BMP's bytes itself


def _has_jpeg_end(data: bytes) -> bool:
    """Walks from marker to marker: a preview inside has an end of its own, and what cameras append
    may hold anything."""
    start = 2
    while marker := _MARKER.search(data, start):
        if marker[1][0] == _END_OF_IMAGE:
            return True
        start = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return False


def _check_header(image: Image.Image, data: bytes, kind: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large()
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and kind != "JPEG":  # in a JPEG they are previews, or depth maps of a phone
        raise Rejected(f"animated: {frames} frames; save one as an image of its own")
    if kind == "PNG" and data[24] > 8:
        raise Rejected(f"{data[24]} bits a channel; save it as PNG with 8")
    if image.mode == "CMYK":
        raise Rejected("CMYK, colours of a printer; save it as RGB")


def _too_large() -> Rejected:
    return Rejected(f"too large: more than {MAX_PIXELS // 1_000_000} megapixels")


def _scale_transparent_grey(image: Image.Image, depth: int) -> None:
    """Pillow spreads greys of 2 and 4 bits to 8, but not the grey that the file calls transparent."""
    grey = image.info.get("transparency")
    if image.mode == "L" and isinstance(grey, int) and depth in (2, 4) and grey < 1 << depth:
        image.info["transparency"] = grey * 255 // ((1 << depth) - 1)


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")  # which copies it


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged metadata is no reason to lose an image
        return 1
