"""The sampler `at-most`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from lightpool_core import Candidates, PoolView, Selection, Stop


@dataclass(frozen=True)
class AtMost:
    """At most k new samples per label (a folder or a video), the most different first."""

    k: int = 10

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        """See lightpool_core.Sampler; deterministic, `rng` is not used."""
        rows = candidates.embeddings.astype(np.float64)
        nearest, _ = pool.nearest(candidates.embeddings)  # (N,), infinite where the pool is empty
        closest = stop.min_distance or 0.0
        left = np.ones(len(rows), dtype=bool)
        chosen: list[int] = []
        distances: list[float] = []
        per_label: Counter[int] = Counter()
        while len(chosen) < stop.count(len(rows)) and left.any():
            row = int(np.where(left, nearest, -1.0).argmax())
            label = int(candidates.labels[row])
            left[row] = False
            if nearest[row] < closest or per_label[label] == self.k:
                continue
            chosen.append(row)
            distances.append(nearest[row])
            per_label[label] += 1
            nearest = np.minimum(nearest, np.linalg.norm(rows - rows[row], axis=1))
        return Selection(np.array(chosen, dtype=np.int64), np.array(distances, dtype=np.float32))
