"""What an exported model of pictures takes: files as a client sends them, of any size and kind.

`codec/images.py` in a graph: what a model was trained on and what it is asked about come to the same
pixels. Where a picture is resized, rounding may differ by one of 255.
"""

from __future__ import annotations

import tensorflow as tf

from trainer.schema import Schema

_HEAD = 1 << 16  # bytes: no segment of a JPEG file is longer, and EXIF is one of the first
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112  # the EXIF tag that says how the camera was held
_ENTRIES = 256  # of its table that are looked at


class Inputs(tf.Module):
    """Files, or pixels, to what `model.build` takes."""

    def __init__(self, schema: Schema):
        super().__init__()
        self.schema = schema

    def signatures(self) -> dict:
        """{name: (what prepares its inputs for the model, what they are)}.

        serving_default: image string [batch], each a JPEG, PNG, GIF (its first frame), BMP or WebP
        file;
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
    """A file's bytes to uint8 [height, width, 3]: upright, transparent places white."""
    pixels = tf.case(
        [
            (_begin(data, 3) == b"\xff\xd8\xff", lambda: turn(_jpeg(data), orientation(data))),
            (_begin(data, 4) == b"\x89PNG", lambda: _png(data)),
            (_begin(data, 2) == b"BM", lambda: _bmp(data)),
        ],
        default=lambda: tf.io.decode_image(data, channels=3, expand_animations=False),
        exclusive=True,
    )
    return tf.ensure_shape(pixels, [None, None, 3])


def _begin(data, size: int):
    return tf.strings.substr(data, 0, size)


def _jpeg(data):
    # As Pillow does it; the default is another way of the same library, off by some of 255.
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _png(data):
    head = _numbers(data, 24, 2)  # bits a channel, kind of colours
    return tf.cond(
        (head[0] == 1) & (head[1] == 0),  # black and white: TensorFlow makes 1 of white, with alpha
        lambda: tf.io.decode_png(data, channels=3),
        lambda: on_white(tf.io.decode_png(data, channels=4)),
    )


def _bmp(data):
    head = _numbers(data, 0, 50)
    info, bits, used = (head[i] + 256 * head[i + 1] for i in (14, 28, 46))

    def by_palette():  # TensorFlow takes the places in a palette for greys
        colours = tf.where(used == 0, 256, used)
        palette = tf.reshape(_numbers(data, 14 + info, 4 * colours), [-1, 4])[:, 2::-1]
        places = tf.cast(tf.io.decode_bmp(data)[..., 0], tf.int32)
        return tf.cast(tf.gather(palette, places), tf.uint8)

    return tf.cond(bits == 8, by_palette, lambda: tf.io.decode_bmp(data)[..., :3])


def _numbers(data, at, size: int):
    """int32 [size]: bytes of a file."""
    return tf.cast(tf.io.decode_raw(tf.strings.substr(data, at, size), tf.uint8), tf.int32)


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
    scaled = tf.image.resize(tf.cast(pixels, tf.float32), (height, width), antialias=True)
    return tf.cast(tf.clip_by_value(tf.floor(scaled + 0.5), 0, 255), tf.uint8)


def turn(pixels, how):
    """A picture upright, given its EXIF orientation, 1 to 8; 1 is upright already."""
    swapped = tf.reduce_any(how == [5, 6, 7, 8])  # height and width; then at most two mirrors
    pixels = tf.cond(swapped, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    left_right, up_down = tf.reduce_any(how == [2, 3, 6, 7]), tf.reduce_any(how == [3, 4, 7, 8])
    pixels = tf.cond(left_right, lambda: pixels[:, ::-1], lambda: pixels)
    return tf.cond(up_down, lambda: pixels[::-1], lambda: pixels)


def orientation(data):
    """The EXIF orientation in a JPEG file's bytes, int32; 1 where none is told."""
    head = _begin(data, _HEAD)
    parts = tf.strings.split(head, _EXIF, 1)  # what stands behind the mark is a small TIFF file
    tiff = tf.cast(tf.io.decode_raw(parts[-1], tf.uint8), tf.int32)
    last = tf.size(tiff) - 1
    little = tiff[0] == ord("I")

    def number(at, size):
        """Of `size` bytes, which begin at `at`; what lies outside reads as the last byte."""
        places = [tf.gather(tiff, tf.clip_by_value(at + i, 0, last)) for i in range(size)]
        return tf.where(
            little,
            sum(byte * 256**i for i, byte in enumerate(places)),
            sum(byte * 256**i for i, byte in enumerate(reversed(places))),
        )

    table = number(4, 4)
    entries = table + 2 + 12 * tf.range(tf.minimum(number(table, 2), _ENTRIES))
    told = tf.boolean_mask(number(entries + 8, 2), number(entries, 2) == _ORIENTATION)
    how = tf.concat([told, [1]], 0)[0]
    return tf.where((tf.size(parts) == 2) & (how > 0) & (how < 9), how, 1)
