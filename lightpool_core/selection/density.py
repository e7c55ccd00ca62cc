"""How much candidates resemble queries, and each other: similarity and typicality.

N: candidates. Q: queries. D: dimension.
"""

from __future__ import annotations

import numpy as np

from lightpool_core.arrays import Embeddings, ExactDistances, Rows
from lightpool_core.selection.exact import in_blocks, squared_distances, squares_of_pairs
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.products import Products

_QUERIES_AT_ONCE = 1024
_ROWS_AT_ONCE = 16_384
_SPARE = 8
"""Neighbours more than wanted that products find, so that float64 has the right ones to choose from."""
_PAIRS_AT_ONCE = 32_000_000
"""In float64."""


def similarity(embeddings: Embeddings, queries: Embeddings, device: str = "auto") -> ExactDistances:
    """(N,) exp(-d / mean d), d the distance of each of `embeddings` (N, D) to the nearest of `queries` (Q, D)."""
    distances, _ = ArrayView(queries, device=device).nearest(embeddings)
    return _closeness(distances)


def typicality(embeddings: Embeddings, n_neighbours: int, device: str = "auto") -> ExactDistances:
    """(N,) the mean of exp(-d / mean d) over the distances d of each to its nearest others.

    After Hacohen, Dekel & Weinshall, Active Learning on a Budget, 2022. `n_neighbours` at most N - 1 count.
    """
    k = min(n_neighbours, len(embeddings) - 1)
    if k < 1:
        return np.ones(len(embeddings))
    return np.asarray(_closeness(_nearest_others(embeddings, k, device)).mean(axis=1))


def _closeness(distances: ExactDistances) -> ExactDistances:
    mean = distances.mean() if distances.size else 0.0
    return np.exp(-distances / mean) if mean > 0 else np.ones_like(distances)


def _nearest_others(embeddings: Embeddings, k: int, device: str) -> ExactDistances:
    """(N, k) exact distances, in ascending order, of each row to its nearest others."""
    import torch

    products = Products(device)
    margin = products.margin(embeddings.shape[1])
    found = np.empty((len(embeddings), k))
    numbers = np.arange(len(embeddings))
    for part in in_blocks(numbers, _QUERIES_AT_ONCE):
        queries = products.load(embeddings[part])
        best, where = [], []
        for rows in in_blocks(numbers, _ROWS_AT_ONCE):
            dots = queries @ products.load(embeddings[rows]).T
            top = torch.topk(dots, min(k + 1 + _SPARE, len(rows)), dim=1)
            best.append(top.values)
            where.append(top.indices + int(rows[0]))
        top = torch.topk(torch.cat(best, 1), min(k + 1 + _SPARE, len(embeddings)), dim=1)
        others = torch.cat(where, 1).gather(1, top.indices).cpu().numpy()
        which = np.repeat(part, others.shape[1])
        squares = squares_of_pairs(embeddings, embeddings, which, others.ravel()).reshape(others.shape)
        squares[others == part[:, None]] = np.inf
        found[part] = np.sort(squares, axis=1)[:, :k]
        if others.shape[1] < len(embeddings):
            left_out = 2.0 - 2.0 * (top.values[:, -1].cpu().numpy().astype(np.float64) + margin)
            crowded = part[found[part, -1] > left_out]
            found[crowded] = _among_many(embeddings, crowded, k)
    return np.sqrt(found)


def _among_many(embeddings: Embeddings, rows: Rows, k: int) -> ExactDistances:
    """(R, k) squared distances from `rows` (R,) to their nearest others, where float32 cannot tell these."""
    error = 2 * (embeddings.shape[1] + 8) * 2.0**-50
    found = np.empty((len(rows), k))
    for part in in_blocks(np.arange(len(rows)), max(1, _PAIRS_AT_ONCE // len(embeddings))):
        mine = embeddings[rows[part]]
        squares = np.concatenate([squared_distances(mine, block) for block in in_blocks(embeddings)], axis=1)
        squares[np.arange(len(part)), rows[part]] = np.inf
        reach = np.partition(squares, k - 1, axis=1)[:, k - 1] + error
        for number, row in zip(part, squares <= reach[:, None], strict=True):
            near = np.flatnonzero(row)
            exact = squares_of_pairs(embeddings, embeddings, np.full(len(near), rows[number]), near)
            found[number] = np.sort(exact)[:k]
    return found
