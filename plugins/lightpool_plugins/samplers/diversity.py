"""The sampler `diversity`."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lightpool_core.candidates import Candidates
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.greedy import Goals, greedy
from lightpool_core.selection.limits import Limits
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop


@dataclass(frozen=True)
class Diversity:
    """Farthest-first traversal: what differs most from the pool and from all earlier picks comes first."""

    device: str = field(default="auto", metadata={"runtime": True})

    def select(
        self,
        candidates: Candidates,
        pool: PoolView,
        stop: Stop,
        rng: np.random.Generator,
        progress: Progress = SILENT,
    ) -> Selection:
        """See Sampler; deterministic, `rng` is not used."""
        if stop.has_limits:
            limits = Limits.of(candidates, pool, stop)
            goals = Goals(diversity=1.0)
            kept = greedy(candidates.embeddings, pool, stop, goals, limits, device=self.device, progress=progress)
            return kept.picks.selection
        return farthest_first(candidates.embeddings, pool, stop, device=self.device, progress=progress)
