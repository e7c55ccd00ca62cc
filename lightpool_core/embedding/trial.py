"""Does a network bear to be computed in a lower precision? Tried on pictures that are made up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from lightpool_core.arrays import Array, Embeddings

LEAST_COSINE = 0.999
"""Between the embeddings of a picture in two precisions; lower ones would move what is near a `min_distance`."""
_PATCHES = (2, 3, 5, 8, 13, 21, 34, 55)
"""On a side of the pictures: from large areas to fine texture."""


def agree(exact: Callable[[Array], Embeddings], rounded: Callable[[Array], Embeddings], size: Sequence[int]) -> bool:
    """True if both embed pictures (B, H, W, 3) uint8 alike, each up to LEAST_COSINE; `size` is H and W."""
    pictures = made_up(size)
    first, second = (embed(pictures).astype(np.float64).reshape(len(pictures), -1) for embed in (exact, rounded))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    # Compared in this way, numbers that are not finite agree with nothing.
    return bool(((first * second).sum(1) >= LEAST_COSINE * lengths).all())


def made_up(size: Sequence[int]) -> Array:
    """(8, H, W, 3) uint8 pictures of soft coloured patches, always the same; `size` is H and W."""
    height, width = size
    rng = np.random.default_rng(0)
    patches = (rng.integers(0, 256, (n, n, 3), dtype=np.uint8) for n in _PATCHES)
    soft = (Image.fromarray(each).resize((width, height), Image.Resampling.BICUBIC) for each in patches)
    return np.stack([np.asarray(each) for each in soft])
