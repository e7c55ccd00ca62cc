"""The sampler `random`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lightpool_core.candidates import Candidates
from lightpool_core.selection.in_order import in_order
from lightpool_core.selection.limits import Limits
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop


@dataclass(frozen=True)
class Random:
    """A random order drawn from the pool's seed: the baseline that every other sampler has to beat."""

    device: str = field(default="auto", metadata={"runtime": True})

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        """See Sampler."""
        order, limits = rng.permutation(len(candidates)), Limits.of(candidates, pool, stop)
        return in_order(candidates.embeddings, order, pool, stop, limits, device=self.device)
