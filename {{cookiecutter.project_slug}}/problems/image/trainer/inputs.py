"""What an exported model of images takes: pixels of any size, or the bytes of JPEG and PNG files.

The arithmetic of `codec/images.py` in a graph: a model sees the pixels that it was trained on. The
graph decodes only what TensorFlow decodes to the pixels of Pillow, and refuses every other file.
"""

from __future__ import annotations

import tensorflow as tf

from codec.schema import Schema

_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
_XMP_ORIENTATION = "tiff:Orientation"
_BITS = 22  # of the fraction in a weight, when an image is resized
_REMEDY = "; decode it with codec/images.py and send it to the signature `pixels`, or save it as an upright 8-bit RGB PNG"


class Inputs(tf.Module):
    """Files, or pixels, to what `model.build` takes."""

    def __init__(self, schema: Schema):
        super().__init__()
        self.schema = schema

    def signatures(self, _encoded: dict[str, tf.TensorSpec]) -> dict:
        """{name: (what prepares its inputs for the model, what they are)}, beside `encoded`.

        serving_default: image string [batch], each a JPEG file, or a PNG file of 8 bits a channel;
        pixels: image uint8 [batch, height, width, 3], RGB, upright, of any size.
        """
        pixels = tf.TensorSpec([None, None, None, 3], tf.uint8, "image")
        return {
            "serving_default": (
                self.from_files,
                {"image": tf.TensorSpec([None], tf.string, "image")},
            ),
            "pixels": (self.from_pixels, {"image": pixels}),
        }

    def from_files(self, raw):
        return self._each(lambda data: self._fit(decode(data)), raw["image"])

    def from_pixels(self, raw):
        return self._each(self._fit, raw["image"])

    def _each(self, prepare, images):
        spec = tf.TensorSpec(self.schema.pictures.shape, tf.uint8)
        return {"image": tf.map_fn(prepare, images, fn_output_signature=spec)}

    def _fit(self, pixels):
        """uint8 [height, width, 3] to the model's size and channels: `codec.images.resize`."""
        looks = self.schema.pictures
        if looks.channels == 1:
            pixels = grey(pixels)
        return tf.ensure_shape(resize(pixels, looks.size, looks.resize), looks.shape)


