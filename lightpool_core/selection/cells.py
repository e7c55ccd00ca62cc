"""Many unit rows, sorted so that most of them need not be looked at to find the nearest one.

Rows are known by their prefix: coordinates along the principal directions, and the length of the rest. Prefixes
are unit vectors again, and no two are farther apart than their rows, so a prefix that is too far rules its row
out. Rows with similar prefixes lie in one leaf around a pivot, and the triangle inequality between angles rules
out whole leaves, as in Burkhard & Keller, Some approaches to best-match file searching, 1973.
M: rows. L: leaves. B: blocks. D: dimension. S: dimension of a prefix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lightpool_core.arrays import Distances, Embeddings, Rows, Vectors
from lightpool_core.selection.exact import in_blocks
from lightpool_core.selection.products import float32_margin

_PREFIX = 128
_SAMPLE = 16_384
_LEAF = 64
"""Rows per leaf, on average."""
_SMALL_LEAF = 8
_WIDE = 0.93
"""Cosine with the pivot that every row should reach, if need be with this many rows per leaf."""
_BLOCK = 4096
"""Rows per block, the unit of a product, on average."""
_SWEEPS = 3
ROUNDING = 1e-6
"""Of a dot product of two prefixes that were computed in float64 and rounded."""


@dataclass(frozen=True)
class Cells:
    """M rows in L leaves, and those in B blocks."""

    basis: Vectors
    """(D, S - 1) orthonormal columns; (D, 0) where the prefix is the whole row."""
    order: Rows
    """(M,) the rows, leaf by leaf."""
    prefixes: Embeddings
    """(M, S) in that order."""
    pivots: Embeddings
    """(L, S) unit vectors."""
    cosines: Distances
    """(L,) no row of the leaf has a smaller cosine with the pivot."""
    leaves: Rows
    """(L + 1,) where each leaf begins in `order`; the last is M."""
    blocks: Rows
    """(B + 1,) which leaf each block begins with; the last is L."""

    @classmethod
    def over(cls, rows: Embeddings) -> Cells:
        """The cells of `rows` (M, D)."""
        basis = principal_basis(rows)
        size = basis.shape[1] + 1 if basis.shape[1] else rows.shape[1]
        vectors, cosines = np.empty((0, size), dtype=np.float32), np.empty(0, dtype=np.float32)
        nowhere = np.zeros(1, dtype=np.int64)
        empty = cls(basis, nowhere[:0], vectors, vectors, cosines, nowhere, nowhere)
        return empty.extended(rows)

    def __len__(self) -> int:
        return len(self.order)

    def extended(self, rows: Embeddings) -> Cells:
        """These cells, followed by others for what comes in `rows` after the M rows of these."""
        start = len(self)
        if start == len(rows):
            return self
        prefixes = self.prefixes_of(rows[start:])
        margin = np.float32(float32_margin(prefixes.shape[1]))  # rows may be a little longer than 1
        orders, pivots, cosines, sizes, blocks = [], [], [], [], []
        for group in _groups(prefixes):
            centres, member_of = _spread(prefixes[group])
            sort = np.argsort(member_of, kind="stable")
            orders.append(group[sort])
            dots = np.einsum("ms,ms->m", prefixes[orders[-1]], centres[member_of[sort]])
            begins = np.searchsorted(member_of[sort], np.arange(len(centres)))
            pivots.append(centres)
            cosines.append(np.minimum.reduceat(dots, begins) - margin)
            sizes.append(np.diff(begins, append=len(group)))
            blocks.append(len(centres))
        order = np.concatenate(orders)
        return Cells(
            self.basis,
            np.concatenate([self.order, order + start]),
            np.concatenate([self.prefixes, prefixes[order]]),
            np.concatenate([self.pivots, *pivots]),
            np.concatenate([self.cosines, *cosines]),
            np.concatenate([self.leaves, self.leaves[-1] + np.cumsum(np.concatenate(sizes))]),
            np.concatenate([self.blocks, self.blocks[-1] + np.cumsum(blocks)]),
        )

    def prefixes_of(self, rows: Embeddings) -> Embeddings:
        """(M, S) prefixes of `rows` (M, D)."""
        return prefixes_along(self.basis, rows)


def prefixes_along(basis: Vectors, rows: Embeddings) -> Embeddings:
    """(M, S) prefixes of `rows` (M, D) along the columns of `basis` (D, S - 1); `rows` themselves where it has none."""
    size = basis.shape[1]
    if not size:
        return np.asarray(rows)
    prefixes = np.empty((len(rows), size + 1), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        wide = rows[start : start + _BLOCK].astype(np.float64)
        along = wide @ basis
        rest = np.einsum("md,md->m", wide, wide) - np.einsum("ms,ms->m", along, along)
        prefixes[start : start + _BLOCK, :size] = along
        prefixes[start : start + _BLOCK, size] = np.sqrt(np.maximum(rest, 0.0))
    return prefixes


def principal_basis(rows: Embeddings) -> Vectors:
    """(D, S - 1) the principal directions of a sample of `rows` (M, D), in float64; (D, 0) of short rows."""
    dim = rows.shape[1]
    if dim <= _PREFIX:
        return np.empty((dim, 0))
    sample = rows[:: len(rows) // _SAMPLE + 1].astype(np.float64)
    _, directions = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(directions[:, :-_PREFIX:-1])


def _groups(prefixes: Embeddings) -> list[Rows]:
    """Rows that lie together, about as many as a block takes."""
    count = len(prefixes) // _BLOCK
    if count < 2:
        return list(in_blocks(np.arange(len(prefixes)), _BLOCK))
    sample = prefixes[:: len(prefixes) // (32 * count)]
    centres = sample[:: len(sample) // count][:count]
    for _ in range(_SWEEPS):
        member_of = _most_similar(sample, centres)
        sums = np.zeros_like(centres)
        np.add.at(sums, member_of, sample)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 0, sums / np.maximum(lengths, 1e-12), centres)
    member_of = _most_similar(prefixes, centres)
    order = np.argsort(member_of, kind="stable")
    groups = np.split(order, np.searchsorted(member_of[order], np.arange(1, count)))
    return [block for group in groups for block in in_blocks(group, 2 * _BLOCK)]


def _spread(prefixes: Embeddings) -> tuple[Embeddings, Rows]:
    """Pivots (L, S) far apart among `prefixes` (M, S), none without a row, and the nearest of them for each row."""
    count, most = -(-len(prefixes) // _LEAF), -(-len(prefixes) // _SMALL_LEAF)
    best = prefixes @ prefixes[0]
    member_of = np.zeros(len(prefixes), dtype=np.int64)
    pivots = [0]
    while True:
        farthest = int(best.argmin())
        if len(pivots) >= (most if best[farthest] < _WIDE else count) or best[farthest] > 1 - ROUNDING:
            break
        dots = prefixes @ prefixes[farthest]
        closer = dots > best
        best[closer], member_of[closer] = dots[closer], len(pivots)
        pivots.append(farthest)
    used, member_of = np.unique(member_of, return_inverse=True)
    return prefixes[pivots][used], member_of


def _most_similar(vectors: Embeddings, centres: Embeddings) -> Rows:
    """(M,) for each of `vectors` the number of the centre with the highest dot product."""
    return np.concatenate([(block @ centres.T).argmax(axis=1) for block in in_blocks(vectors)])
