"""The Sampler protocol: which candidates join the pool.

N: candidates. M: rows in the pool, may be 0. K: chosen. Q: queries. D: dimension.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Distances, Embeddings, ExactDistances, Reach, Rows
from lightpool_core.candidates import Candidates
from lightpool_core.errors import ContractViolation
from lightpool_core.media.source import SampleRef
from lightpool_core.report import Achieved
from lightpool_core.selection.stop import Stop

_ROUNDING = 1e-6
"""Of a distance in float32."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen: `indices` (K,) into the candidates, in pick order, and `distances` (K,).

    A distance is Euclidean, to the nearest kept (pool and earlier picks) at the moment of the pick;
    infinite where nothing was kept yet.
    """

    indices: Rows
    distances: Distances
    achieved: tuple[Achieved, ...] = ()
    """What became of each objective, for samplers that have several."""


class PoolView(Protocol):
    """The pool as a sampler sees it: M unit rows to keep a distance from."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int: ...

    def near(self, queries: Embeddings) -> tuple[ExactDistances, Rows]:
        """Exact distance (Q,) to a row that is probably the nearest, and which (Q,); fast, however large the pool.

        Infinite and -1 where the pool is empty. A distance below min_distance proves a rejection.
        """

    def nearest(self, queries: Embeddings, within: Reach | None = None) -> tuple[ExactDistances, Rows]:
        """Exact distance (Q,) to the nearest row, and which (Q,); infinite and -1 where there is none.

        `within`, one distance for all or one for each (Q,), looks only for rows closer than that: the smaller,
        the faster.
        """

    def blocks(self) -> Iterator[Embeddings]:
        """All rows in order, some thousands at a time."""

    @property
    def refs(self) -> tuple[SampleRef, ...]:
        """Which pictures the rows are, (M,); empty where nobody knows."""

    @property
    def annotations(self) -> Annotations:
        """What else is known of the rows; a column that is there has M values."""


@runtime_checkable
class Sampler(Protocol):
    """Chooses among candidates. A frozen dataclass: its fields are its options, its docstring its description.

    Two attributes are optional. `queries`, a tuple of Query: their embeddings come in `Candidates.queries`.
    `metadata_keys`, a set of names: those that begin with `lightly.` are computed with the embeddings.
    So is a method `check_columns(candidates)`: before anything is decoded it is called with no candidates (N = 0) that
    have all columns of those to come, and raises SettingsError where what it will look at is not among them.
    """

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        """Choose from `candidates` what joins `pool`. The same arguments give the same answer.

        A fifth parameter `progress` is handed the run's Progress, to announce a stage "selecting" and advance it.
        """


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
    if stop.min_distance is not None and distances.min(initial=np.inf) < stop.min_distance - _ROUNDING:
        raise ContractViolation(f"sampler {name} keeps samples closer than min_distance {stop.min_distance}")
    return selection