def decode(data):
    """A file's bytes to uint8 [height, width, 3]: upright, transparent pixels white.

    Fails with InvalidArgumentError on a file that is not read here.
    """
    is_jpeg = tf.strings.substr(data, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(data, 0, 8) == b"\x89PNG\r\n\x1a\n"
    how, problem = tf.case(
        [(is_jpeg, lambda: _check_jpeg(data)), (is_png, lambda: _check_png(data))],
        default=lambda: (1, _name_kind(data)),
        exclusive=True,
    )
    check = tf.debugging.Assert(problem == "", ["the image " + problem + _REMEDY])
    with tf.control_dependencies([check] if check is not None else []):  # None: run eagerly
        data = tf.identity(data)
    pixels = tf.cond(
        is_jpeg,
        # As Pillow does it; the default is another way of the same library, off by some of 255.
        lambda: tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: on_white(tf.io.decode_png(data, channels=4)),
    )
    return tf.ensure_shape(turn(pixels, how), [None, None, 3])


def _name_kind(data):
    begins = {"BM": "BMP", "GIF8": "GIF", "RIFF": "WebP", "II": "TIFF", "MM": "TIFF"}
    return _first_problem(
        [
            *(
                (tf.strings.substr(data, 0, len(begin)) == begin, f"is {kind}, not JPEG or PNG")
                for begin, kind in begins.items()
            ),
            (True, "is neither JPEG nor PNG"),
        ]
    )


def _check_jpeg(data):
    """(EXIF orientation, what is wrong or "") of a JPEG file."""
    file = tf.io.decode_raw(data, tf.uint8)
    starts = _walk(file, 2, lambda at: at + 2 + _number(file, at + 2, 2), _is_scan(file))
    is_app1 = _number(file, starts, 2) == 0xFFE1
    is_exif = (_number(file, starts + 4, 4) == _code("Exif")) & (_number(file, starts + 8, 2) == 0)
    exif = tf.boolean_mask(starts, is_app1 & is_exif) + 4
    ends = exif - 2 + _number(file, exif - 2, 2)
    how, problem = _orientation(file, exif, ends, tf.strings.substr(data, 0, starts[-1]), False)
    return how, _first_problem(
        [
            (_number(file, starts[-1], 2) != 0xFFDA, "is a damaged JPEG"),
            (tf.io.extract_jpeg_shape(data)[2] == 4, "is a JPEG with CMYK, colours of a printer"),
            (problem != "", problem),
        ]
    )


def _is_scan(file):
    """Whether a JPEG's segment is the last one before the pixels, or none at all."""
    return lambda at: (_number(file, at, 2) == 0xFFDA) | (_number(file, at, 1) != 0xFF)


def _check_png(data):
    """(EXIF orientation, what is wrong or "") of a PNG file."""
    file = tf.io.decode_raw(data, tf.uint8)
    step = lambda at: at + 12 + _number(file, at, 4)  # noqa: E731
    starts = _walk(file, 8, step, lambda at: _number(file, at + 4, 4) == _code("IEND"))
    kinds = _number(file, starts + 4, 4)
    begins = _number(file, starts + 8, 4)  # of a text, how its name begins
    is_text = tf.reduce_any(kinds[:, tf.newaxis] == [_code(t) for t in _TEXTS], axis=1)
    is_packed = (kinds == _code("zTXt")) | (_number(file, starts + 26, 1) == 1)
    hidden = (begins == _code("XML:")) & is_packed | (begins == _code("Raw "))
    exif = tf.boolean_mask(starts, kinds == _code("eXIf")) + 8
    ends = exif + _number(file, exif - 8, 4)
    how, problem = _orientation(file, exif, ends, data, tf.reduce_any(is_text & hidden))
    is_clear = _check_transparency(file, starts, kinds)
    return how, _first_problem(
        [
            (_number(file, 24, 1) != 8, "is a PNG of other than 8 bits a channel"),
            (~is_clear, "has a palette or transparency out of its place"),
            (tf.reduce_any(kinds == _code("acTL")), "is an animated PNG"),
            (problem != "", problem),
        ]
    )


def _check_transparency(file, starts, kinds):
    """Whether PLTE, tRNS and IDAT come in this order, each once but the last, with as many bytes as they
    should have: decoders differ in what they make of others."""
    colours, clear, pixels = (
        tf.boolean_mask(starts, kinds == _code(kind)) for kind in ("PLTE", "tRNS", "IDAT")
    )
    is_ordered = tf.reduce_all(colours[:, tf.newaxis] < clear)
    is_ordered &= tf.reduce_all(tf.concat([colours, clear], 0)[:, tf.newaxis] < pixels)
    colour, size = _number(file, 25, 1), _number(file, clear, 4)
    in_palette = size <= tf.reduce_sum(_number(file, colours, 4)) // 3
    fits = (
        ((colour == 0) & (size == 2)) | ((colour == 2) & (size == 6)) | (colour == 3) & in_palette
    )
    return is_ordered & tf.reduce_all(fits) & (tf.size(colours) < 2) & (tf.size(clear) < 2)


# Bytes of a value, by its type in EXIF.
_SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 0)
_TEXTS = ("tEXt", "zTXt", "iTXt")  # the chunks of a PNG that may hold metadata of a camera


def _code(name: str) -> int:
    return int.from_bytes(name.encode(), "big")


