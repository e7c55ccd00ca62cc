"""What every sampler in the box does: its contract, and the limits of a choice."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from lightpool_core.candidates import Candidates, Query
from lightpool_core.errors import ContractViolation, SettingsError
from lightpool_core.media.source import SampleRef, frame_name
from lightpool_core.proposal import choose
from lightpool_core.selection.sampler import PoolView, Sampler, Selection
from lightpool_core.selection.stop import Stop
from lightpool_core.testing import check_sampler
from lightpool_plugins.samplers.combined import Combined
from lightpool_plugins.samplers.diversity import Diversity
from lightpool_plugins.samplers.random import Random
from tests.annotated import annotated, nothing, pool_of
from tests.strategies import distance_matrix, unit_vectors

EMBEDDINGS = {"type": "EMBEDDINGS"}
DIVERSE = {"input": EMBEDDINGS, "strategy": {"type": "DIVERSITY"}}
LARGEST = {"input": {"type": "METADATA", "key": "width"}, "strategy": {"type": "WEIGHTS"}}
BALANCED = {"input": {"type": "METADATA", "key": "label"}, "strategy": {"type": "BALANCE", "distribution": "UNIFORM"}}
TYPICAL = {"input": EMBEDDINGS, "strategy": {"type": "TYPICALITY", "num_nearest_neighbors": 3}}
SIMILAR = {"input": {**EMBEDDINGS, "text": "fog"}, "strategy": {"type": "SIMILARITY"}}
LOTS = {"input": {"type": "RANDOM"}, "strategy": {"type": "WEIGHTS", "strength": 0.5}}
SHARP = {
    "input": {"type": "METADATA", "key": "lightly.sizeInBytes"},
    "strategy": {"type": "THRESHOLD", "threshold": 1, "operation": "BIGGER"},
}
EVERYTHING = (SHARP, DIVERSE, LARGEST, BALANCED, TYPICAL, SIMILAR, LOTS)


def combined(*strategies: Mapping[str, Any]) -> Combined:
    return Combined(strategies)


IN_THE_BOX: list[Sampler] = [Diversity(), Random(), *(combined(one) for one in EVERYTHING), combined(*EVERYTHING)]
ONCE: list[Sampler] = [Diversity(), Random(), combined(DIVERSE, LARGEST), combined(BALANCED, LOTS), combined(LARGEST)]


@pytest.mark.parametrize("sampler", IN_THE_BOX)
def test_the_samplers_in_the_box_keep_their_contract(sampler: Sampler) -> None:
    check_sampler(sampler)


def delivery(n: int = 60) -> Candidates:
    """Frames of two videos, two a second, and pictures in two folders; sizes and cameras."""
    rng = np.random.default_rng(0)
    third = n // 3
    refs = [SampleRef(frame_name(f"{v}.mp4", i, third), f"{v}.mp4", i, i / 2) for v in "ab" for i in range(third)]
    refs += [SampleRef(f"{i % 2}/{i}.png", f"{i % 2}/{i}.png") for i in range(n - 2 * third)]
    about = annotated(
        n,
        {"width": rng.integers(100, 900, n).tolist(), "camera": rng.choice(["left", "right"], n).tolist()},
        embeddings=unit_vectors(n, 4),
        labels=rng.integers(0, 4, n).tolist(),
    )
    return Candidates(about.embeddings, about.labels, tuple(refs), annotations=about.annotations)


def run(sampler: Sampler, candidates: Candidates, stop: Stop, pool: PoolView | None = None) -> Selection:
    return choose(candidates, pool or nothing(), sampler, stop, seed=0)


@pytest.mark.parametrize("sampler", ONCE)
def test_limits_hold_for_every_sampler_in_the_box_and_end_no_choice_early(sampler: Sampler) -> None:
    candidates = delivery()
    stop = Stop(min_distance=0.1, min_seconds=1.5, max_per={"video": 5, "folder": 25, "camera": 14})
    found = run(sampler, candidates, stop).indices.tolist()

    def breaks(rows: list[int]) -> bool:
        refs = [candidates.refs[row] for row in rows]
        cameras = Counter(candidates.annotations.metadata["camera"][row] for row in rows)
        videos = Counter(ref.source for ref in refs if ref.frame is not None)
        folders = Counter(ref.source.rpartition("/")[0] for ref in refs)
        near = any(
            a.source == b.source and abs(a.time - b.time) < 1.5
            for a, b in combinations([ref for ref in refs if ref.time is not None], 2)
        )
        counts = (max(counter.values(), default=0) for counter in (videos, folders, cameras))
        return near or any(count > most for count, most in zip(counts, (5, 25, 14), strict=True))

    def is_near(row: int) -> bool:
        return bool(distance_matrix(candidates.embeddings[[row]], candidates.embeddings[found]).min() < 0.1)

    assert len(found) > 10
    assert not breaks(found)
    assert all(breaks([*found, row]) or is_near(row) for row in range(60) if row not in found)


@pytest.mark.parametrize("sampler", ONCE)
def test_limits_count_what_the_pool_has(sampler: Sampler) -> None:
    candidates = delivery()
    pool = pool_of(candidates.take(np.array([0, 1, 2, 25])))
    fresh = candidates.take(np.arange(30, 60))
    found = run(sampler, fresh, Stop(max_per={"video": 3}), pool).indices
    chosen = Counter(fresh.refs[row].source for row in found if fresh.refs[row].frame is not None)
    assert chosen == {"b.mp4": 2}
    far = run(sampler, fresh, Stop(min_seconds=2.0), pool).indices
    times = [fresh.refs[row].time for row in far if fresh.refs[row].source == "b.mp4"]
    assert times
    assert min(abs(time - candidates.refs[25].time) for time in times) >= 2.0


@pytest.mark.parametrize("sampler", ONCE)
def test_limits_that_bind_nowhere_change_nothing(sampler: Sampler) -> None:
    candidates = delivery()
    for stop in (Stop(20), Stop(min_distance=0.3)):
        wide = Stop(stop.n_samples, stop.min_distance, 0.0, {"video": 99})
        free, bound = run(sampler, candidates, stop), run(sampler, candidates, wide)
        assert bound.indices.tolist() == free.indices.tolist()
        assert bound.distances.tolist() == free.distances.tolist()


@pytest.mark.parametrize("sampler", ONCE)
def test_an_unknown_key_of_max_per_is_told(sampler: Sampler) -> None:
    with pytest.raises(
        SettingsError,
        match="max_per lens: these samples have no metadata of that name; there are folder, label, video, camera",
    ):
        run(sampler, delivery(), Stop(max_per={"lens": 1}))


@dataclass(frozen=True)
class Stranger:
    """The first ones, whatever the limits."""

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        n = stop.count(len(candidates))
        return Selection(np.arange(n), np.full(n, np.inf, dtype=np.float32))


def test_a_strangers_sampler_that_ignores_limits_is_blamed() -> None:
    for limits in ({"min_seconds": 5.0}, {"max_per": {"video": 1}}):
        with pytest.raises(ContractViolation) as caught:
            run(Stranger(), delivery(), Stop(2, **limits))
        assert str(caught.value).startswith("sampler Stranger chose a-01-mp4.png beyond the limits")
    assert len(run(Stranger(), delivery(), Stop(1, min_seconds=5.0)).indices) == 1


def test_combined_says_what_it_wants_to_know() -> None:
    sampler = combined(*EVERYTHING)
    assert sampler.queries == (Query(text="fog"),)
    assert sampler.metadata_keys == {"width", "label", "lightly.sizeInBytes"}
    assert pickle.loads(pickle.dumps(sampler)) == sampler


def test_combined_refuses_strategies_that_make_no_sense_when_it_is_made() -> None:
    with pytest.raises(SettingsError, match=r"strategies\[1\].strategy.type 'DIVERSTY' is unknown"):
        combined(LARGEST, {"input": EMBEDDINGS, "strategy": {"type": "DIVERSTY"}})


def test_combined_tells_what_it_achieved_and_announces_its_stage() -> None:
    found = run(combined(DIVERSE, LARGEST, BALANCED), delivery(), Stop(10))
    assert [one.objective for one in found.achieved] == [
        "DIVERSITY of EMBEDDINGS",
        "WEIGHTS of METADATA width",
        "BALANCE of METADATA label",
    ]
    assert sum(found.achieved[2].values.values()) == pytest.approx(1)
