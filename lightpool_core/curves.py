"""Kept-count against distance: what farthest-first keeps at every min_distance, read off one ranking.

Distances along its picks never grow, so the first n picks are what a min_distance of the n-th distance keeps.
N: candidates. K: those that were ranked, all N where no stopping condition ended the ranking earlier.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lightpool_core.arrays import Distances, ExactDistances
from lightpool_core.errors import SettingsError
from lightpool_core.report import Problem

NOT_DIVERSITY = "a curve is that of the sampler diversity, which picks by distance"
_LARGEST = 2.0
_UNIT = 100_000
"""Distances that points lie on are whole multiples of 1/_UNIT, the smallest min_distance there is."""
_WIDE = _UNIT // 10
_WIDTHS = [_UNIT // part for part in (2, 10, 20, 100, 200, 1_000, 2_000, 10_000, 20_000, 100_000)]
"""Of gaps between points; each divides the one before."""


@dataclass(frozen=True, slots=True)
class Point:
    """So many are kept at this min_distance."""

    min_distance: float
    kept: int


@dataclass(frozen=True, slots=True)
class Curve:
    """How many of N candidates are kept at which min_distance.

    Right to the rounding of float32. A ranking that a stopping condition ended says nothing of what lies beyond:
    at smaller distances than its last one it answers K. Raises SettingsError where distances grow.
    """

    distances: Distances
    """(K,) of the picks in their order to the nearest kept at that moment; infinite where there was none."""
    candidates: int
    """N."""
    kept_before: int = 0
    """Samples that the candidates had to keep a distance from: those in the pool."""
    corrupt: tuple[Problem, ...] = ()
    """Raw files that were left out."""

    def __post_init__(self) -> None:
        if (self.distances[1:] > self.distances[:-1]).any():
            raise SettingsError(f"{NOT_DIVERSITY}; these distances grow")

    @property
    def ranked(self) -> int:
        """K."""
        return len(self.distances)

    def kept(self, min_distance: float) -> int:
        """How many are kept where no two may be closer than `min_distance`."""
        closer = int(np.searchsorted(self.distances[::-1], np.float32(min_distance), side="left"))
        return self.ranked - closer

    def distance(self, n_samples: int) -> float:
        """The largest min_distance, 0 to 2, that keeps `n_samples` of 1 to K; more where others are as far.

        Rounded down to six decimals. Raises SettingsError for a number outside of the curve.
        """
        if not 1 <= n_samples <= self.ranked:
            raise SettingsError(f"n_samples {n_samples} is not on the curve, which goes from 1 to {self.ranked}")
        return float(_rounded_down(self.distances[n_samples - 1 : n_samples])[0])

    def points(self, n: int = 25) -> list[Point]:
        """At most `n` points (5 or more) on round distances, from all to the fewest; closer where more is decided.

        A number of kept is told once, at the largest of the round distances that keeps so many. Where a stopping
        condition ended the ranking, its end is the first point.
        """
        ticks = list(range(0, 2 * _UNIT + 1, _WIDTHS[0]))
        while (finer := self._finer(ticks)) and len(self._telling(finer)) <= n:
            ticks = finer
        return self._telling(ticks)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: for every number of samples the min_distance that keeps it, see `distance`."""
        return {
            "candidates": self.candidates,
            "kept_before": self.kept_before,
            "n_samples": list(range(1, self.ranked + 1)),
            "min_distance": _rounded_down(self.distances).tolist(),
        }

    def to_json(self) -> str:
        """`to_dict` as one JSON object on one line."""
        return json.dumps(self.to_dict())

    def _finer(self, ticks: list[int]) -> list[int]:
        """`ticks` with the gap split that needs it most: a wide one, or one that decides a tenth of all."""
        gaps = []
        for a, b in pairwise(ticks):
            decided = self.kept(a / _UNIT) - self.kept(b / _UNIT)
            wide = b - a > _WIDE
            if b - a > 1 and (decided > 0 if wide else decided > max(1, self.ranked / 10)):
                gaps.append((wide, decided, a, b))
        if not gaps:
            return []
        _, _, a, b = max(gaps)
        return sorted({*ticks, *range(a, b, next(width for width in _WIDTHS if width < b - a))})

    def _telling(self, ticks: list[int]) -> list[Point]:
        """Points at `ticks`, without those that repeat a number and those beyond the end of the ranking."""
        if not self.ranked:
            return []
        end = self.distance(self.ranked) if self.ranked < self.candidates else 0.0
        distances = [end, *(tick / _UNIT for tick in ticks if tick / _UNIT > end)]
        points = [Point(distance, self.kept(distance)) for distance in distances]
        fewest = next(point for point in points if point.kept == points[-1].kept)
        return [*(point for point, after in pairwise(points) if point.kept > after.kept), fewest]


def _rounded_down(distances: Distances) -> ExactDistances:
    """Numbers that can be a min_distance, at or below the true distances, which float32 may have rounded up."""
    below = np.nextafter(distances, np.float32(0)).astype(np.float64)
    below = np.minimum(np.floor(below * 1e6) / 1e6, _LARGEST)
    return np.where(below < 1 / _UNIT, 0.0, below)
