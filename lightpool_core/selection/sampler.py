"""The Sampler protocol: which candidates join the pool.

N: candidates. M: rows in the pool, may be 0. K: chosen. Q: queries. D: dimension.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from lightpool_core.arrays import Distances, Embeddings, ExactDistances, Mask, Rows
from lightpool_core.candidates import Candidates
from lightpool_core.errors import ContractViolation, SettingsError


@dataclass(frozen=True, slots=True)
class Stop:
    """When a selection ends: at whichever condition is met first; None is off.

    n_samples: an int is a count of new samples, a float in [0, 1] a fraction of the candidates.
    min_distance: Euclidean, 0 to 2; no two of the kept are closer, a candidate at exactly it is kept.
    """

    n_samples: int | float | None = None
    min_distance: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.n_samples, float) and not 0 <= self.n_samples <= 1:
            raise SettingsError(
                f"n_samples {self.n_samples} is no fraction from 0 to 1; write a whole number for a count, -1 for off"
            )
        if self.n_samples is not None and self.n_samples < 0:
            raise SettingsError(f"n_samples {self.n_samples} is negative; give a count, a fraction, or -1 for off")
        if self.min_distance is not None and not 0 <= self.min_distance <= 2:
            raise SettingsError(
                f"min_distance {self.min_distance} is not from 0 to 2, the distances that unit vectors"
                " can have; -1 is off"
            )

    @classmethod
    def of(cls, n_samples: int | float | None, min_distance: float | None) -> Stop:
        """The same conditions with -1 read as off, as settings files write it."""
        return cls(
            None if n_samples == -1 else n_samples,
            None if min_distance == -1 else min_distance,
        )

    def count(self, n_candidates: int) -> int:
        """The most that may be chosen from so many candidates; a fraction is rounded down."""
        if self.n_samples is None:
            return n_candidates
        if isinstance(self.n_samples, float):
            return math.floor(self.n_samples * n_candidates + 1e-9)
        return min(self.n_samples, n_candidates)


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen: `indices` (K,) into the candidates, in pick order, and `distances` (K,).

    A distance is Euclidean, to the nearest kept (pool and earlier picks) at the moment of the pick;
    infinite where nothing was kept yet.
    """

    indices: Rows
    distances: Distances


class PoolView(Protocol):
    """The pool as a sampler sees it: M unit rows to keep a distance from."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int: ...

    def nearest(self, queries: Embeddings) -> tuple[ExactDistances, Rows]:
        """Exact distance (Q,) to the nearest row, and which (Q,); infinite and -1 where the pool is empty."""

    def proven_closer(self, queries: Embeddings, distance: float) -> Mask:
        """(Q,) True where some row is certainly closer than `distance`; False proves nothing.

        Cheaper than `nearest` in a large pool: what it rejects need not be looked at again.
        """

    def blocks(self) -> Iterator[Embeddings]:
        """All rows in order, some thousands at a time."""


@runtime_checkable
class Sampler(Protocol):
    """Chooses among candidates. A frozen dataclass: its fields are its options, its docstring its description."""

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        """Choose from `candidates` what joins `pool`. The same arguments give the same answer."""


def checked(selection: Selection, n_candidates: int, stop: Stop, name: str) -> Selection:
    """`selection`, or ContractViolation where sampler `name` answered what its protocol forbids."""
    indices, distances = selection.indices, selection.distances
    if indices.ndim != 1 or indices.dtype != np.int64:
        raise ContractViolation(f"sampler {name} answers indices {indices.dtype} {indices.shape}, not int64 (K,)")
    if distances.shape != indices.shape or distances.dtype != np.float32:
        raise ContractViolation(
            f"sampler {name} answers distances {distances.dtype} {distances.shape}, not float32 {indices.shape}"
        )
    if len(indices) and not (indices.min() >= 0 and indices.max() < n_candidates):
        raise ContractViolation(f"sampler {name} chose a candidate that is none of the {n_candidates}")
    if len(np.unique(indices)) < len(indices):
        raise ContractViolation(f"sampler {name} chose a candidate twice")
    if len(indices) > stop.count(n_candidates):
        raise ContractViolation(f"sampler {name} chose {len(indices)}, more than n_samples {stop.n_samples} allows")
    return selection
