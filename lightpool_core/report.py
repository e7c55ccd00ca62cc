"""The account of one run, as values that add up."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

_Check: TypeAlias = Callable[[Any], bool]

PROMISED = frozenset({"version", "samples", "corrupt", "n_samples", "min_distance"})
"""Keys that every report has, of whichever lightpool; others came later."""


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """found = skipped + new; new = processed + duplicates + corrupt."""

    found: int = 0
    skipped: int = 0
    """Known to the ledger."""
    new: int = 0
    processed: int = 0
    duplicates: int = 0
    """Same bytes as another source."""
    corrupt: int = 0


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """decoded = candidates + duplicates; candidates = selected + rejected."""

    decoded: int = 0
    duplicates: int = 0
    """They look the same as another sample, or are in the pool already."""
    candidates: int = 0
    selected: int = 0
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """A source that was left out, or is shorter than it claims to be."""

    filename: str
    reason: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How the pictures were embedded, and what that took."""

    precision: str = ""
    """In which the embedder computed, and on what; empty where it does not say."""
    pictures_per_second: float = 0.0
    """Of this run; pictures whose embeddings were known from an earlier one are not counted."""
    bottleneck: str = ""
    """What the whole waited for: `decode`, `prepare` or `embed`; empty where nothing had to be embedded."""
    seconds: dict[str, float] = field(default_factory=dict)
    """`decode` and `prepare`, core time of the workers; `embed` and `wait`, wall time of the embedder."""
    by_key_frames: int = 0
    """Videos of which only key frames were decoded, because all that were to be sampled are key frames."""
    known: int = 0
    """Pictures whose embeddings an earlier run had written down."""


@dataclass(frozen=True, slots=True)
class Achieved:
    """How far the chosen meet one objective, so that a trade-off can be seen."""

    objective: str
    """Such as `BALANCE of METADATA weather`."""
    values: Mapping[str, float]
    """Of the chosen, by name: shares of classes, a mean, a distance."""
    targets: Mapping[str, float] = field(default_factory=dict)
    """What was asked for, by the same names, where something was."""


@dataclass(frozen=True, slots=True)
class Report:
    """What one run found, chose and changed."""

    pool: str
    version: int
    """The pool's newest version after the run."""
    pool_size: int
    """Samples in that version; in a dry run, as if it had been committed."""
    sources: SourceCounts
    samples: SampleCounts
    embedder: str
    sampler: str
    n_samples: int | float | None
    min_distance: float | None
    min_distance_from: str
    """`settings`, or `embedder` where its near-duplicate distance was taken."""
    min_seconds: float | None = None
    max_per: Mapping[str, int] = field(default_factory=dict)
    achieved: tuple[Achieved, ...] = ()
    """How far the chosen meet each objective of the sampler, where it has several."""
    dry_run: bool = False
    sequence_length: int | None = None
    """Frames of the sequences that were chosen in the place of single frames; null where none were."""
    run: str = ""
    """Name of the folder in `runs/`; empty where nothing was new or nothing was written."""
    corrupt: tuple[Problem, ...] = ()
    cut_short: tuple[Problem, ...] = ()
    """Sources that were decoded up to a broken place."""
    pace: Pace = Pace()
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time per stage."""

    def to_json(self) -> str:
        """One JSON object, keys as the fields."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def fits(report: object) -> bool:
    """True if what a file says may be a report, as far as its keys are there: a damaged pool may say anything."""
    return isinstance(report, dict) and all(check(report[key]) for key, check in _CHECKS.items() if key in report)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_limit(value: object) -> bool:
    return type(value) is int or (isinstance(value, float) and math.isfinite(value))


def _are_counts(value: object) -> bool:
    return isinstance(value, dict) and all(_is_count(value.get(name)) for name in ("candidates", "selected"))


def _are_problems(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("filename"), str) and isinstance(one.get("reason"), str)
        for one in value
    )


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


_CHECKS: Mapping[str, _Check] = {
    "version": _is_count,
    "samples": _are_counts,
    "corrupt": _are_problems,
    "sampler": lambda value: isinstance(value, str),
    "n_samples": _or_none(lambda value: _is_count(value) or (isinstance(value, float) and 0 <= value <= 1)),
    "min_distance": _or_none(_is_limit),
    "sequence_length": _or_none(_is_count),
}
"""What others read of a report."""


class Stopwatch:
    """Seconds by the name of what took them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - start, 3)