def _number(file, at, size: int, little=False):
    """int32: `size` bytes from each `at` on; what lies outside reads as the nearest byte."""
    places = tf.clip_by_value(tf.expand_dims(at, -1) + tf.range(size), 0, tf.size(file) - 1)
    digits = tf.cast(tf.gather(file, places), tf.int32)
    powers = [256**i for i in range(size)]
    big = tf.reduce_sum(digits * powers[::-1], axis=-1)
    return big if little is False else tf.where(little, tf.reduce_sum(digits * powers, -1), big)


def _walk(file, first: int, step, is_last):
    """int32 [n]: where each part of a file begins, up to the one that is the last."""
    starts = tf.TensorArray(tf.int32, 1, dynamic_size=True, clear_after_read=False).write(0, first)

    def go(at, count, starts):
        at = step(at)
        return at, count + 1, starts.write(count, at)

    def more(at, count, starts):
        return ~is_last(at) & (step(at) > at) & (step(at) < tf.size(file))

    return tf.while_loop(more, go, (tf.constant(first), 1, starts))[2].stack()


def _first_problem(checks):
    is_wrong, problems = zip(*checks, strict=True)
    return tf.concat([tf.boolean_mask(tf.stack(problems), tf.stack(is_wrong)), [""]], 0)[0]


def _orientation(file, exif, ends, searched, is_hidden):
    """(1 to 8, what is wrong or ""), as Pillow finds it: in EXIF, else in XMP, which is not read.

    Args:
        exif: int32 [n], where EXIF begins.
        ends: int32 [n], where it ends.
        searched: the bytes in which XMP may stand.
        is_hidden: whether there is metadata that cannot be searched.
    """

    def read_unsigned(at):
        high = tf.cast(_number(file, at + tf.where(little, 2, 0), 2, little), tf.float64)
        return high * 65536 + tf.cast(
            _number(file, at + tf.where(little, 0, 2), 2, little), high.dtype
        )

    at = tf.concat([exif, [0]], 0)[0]
    has_prefix = (_number(file, at, 4) == _code("Exif")) & (_number(file, at + 4, 2) == 0)
    at += tf.where(has_prefix, 6, 0)
    little = _number(file, at, 1) == ord("I")
    table = _number(file, at + 4, 4, little)
    is_there = (tf.size(exif) > 0) & (table > 0) & (table < tf.size(file))
    is_tiff = tf.reduce_any(_number(file, at, 4) == [0x49492A00, 0x4D4D002A])  # II*, MM*
    count = tf.where(is_there, _number(file, at + table, 2, little), 0)
    entries = at + table + 2 + 12 * tf.range(count)
    # Pillow stops reading at a value that lies outside.
    kinds = tf.clip_by_value(_number(file, entries + 2, 2, little), 0, len(_SIZES) - 1)
    sizes = tf.cast(tf.gather(_SIZES, kinds), tf.float64) * read_unsigned(entries + 4)
    is_outside = (sizes > 4) & (
        read_unsigned(entries + 8) + sizes > tf.cast(tf.concat([ends, [0]], 0)[0] - at, tf.float64)
    )
    entries = tf.boolean_mask(entries, _number(file, entries, 2, little) == _ORIENTATION)
    is_short = (_number(file, entries + 2, 2, little) == 3) & (
        _number(file, entries + 4, 4, little) == 1
    )
    how = tf.concat([[1], _number(file, entries + 8, 2, little)], 0)[-1]
    texts = tf.strings.split(searched, _XMP_ORIENTATION)[1:]
    is_upright = (tf.strings.substr(texts, 0, 3) == '="1') | (
        tf.strings.substr(texts, 0, 2) == ">1"
    )
    is_in_xmp = is_hidden | tf.reduce_any(~is_upright)
    problem = _first_problem(
        [
            (tf.size(exif) > 1, "has EXIF more than once"),
            ((tf.size(exif) > 0) & ~is_tiff | tf.reduce_any(is_outside), "has damaged EXIF"),
            (tf.reduce_any(~is_short), "has an EXIF orientation of a wrong type"),
            (tf.size(entries) > 1, "has several EXIF orientations"),
            ((tf.size(entries) == 0) & is_in_xmp, "may be turned by metadata that is not EXIF"),
        ]
    )
    return tf.where((how > 0) & (how < 9), how, 1), problem


