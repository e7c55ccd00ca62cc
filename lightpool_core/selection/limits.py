"""Limits of a selection beside distance: how many of one kind, and how near to each other in time.

N: candidates. G: groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from lightpool_core.arrays import Mask, Rows
from lightpool_core.candidates import Candidates
from lightpool_core.errors import ContractViolation, SettingsError
from lightpool_core.media.source import SampleRef
from lightpool_core.selection.groups import groups_of
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop

Moments: TypeAlias = npt.NDArray[np.complex128]
"""Number of a video + i · seconds since its beginning: complex numbers are sorted by the one, then by the other."""


@dataclass
class Limits:
    """Which candidates may still be chosen."""

    allowed: Mask
    """(N,)"""
    quotas: list[Quota] = field(default_factory=list)
    spacing: Spacing | None = None

    @classmethod
    def of(cls, candidates: Candidates, pool: PoolView, stop: Stop) -> Limits:
        """The limits of `stop`, with what the pool takes up of them. Raises SettingsError for an unknown key."""
        limits = cls(np.ones(len(candidates), dtype=bool))
        for key, most in stop.max_per.items():
            groups, kept = _groups(key, candidates), list[Any]()
            with suppress(SettingsError):  # nothing may be known of the pool
                kept = groups_of(key, pool.refs, None, pool.annotations)
            limits.quotas.append(Quota.of(groups, kept, most, stop.weight))
            limits.allowed[limits.quotas[-1].full()] = False
        if stop.min_seconds is not None:
            frames = [ref for ref in candidates.refs if ref.frame is not None]
            if frames and all(ref.time is None for ref in frames):
                raise SettingsError(
                    f"min_seconds {stop.min_seconds}: when frames are shown is not known from names such as"
                    f" {frames[0].filename}; choose from a pool or from raw input, or leave it out"
                )
            limits.spacing = Spacing(candidates.refs, stop.min_seconds)
            limits.allowed[limits.spacing.near(pool.refs)] = False
        return limits

    def take(self, row: int) -> None:
        """Candidate `row` is chosen."""
        self.allowed[row] = False
        for quota in self.quotas:
            self.allowed[quota.take(row)] = False
        if self.spacing:
            self.allowed[self.spacing.near_row(row)] = False


def respected(selection: Selection, candidates: Candidates, pool: PoolView, stop: Stop, name: str) -> Selection:
    """`selection`, or ContractViolation where sampler `name` chose beyond the limits of `stop`."""
    if stop.has_limits:
        limits = Limits.of(candidates, pool, stop)
        for row in selection.indices.tolist():
            if not limits.allowed[row]:
                raise ContractViolation(
                    f"sampler {name} chose {candidates.refs[row].filename} beyond the limits max_per or min_seconds;"
                    " choose another sampler, or leave the limits out"
                )
            limits.take(row)
    return selection


@dataclass
class Quota:
    """At most so many of each group."""

    group: Rows
    """(N,) number of the candidate's group; -1 for none, which has no limit."""
    left: Rows
    """(G,) how many more of it may be chosen."""
    weight: int = 1
    """What a candidate counts for."""

    @classmethod
    def of(cls, groups: Sequence[Any], kept: Sequence[Any], most: int, weight: int = 1) -> Quota:
        """Candidates and what is kept by their groups, None for none; at most `most` of each."""
        numbers: dict[Any, int] = {}
        group = [-1 if name is None else numbers.setdefault(name, len(numbers)) for name in groups]
        left = np.full(len(numbers), most, dtype=np.int64)
        for name in kept:
            if name in numbers:
                left[numbers[name]] -= 1
        return cls(np.array(group, dtype=np.int64), left, weight)

    def full(self) -> Mask:
        """(N,) those whose group is full."""
        return np.asarray((self.group >= 0) & np.append(self.left < self.weight, False)[self.group])

    def take(self, row: int) -> Rows | Mask:
        """Candidate `row` is chosen; the candidates that may not be any more."""
        group = self.group[row]
        if group < 0:
            return np.empty(0, dtype=np.int64)
        self.left[group] -= self.weight
        return self.group == group if self.left[group] < self.weight else np.empty(0, dtype=np.int64)


class Spacing:
    """Frames of one video, no two of them closer than some seconds."""

    def __init__(self, refs: Sequence[SampleRef], seconds: float) -> None:
        self._seconds = seconds
        self._numbers: dict[str, int] = {}
        timed = [row for row, ref in enumerate(refs) if ref.time is not None]
        for row in timed:
            self._numbers.setdefault(refs[row].source, len(self._numbers))
        moments = self._moments(refs)
        order = np.argsort(moments)
        self._sorted = moments[order]
        self._rows = np.array(timed, dtype=np.int64)[order]
        self._place = np.full(len(refs), -1, dtype=np.int64)
        self._place[self._rows] = np.arange(len(order))
        # For each a little more than what is near: sums are rounded, differences decide.
        self._windows = np.searchsorted(self._sorted, [self._sorted - seconds * 1j, self._sorted + seconds * 1j])

    def near(self, refs: Sequence[SampleRef]) -> Rows:
        """The candidates that are too close in time to one of the frames `refs`."""
        others = np.sort(self._moments(refs))
        if not len(others):
            return np.empty(0, dtype=np.int64)
        after = np.searchsorted(others, self._sorted)
        beside = others[np.clip([after - 1, after], 0, len(others) - 1)]
        return self._rows[self._are_near(beside, self._sorted).any(axis=0)]

    def near_row(self, row: int) -> Rows:
        """The candidates that are too close in time to candidate `row`, itself included."""
        place = self._place[row]
        if place < 0:
            return np.empty(0, dtype=np.int64)
        window = slice(*self._windows[:, place])
        return self._rows[window][self._are_near(self._sorted[window], self._sorted[place])]

    def _moments(self, refs: Sequence[SampleRef]) -> Moments:
        """Of those of `refs` that are frames of the candidates' videos, their video and time."""
        numbers = self._numbers
        known = [(numbers[ref.source], ref.time) for ref in refs if ref.time is not None and ref.source in numbers]
        return np.array(known, dtype=np.float64).reshape(-1, 2).view(np.complex128).ravel()

    def _are_near(self, a: Moments, b: Moments) -> Mask:
        # Times are rounded to microseconds: frames exactly so far apart are far enough.
        return np.asarray((a.real == b.real) & (np.abs(a.imag - b.imag) < self._seconds - 1e-6))


def _groups(key: str, candidates: Candidates) -> list[Any]:
    if not len(candidates):  # of none nothing need be known
        return []
    try:
        return groups_of(key, candidates.refs, candidates.labels, candidates.annotations)
    except SettingsError as error:
        raise SettingsError(f"max_per {error}") from error
