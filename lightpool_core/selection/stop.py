"""When a selection ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from lightpool_core.errors import SettingsError

SMALLEST = 1e-5
"""Minimum distance that float32 can tell from 0."""


@dataclass(frozen=True, slots=True)
class Stop:
    """When a selection ends: at whichever condition is met first; None is off.

    n_samples: an int is a count of new samples, a float in [0, 1] a fraction of the candidates.
    min_distance: Euclidean, 0 to 2; no two of the kept are closer, a candidate at exactly it is kept.
    min_seconds: no two chosen frames of one video are closer in time.
    max_per: at most so many chosen for each video, folder, label or value of a metadata key, the pool's included.
    weight: what each candidate counts for in max_per: the frames of a sequence.
    """

    n_samples: int | float | None = None
    min_distance: float | None = None
    min_seconds: float | None = None
    max_per: Mapping[str, int] = field(default_factory=dict)
    weight: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.n_samples, float) and not 0 <= self.n_samples <= 1:
            raise SettingsError(
                f"n_samples {self.n_samples} is no fraction from 0 to 1; write a whole number for a count, -1 for off"
            )
        if self.n_samples is not None and self.n_samples < 0:
            raise SettingsError(f"n_samples {self.n_samples} is negative; give a count, a fraction, or -1 for off")
        if self.min_distance is not None and 0 < self.min_distance < SMALLEST:
            raise SettingsError(
                f"min_distance {self.min_distance} is below {SMALLEST}, what float32 can tell; 0 keeps everything"
            )
        if self.min_distance is not None and not 0 <= self.min_distance <= 2:
            raise SettingsError(
                f"min_distance {self.min_distance} is not from 0 to 2, the distances that unit vectors"
                " can have; -1 is off"
            )
        if self.min_seconds is not None and not 0 <= self.min_seconds < math.inf:
            raise SettingsError(f"min_seconds {self.min_seconds} is no number of seconds from 0 up; -1 is off")
        for key, most in self.max_per.items():
            if not key:
                raise SettingsError("max_per has a limit for no key; name video, folder, label or a metadata key")
            if isinstance(most, bool) or not isinstance(most, int) or most < 1:
                raise SettingsError(f"max_per {key} {most} is no whole number from 1 up; -1 is off")

    @classmethod
    def of(
        cls,
        n_samples: int | float | None,
        min_distance: float | None,
        min_seconds: float | None = None,
        max_per: Mapping[str, int] | None = None,
    ) -> Stop:
        """The same conditions with -1 read as off, as settings files write it."""
        return cls(
            None if n_samples == -1 else n_samples,
            None if min_distance == -1 else min_distance,
            None if min_seconds == -1 else min_seconds,
            {key: most for key, most in (max_per or {}).items() if most != -1},
        )

    @property
    def has_limits(self) -> bool:
        """True if not only distances and a count limit the choice."""
        return bool(self.max_per) or self.min_seconds is not None

    def count(self, n_candidates: int) -> int:
        """The most that may be chosen from so many candidates; a fraction is rounded down."""
        if self.n_samples is None:
            return n_candidates
        if isinstance(self.n_samples, float):
            return math.floor(self.n_samples * n_candidates + 1e-9)
        return min(self.n_samples, n_candidates)