def on_white(pixels):
    """RGBA over white: uint8 [height, width, 4] to [height, width, 3], in Pillow's arithmetic."""
    pixels = tf.cast(pixels, tf.int32)
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    mixed = 128 * (colour * alpha + 255 * (255 - alpha) + 128)
    return tf.cast((mixed // 256 + mixed) // 256 // 128, tf.uint8)


def grey(pixels):
    """uint8 [height, width, 3] to [height, width, 1]: the luma of ITU-R 601, as Pillow rounds it."""
    weights = tf.constant([19595, 38470, 7471])
    luma = tf.reduce_sum(tf.cast(pixels, tf.int32) * weights, axis=-1, keepdims=True)
    return tf.cast((luma + (1 << 15)) // (1 << 16), tf.uint8)


def resize(pixels, size: int, policy: str):
    """uint8 [height, width, channels] to [size, size, channels]."""
    height, width = tf.shape(pixels)[0], tf.shape(pixels)[1]
    if policy == "stretch":
        return _scale(pixels, size, size)
    if policy == "crop":
        side = tf.minimum(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        return _scale(pixels[top : top + side, left : left + side], size, size)
    longest = tf.maximum(height, width)
    height, width = (
        tf.maximum(1, (length * size + longest // 2) // longest) for length in (height, width)
    )
    inside = _scale(pixels, height, width)
    top, left = (size - height) // 2, (size - width) // 2
    around = [[top, size - height - top], [left, size - width - left], [0, 0]]
    return tf.pad(inside, around)  # with black


def _scale(pixels, height, width):
    """Pillow's bilinear filter, to the bit: whole numbers, first along the rows."""
    return _scale_columns(_transpose(_scale_columns(_transpose(pixels), width)), height)


def _transpose(pixels):
    return tf.transpose(pixels, [1, 0, 2])


def _scale_columns(pixels, length):
    """uint8 [height, width, channels] to [length, width, channels]."""
    shape = tf.shape(pixels)
    scale = tf.cast(shape[0] / length, tf.float64)
    centers = (tf.range(length, dtype=tf.float64) + 0.5)[:, tf.newaxis] * scale
    away = (tf.range(tf.cast(shape[0], tf.float64), dtype=tf.float64) + 0.5 - centers) / tf.maximum(
        scale, 1
    )
    weights = tf.maximum(1 - tf.abs(away), 0)
    weights /= tf.reduce_sum(weights, axis=1, keepdims=True)
    weights = tf.sparse.from_dense(tf.cast(weights * (1 << _BITS) + 0.5, tf.int32))
    columns = tf.cast(tf.reshape(pixels, [shape[0], -1]), tf.int32)
    sums = tf.sparse.sparse_dense_matmul(weights, columns) + (1 << (_BITS - 1))
    scaled = tf.clip_by_value(tf.bitwise.right_shift(sums, _BITS), 0, 255)
    return tf.cast(tf.reshape(scaled, [length, shape[1], shape[2]]), tf.uint8)


def turn(pixels, how):
    """An image upright, given its EXIF orientation, 1 to 8; 1 is upright already."""
    swapped = tf.reduce_any(how == [5, 6, 7, 8])  # height and width; then at most two mirrors
    pixels = tf.cond(swapped, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    left_right, up_down = tf.reduce_any(how == [2, 3, 6, 7]), tf.reduce_any(how == [3, 4, 7, 8])
    pixels = tf.cond(left_right, lambda: pixels[:, ::-1], lambda: pixels)
    return tf.cond(up_down, lambda: pixels[::-1], lambda: pixels)
