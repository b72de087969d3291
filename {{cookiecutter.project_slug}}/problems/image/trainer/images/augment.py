"""Random changes of training images, made on the device, inside of the step.

What flips, shifts, rotates and zooms is one mapping: each image is sampled once.
"""

from __future__ import annotations

import math

import keras
from keras import ops

SHIFT = 0.1  # of a side, at most; so are the others, both ways
ROTATE = 15  # degrees
ZOOM = 0.1
BRIGHTNESS = 0.2  # of 255
CONTRAST = 0.2


class Augment(keras.layers.Layer):
    """Images from 0 to 255, float32 [batch, height, width, channels], changed while training.

    The random numbers are the run's own, by --seed; their state is a variable, and so part of a
    checkpoint. Where an image is moved away, its edge is repeated.

    Args:
        names: of `options.AUGMENTATIONS`.
    """

    def __init__(self, names: tuple[str, ...], **how):
        super().__init__(dtype="float32", **how)
        self.names = names
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, images, training=False):
        if not training:
            return images
        if {"flip", "shift", "rotate", "zoom"} & set(self.names):
            transform = self._transform(images)
            images = ops.image.affine_transform(images, transform, fill_mode="nearest")
        if "brightness" in self.names:
            images = images + 255 * self._random(images, BRIGHTNESS)[:, None, None, None]
        if "contrast" in self.names:
            mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
            factor = 1 + self._random(images, CONTRAST)[:, None, None, None]
            images = mean + factor * (images - mean)
        return ops.clip(images, 0, 255)

    def _random(self, images, most: float):
        """A number from -most to most for each image."""
        count = ops.shape(images)[:1]
        return keras.random.uniform(count, -most, most, seed=self.seed_generator)

    def _transform(self, images):
        """float32 [batch, 8]: x and y in the image for x and y in the changed one."""
        height, width = images.shape[1:3]
        none = 0 * images[:, 0, 0, 0]

        def amount(name: str, most: float):
            return self._random(images, most) if name in self.names else none

        angle = amount("rotate", math.radians(ROTATE))
        scale = 1 + amount("zoom", ZOOM)
        mirror = ops.where(amount("flip", 1.0) < 0, -1.0, 1.0)
        right, down = (side * amount("shift", SHIFT) for side in (width, height))
        a, b = scale * ops.cos(angle) * mirror, -scale * ops.sin(angle)
        c, d = scale * ops.sin(angle) * mirror, scale * ops.cos(angle)
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2  # which stays where it is
        x = middle_x - a * middle_x - b * middle_y + right
        y = middle_y - c * middle_x - d * middle_y + down
        return ops.stack([a, b, x, c, d, y, none, none], axis=1)
