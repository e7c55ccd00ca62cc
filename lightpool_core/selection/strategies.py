"""What a selection is to achieve: strategies, each an objective over one input, in the words of Lightly's configs.

The form of the configs: https://docs.lightly.ai/docs/selection. C: categories.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lightpool_core.candidates import Query

InputType = Literal["EMBEDDINGS", "METADATA", "SCORES", "PREDICTIONS", "RANDOM"]
StrategyType = Literal["DIVERSITY", "WEIGHTS", "THRESHOLD", "BALANCE", "SIMILARITY", "TYPICALITY"]
Operation = Literal["SMALLER", "SMALLER_EQUAL", "BIGGER", "BIGGER_EQUAL"]
Distribution = Literal["TARGET", "UNIFORM", "INPUT"]


@dataclass(frozen=True, slots=True)
class Input:
    """What an objective looks at; which of the fields count depends on the type."""

    type: InputType
    key: str = ""
    """Of METADATA: nested ones by dots."""
    task: str = ""
    """Of SCORES and PREDICTIONS; '' where scores are known by their name alone."""
    score: str = ""
    name: Literal["", "CLASS_DISTRIBUTION", "CATEGORY_COUNT"] = ""
    """Of PREDICTIONS."""
    categories: tuple[str, ...] = ()
    """Of PREDICTIONS CATEGORY_COUNT: those that are counted; none for all."""
    random_seed: int | None = None
    """Of RANDOM; None for the seed of the run."""
    query: Query | None = None
    """Of EMBEDDINGS, with SIMILARITY: what to look for."""

    def __str__(self) -> str:
        """Such as `METADATA weather`."""
        query = f"like {self.query}" if self.query else ""
        names = (self.type, self.task, self.key or self.score or self.name, ", ".join(self.categories), query)
        return " ".join(name for name in names if name)


@dataclass(frozen=True, slots=True)
class Strategy:
    """One objective of a selection."""

    input: Input
    type: StrategyType
    strength: float = 1.0
    """Exponent of the objective; below 0 it is turned round."""
    threshold: float = 0.0
    operation: Operation = "BIGGER"
    distribution: Distribution = "TARGET"
    target: Mapping[str, float] = field(default_factory=dict)
    """Of BALANCE with TARGET: wanted shares by category or value, sum 1."""
    n_neighbours: int = 20
    """Of TYPICALITY."""
    min_distance: float | None = None
    """Of DIVERSITY: `stopping_condition_minimum_distance`; what is closer is skipped."""
    place: str = "strategies[0]"
    """Where it stands in the config, for messages."""

    def __str__(self) -> str:
        """Such as `BALANCE of METADATA weather`."""
        return f"{self.type} of {self.input}"
