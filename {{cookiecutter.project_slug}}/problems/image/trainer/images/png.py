"""Images as PNG files: small ones for the report, whole ones for a client.

TensorFlow is imported inside of functions: the launcher reads `outputs.py` without waiting for it.
"""

from __future__ import annotations

import base64
import io

import numpy as np

from trainer.engine.sections import DRAWN

SIDE = 128  # pixels, at most: of a larger image the report has a small copy


def encode_image(pixels) -> bytes:
    """A PNG file for `context.save_image`.

    Args:
        pixels: [height, width, 1 or 3]: uint8, or floats from 0 to 1.
    """
    import tensorflow as tf

    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or not pixels.size:
        raise ValueError(f"encode_image: pixels {pixels.shape}; expected [height, width, 1 or 3]")
    if pixels.dtype.kind == "f":
        pixels = np.round(np.nan_to_num(pixels).clip(0, 1) * 255).astype(np.uint8)
    elif pixels.dtype != np.uint8:
        raise ValueError(f"encode_image: pixels are {pixels.dtype}; expected uint8 or floats")
    size = max(pixels.shape[:2])
    if size > SIDE:
        shape = [max(1, round(side * SIDE / size)) for side in pixels.shape[:2]]
        smaller = tf.image.resize(pixels, shape, antialias=True)
        pixels = tf.saturate_cast(tf.round(smaller), tf.uint8)
    return tf.io.encode_png(pixels).numpy()


def draw_image(pixels: np.ndarray) -> str:
    """A data URI for a section, made without TensorFlow; pixels uint8 [height, width, 1 or 3]."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "PNG")
    return DRAWN + base64.b64encode(file.getvalue()).decode()


def encode_images(pixels):
    """PNG files, string [batch]; `scripts/predict.py` prints each as {"b64": "…"}.

    Args:
        pixels: [batch, height, width, 1 or 3], from 0 for black to 1 for white.
    """
    import tensorflow as tf

    return tf.io.encode_png(tf.saturate_cast(tf.round(pixels * 255), tf.uint8))
