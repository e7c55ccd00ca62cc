"""The arrays that travel between the parts, by name.

H, W: height and width in pixels. B: batch. N: candidates. D: dimension of an embedding.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Pixels: TypeAlias = npt.NDArray[np.uint8]
"""Shape (H, W, 3), RGB."""
Embeddings: TypeAlias = npt.NDArray[np.float32]
"""Shape (N, D); rows of unit length wherever the pipeline has passed."""
Vectors: TypeAlias = npt.NDArray[np.floating[Any]]
"""Shape (N, D), of any precision."""
Distances: TypeAlias = npt.NDArray[np.float32]
"""Euclidean; between unit vectors 0 to 2."""
ExactDistances: TypeAlias = npt.NDArray[np.float64]
"""The same in float64, where something is decided by them."""
Reach: TypeAlias = float | ExactDistances
"""How far to look: one distance for all queries, or one for each."""
Rows: TypeAlias = npt.NDArray[np.int64]
Labels: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_ROUNDING = 1e-6


def unit_rows(vectors: npt.ArrayLike) -> Embeddings:
    """`vectors` (N, D) scaled to length 1 each, computed in float64 and rounded once.

    Rows that have length 1 but for rounding stay bit for bit as they are.
    Raises ValueError naming the first row that is not finite or has no direction.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1)
    usable = np.isfinite(lengths) & (lengths > 0)
    if not usable.all():
        raise ValueError(f"row {int(np.argmin(usable))} is zero or not finite")
    lengths[np.abs(lengths - 1) < _ROUNDING] = 1.0
    return np.ascontiguousarray(wide / lengths[:, None], dtype=np.float32)


def array_digest(array: Array) -> str:
    """Identity of an array: equal for equal values of equal shape and type."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
