"""The sampler `combined`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from lightpool_core.candidates import Candidates, Query
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.combined import check_inputs, combined
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop
from lightpool_core.selection.strategies import Strategy
from lightpool_core.selection.strategy_config import parsed_strategies


@dataclass(frozen=True)
class Combined:
    """Several objectives at once: diversity, weights, balance, similarity, typicality; as a selection config asks."""

    strategies: tuple[Mapping[str, Any], ...]
    device: str = field(default="auto", metadata={"runtime": True})

    def __post_init__(self) -> None:
        parsed_strategies(self.strategies)

    @property
    def queries(self) -> tuple[Query, ...]:
        """What candidates are to be compared with."""
        return tuple(strategy.input.query for strategy in self._parsed if strategy.input.query)

    @property
    def metadata_keys(self) -> frozenset[str]:
        """What has to be known of candidates."""
        return frozenset(strategy.input.key for strategy in self._parsed if strategy.input.key)

    def check_columns(self, candidates: Candidates) -> None:
        """See Sampler."""
        check_inputs(self._parsed, candidates)

    def select(
        self,
        candidates: Candidates,
        pool: PoolView,
        stop: Stop,
        rng: np.random.Generator,
        progress: Progress = SILENT,
    ) -> Selection:
        """See Sampler; `rng` draws the lots of RANDOM."""
        return combined(self._parsed, candidates, pool, stop, rng, device=self.device, progress=progress)

    @cached_property
    def _parsed(self) -> tuple[Strategy, ...]:
        return parsed_strategies(self.strategies)
