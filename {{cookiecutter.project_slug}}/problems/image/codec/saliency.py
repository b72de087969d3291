"""What a model looked at in an image: integrated gradients.

The attribution of a pixel value x_i to a score F of the image x is

    (x_i - b_i) * integral over a from 0 to 1 of dF/dx_i at b + a (x - b)

where b is the baseline: the same image with nothing on it. All attributions add up to F(x) - F(b),
which is how `error` checks them. Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for
Deep Networks", ICML 2017, https://arxiv.org/abs/1703.01365, equation 1 and proposition 1.

F is the logit of a class less the mean logit of all classes: softmax knows no more of them, and
does not flatten it where the model is certain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEPS = 16  # points of the integral; by Gauss and Legendre, so few are enough
CELLS = 40  # a side of a map, at most: single pixels of a photograph would be dust
STRONG = 98  # percentile of the attributions from which on a map shows the full colour
# As elsewhere in the report: what is right is blue, what is not is orange.
FOR, AGAINST = (0, 114, 178), (213, 94, 0)


@dataclass(frozen=True)
class Attribution:
    """Of one image, for one class."""

    values: np.ndarray  # float64 [height, width, channels]: in units of the score
    baseline: float  # the score of the baseline
    score: float  # the score of the image

    @property
    def error(self) -> float:
        """What is missing for the attributions to add up, as a share of their sizes; 0 is exact."""
        missing = abs(self.values.sum() - (self.score - self.baseline))
        return float(missing / max(np.abs(self.values).sum(), 1e-12))


def integrate(
    begin: np.ndarray, end: np.ndarray, differentiate: Callable, steps: int = STEPS
) -> Attribution:
    """The attribution of an image, from a baseline to the image.

    Args:
        begin, end: float64 [height, width, channels].
        differentiate: takes images float64 [n, height, width, channels], returns their scores [n]
            and the gradients of these [n, height, width, channels].
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    way = np.array([0, *(nodes + 1) / 2, 1])  # both ends with them, for their scores
    scores, gradients = differentiate(begin + (end - begin) * way[:, None, None, None])
    mean = np.tensordot(weights / 2, gradients[1:-1], axes=1)
    return Attribution((end - begin) * mean, scores[0], scores[-1])


def baselines(images: np.ndarray) -> np.ndarray:
    """Images of one colour, the median of each one's edge: what is there where nothing is.

    Black, as it is often done, would say that nothing black was ever looked at.
    """
    edges = [images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]]
    colours = np.median(np.concatenate(edges, axis=1), axis=1, keepdims=True)
    return np.broadcast_to(colours[:, None], images.shape).astype(np.uint8)


def draw(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The image in faint greys, and on it the attributions: uint8 [height, width, 3].

    Blue speaks for the class, orange against it.
    """
    height, width = image.shape[:2]
    cell = max(1, -(-max(height, width) // CELLS))
    sums = values.sum(axis=2)
    sums = np.pad(sums, [(0, -height % cell), (0, -width % cell)])
    sums = sums.reshape(sums.shape[0] // cell, cell, -1, cell).sum(axis=(1, 3))
    full = np.percentile(np.abs(sums), STRONG) or np.abs(sums).max() or 1.0
    strength = np.minimum(np.abs(sums) / full, 1)[..., None]
    colour = np.where(sums[..., None] > 0, FOR, AGAINST)
    strength, colour = (
        np.kron(array, np.ones((cell, cell, 1)))[:height, :width] for array in (strength, colour)
    )
    grey = 150 + 0.4 * image.mean(axis=2, keepdims=True)
    return np.round(grey * (1 - strength) + colour * strength).clip(0, 255).astype(np.uint8)
