"""Are the answers right? Checked by brute force, beside the clock.

Matrix products in float32 find out what may matter; what does is computed in float64. N: candidates.
K: chosen. Q: queries. M: rows in the pool.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from selection_ours import Picks
from selection_peers import MOST_BYTES, on

from lightpool_core.arrays import Array, Distances, Embeddings, Mask, Rows

CLOSE = 1e-4
"""How far coverage radii may be apart, relatively."""
UNSURE = 4e-6
"""How far off a float32 product of unit rows may be, with room to spare: 2e-5 of a distance of 0.2."""


@torch.inference_mode()
def radii(embeddings: Embeddings, chosen: Rows, counts: Sequence[int], device: str) -> list[float]:
    """For each of `counts` the coverage radius of the first so many of `chosen`.

    That is the distance from the candidate that is farthest from them to its nearest of them.
    """
    centres = on(device, embeddings[chosen])
    step = max(1, MOST_BYTES // (4 * max(len(chosen), embeddings.shape[1])))
    nearest = []
    for start in range(0, len(embeddings), step):
        products = on(device, embeddings[start : start + step]) @ centres.T
        nearest.append(torch.stack([products[:, :count].amax(1) for count in counts], 1).cpu())
    highest = np.asarray(torch.cat(nearest))
    found = []
    for column, count in enumerate(counts):
        may_be_farthest = np.flatnonzero(highest[:, column] <= highest[:, column].min() + 2 * UNSURE)
        found.append(_radius(embeddings[may_be_farthest], embeddings[chosen[:count]]))
    return found


def _radius(candidates: Embeddings, centres: Embeddings) -> float:
    """The greatest distance (float64) of `candidates` from the nearest of `centres`."""
    wide = torch.from_numpy(centres.astype(np.float64))
    lengths, farthest = (wide**2).sum(1), 0.0
    step = max(1, MOST_BYTES // (8 * len(centres)))
    for start in range(0, len(candidates), step):
        part = torch.from_numpy(candidates[start : start + step].astype(np.float64))
        squares = (part**2).sum(1)[:, None] + lengths - 2.0 * (part @ wide.T)
        farthest = max(farthest, float(squares.amin(1).max()))
    return float(np.sqrt(farthest))


def same(a: float, b: float) -> bool:
    """True if two radii are equal within 1e-4 relatively, or their squares but for float32 rounding."""
    return abs(a - b) <= CLOSE * b or abs(a * a - b * b) <= 1e-6


def is_greedy(embeddings: Embeddings, picks: Picks, device: str) -> bool:
    """True if the middle and the last pick were the farthest that there was, and distances never grow.

    Whatever the ties, the distance stated for a pick must be the coverage radius of those before it.
    """
    k = len(picks.indices)
    if len(np.unique(picks.indices)) < k or (np.diff(picks.distances) > 0).any():
        return False
    counts = sorted({max(1, k // 2), k - 1})
    found = radii(embeddings, picks.indices, counts, device)
    return all(
        abs(picks.distances[count] - radius) <= max(CLOSE * radius, 1e-7)
        for count, radius in zip(counts, found, strict=True)
    )


@torch.inference_mode()
def shortfall(embeddings: Embeddings, chosen: Rows, device: str) -> float:
    """How much nearer than the farthest a pick was at most, in Euclidean distance; 0 if float32 tells none apart."""
    centres = on(device, embeddings[chosen])
    step = max(1, MOST_BYTES // (4 * max(centres.shape)))
    lowest = torch.full((len(chosen) - 1,), torch.inf, device=device)
    own = torch.empty_like(lowest)
    for start in range(0, len(embeddings), step):
        covered = (on(device, embeddings[start : start + step]) @ centres.T).cummax(1).values
        torch.minimum(lowest, covered[:, :-1].amin(0), out=lowest)
    for start in range(1, len(chosen), step):
        covered = (centres[start : start + step] @ centres.T).cummax(1).values
        own[start - 1 : start - 1 + len(covered)] = covered.diagonal(start - 1)
    squares = 2 - 2 * torch.stack([lowest, own])
    short = torch.where(own - lowest > UNSURE, squares[0].sqrt() - squares[1].sqrt(), 0.0)
    return float(short.max())


@torch.inference_mode()
def truly_closer(queries: Embeddings, pool: Embeddings, highest: Distances, min_distance: float, device: str) -> Mask:
    """(Q,) True where a row of the pool is closer than `min_distance`.

    By the greatest product of each query, `highest` (Q,), where it is beyond doubt; otherwise by the
    differences in float64 of all pairs whose product is not.
    """
    threshold = 1 - min_distance**2 / 2
    closer = np.asarray(highest > threshold + UNSURE)
    doubtful = np.flatnonzero(~closer & (highest >= threshold - UNSURE))
    if not len(doubtful):
        return closer
    wide = on(device, queries[doubtful])
    for start in range(0, len(pool), 65536):
        block = pool[start : start + 65536]
        near = wide @ on(device, block).T >= threshold - UNSURE
        i, j = (np.asarray(axis.cpu()) for axis in near.nonzero(as_tuple=True))
        closer[doubtful[i[_distances(queries[doubtful[i]], block[j]) < min_distance]]] = True
    return closer


def _distances(a: Embeddings, b: Embeddings) -> Array:
    return np.asarray(np.linalg.norm(a.astype(np.float64) - b, axis=1))


def wrong(rejected: Mask, truth: Mask) -> tuple[int, int]:
    """How many were wrongly accepted, and how many wrongly rejected."""
    return int((truth & ~rejected).sum()), int((rejected & ~truth).sum())
