"""Whole components of samples are dealt out to splits, so that each gets its share of all samples and of each label.

Stratified and grouped at once, greedily, largest component first, in the manner of Sechidis, Tsoumakas & Vlahavas,
On the Stratification of Multi-Label Data, 2011.
N: samples. C: components. S: splits.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lightpool_core.arrays import Labels, Rows
from lightpool_core.errors import SettingsError

_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Shares:
    """What share of the samples each split is to have, by name; above 0 each, 1 in all.

    Raises SettingsError for others.
    """

    wanted: Mapping[str, float]

    def __post_init__(self) -> None:
        for name, share in self.wanted.items():
            if not name:
                raise SettingsError("a split has no name; give shares like train=0.8,val=0.2")
            if not share > 0:
                raise SettingsError(f"the share {share:g} of split {name!r} is not above 0")
        total = math.fsum(self.wanted.values())
        if not abs(total - 1) <= _TOLERANCE:
            raise SettingsError(f"the shares of the splits sum to {total:.6g}, not to 1")

    @classmethod
    def parse(cls, text: str) -> Shares:
        """Those of a text like `train=0.8,val=0.2`."""
        shares: dict[str, float] = {}
        for part in text.split(","):
            name, equals, number = (piece.strip() for piece in part.partition("="))
            if name in shares:
                raise SettingsError(f"split {name!r} is given twice; each needs a name of its own")
            try:
                shares[name] = float(number)
            except ValueError:
                form = "give shares like train=0.8,val=0.2"
                problem = f"{number!r} is no number" if equals else "it has no share"
                raise SettingsError(f"split {name!r}: {problem}; {form}") from None
        return cls(shares)

    @property
    def names(self) -> tuple[str, ...]:
        """(S,) in the order in which they were given."""
        return tuple(self.wanted)

    def counts(self, n: int) -> list[int]:
        """(S,) how many of `n` samples are each split's share, by largest remainders."""
        exact = [share * n for share in self.wanted.values()]
        counts = [math.floor(count) for count in exact]
        by_remainder = sorted(range(len(exact)), key=lambda split: (counts[split] - exact[split], split))
        for split in by_remainder[: n - sum(counts)]:
            counts[split] += 1
        return counts


@dataclass(frozen=True, slots=True)
class Dealt:
    """Which split each sample goes to."""

    split: Rows
    """(N,) numbers of splits."""
    too_large: tuple[int, ...] = ()
    """Components that no split had room for, largest first."""


def deal(components: Rows, labels: Labels, shares: Shares, seed: int, kept: Rows | None = None) -> Dealt:
    """Deal `components` (N,), numbers from 0, out to the splits: all samples of a component to the same one.

    A component goes to a split with room for it: the one that lacks most of its share of the component's `labels`
    (N,) and then of its share of all, or where none has room the one that lacks most samples. No split stays
    empty while others have two components. `seed` orders components of one size.
    `kept` (N,) are the splits that samples have already, -1 for none: they keep them, and the others of their
    component follow, the majority where they disagree.
    """
    split = np.full(len(components), -1, dtype=np.int64) if kept is None else kept.copy()
    members = list(_members(components))
    piles = _Piles(shares, labels)
    piles.put(np.flatnonzero(split >= 0), split[split >= 0])
    for rows in members:
        held = split[rows][split[rows] >= 0]
        if 0 < len(held) < len(rows):
            followers = rows[split[rows] < 0]
            split[followers] = np.bincount(held).argmax()
            piles.put(followers, split[followers])
    open_ = [number for number, rows in enumerate(members) if split[rows[0]] < 0]
    chance = np.random.default_rng(seed).permutation(len(members))
    open_.sort(key=lambda number: (-len(members[number]), chance[number]))
    too_large = []
    for dealt, number in enumerate(open_):
        rows = members[number]
        best, has_room = piles.best(rows, left=len(open_) - dealt)
        if not has_room:
            too_large.append(number)
        split[rows] = best
        piles.put(rows, split[rows])
    return Dealt(split, tuple(too_large))


class _Piles:
    """What the splits hold so far."""

    def __init__(self, shares: Shares, labels: Labels) -> None:
        self._labels = labels.tolist()
        self._shares = list(shares.wanted.values())
        self._targets = shares.counts(len(labels))
        self._held = [0] * len(self._shares)
        self._held_of: list[defaultdict[int, int]] = [defaultdict(int) for _ in self._shares]
        self._n_of = Counter(self._labels)

    def put(self, rows: Rows, splits: Rows) -> None:
        for row, split in zip(rows.tolist(), splits.tolist(), strict=True):
            self._held[split] += 1
            self._held_of[split][self._labels[row]] += 1

    def best(self, rows: Rows, left: int) -> tuple[int, bool]:
        """The split for a component, one of `left` that are to be dealt, and whether it has room for it."""
        splits = range(len(self._shares))
        room = [target - held for target, held in zip(self._targets, self._held, strict=True)]
        empty = [split for split in splits if not self._held[split]]
        fitting = [split for split in splits if room[split] >= len(rows)]
        if left <= len(empty):
            fitting = [split for split in empty if split in fitting] or empty
        elif not fitting:
            fitting = [max(splits, key=room.__getitem__)]
        counts = Counter(self._labels[row] for row in rows.tolist())
        best = max(fitting, key=lambda split: (self._lack_of(split, counts), self._lack(split, len(rows)), -split))
        return best, room[best] >= len(rows)

    def _lack(self, split: int, n: int) -> float:
        """What the split would still lack of its share if it had `n` samples more, in units of that share."""
        return 1.0 - (self._held[split] + n) / (self._shares[split] * len(self._labels))

    def _lack_of(self, split: int, counts: Mapping[int, int]) -> float:
        """The same of its shares of labels, weighted by `counts`; a label that it would have enough of counts 0."""
        lack = 0.0
        for label, n in counts.items():
            after = (self._held_of[split][label] + n) / (self._shares[split] * self._n_of[label])
            lack += n * max(0.0, 1.0 - after)
        return round(lack, 9)  # what is a tie but for rounding is one


def _members(components: Rows) -> Iterator[Rows]:
    """The samples of each component, by its number."""
    order = np.argsort(components, kind="stable")
    starts = np.flatnonzero(np.diff(components[order], prepend=-1))
    for start, end in pairwise([*starts.tolist(), len(order)]):
        yield order[start:end]
