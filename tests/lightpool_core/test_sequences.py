from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.annotations import Annotations, Predictions
from lightpool_core.arrays import unit_rows
from lightpool_core.candidates import Candidates, Query
from lightpool_core.errors import ContractViolation, SourceError
from lightpool_core.media.source import SampleRef, frame_name
from lightpool_core.proposal import choose
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.stop import Stop
from lightpool_core.sequences import expanded, explain_sequences, in_sequences, stop_in_sequences, write_information
from lightpool_plugins.samplers.combined import Combined
from lightpool_plugins.samplers.diversity import Diversity
from lightpool_plugins.samplers.random import Random
from tests.strategies import distance_matrix, unit_vectors


def frames(name: str, n: int, step: int = 10) -> list[SampleRef]:
    """Every `step`-th frame of a video at 10 frames per second."""
    return [SampleRef(frame_name(name, i * step, n * step), name, i * step, i * step / 10) for i in range(n)]


def candidates(refs: list[SampleRef], kind: str = "walk", **more: Any) -> Candidates:
    labels = np.array([len(ref.source) for ref in refs], dtype=np.int64)
    digests = tuple(f"{i:032x}" for i in range(len(refs)))
    return Candidates(unit_vectors(len(refs), 6, kind), labels, tuple(refs), digests, **more)


MIXED = [
    SampleRef("a.jpg", "a.jpg"),
    *frames("b.mp4", 7),
    SampleRef("c.png", "c.png"),
    *frames("dd.mp4", 3),
    *frames("e.mp4", 2),
]


def test_videos_are_cut_into_whole_chunks_and_what_is_left_is_in_none() -> None:
    given = candidates(MIXED)
    sequences, rows = in_sequences(given, 3)
    assert rows.tolist() == [[1, 2, 3], [4, 5, 6], [9, 10, 11]]
    assert sequences.filenames == ["b-00-mp4.png", "b-30-mp4.png", "dd-00-mp4.png"]
    assert sequences.labels.tolist() == [5, 5, 6]
    assert sequences.digests == tuple(given.digests[i] for i in (1, 4, 9))
    for mean, three in zip(sequences.embeddings, rows, strict=True):
        expected = given.embeddings[three].astype(np.float64).mean(axis=0)
        assert np.allclose(mean, expected / np.linalg.norm(expected), atol=1e-6)


def test_frames_are_taken_in_the_order_of_the_video() -> None:
    refs = frames("v.mp4", 6)
    mixed = [refs[i] for i in (4, 0, 5, 2, 1, 3)]
    _, rows = in_sequences(candidates(mixed), 3)
    assert [[mixed[i].frame for i in three] for three in rows] == [[0, 10, 20], [30, 40, 50]]


@pytest.mark.parametrize("refs", [[], MIXED[:1], frames("v.mp4", 2)], ids=["none", "image", "short"])
def test_without_a_whole_chunk_there_is_no_candidate(refs: list[SampleRef]) -> None:
    sequences, rows = in_sequences(candidates(refs), 3)
    assert (len(sequences), rows.shape, sequences.embeddings.shape) == (0, (0, 3), (0, 6))
    chosen = choose(candidates(refs), ArrayView(unit_vectors(2, 6)), Diversity(), Stop(), seed=0, sequence_length=3)
    assert len(chosen.indices) == len(chosen.distances) == 0


def test_frames_that_point_everywhere_at_once_are_stood_for_by_the_first() -> None:
    east = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, 1, 0]], np.float32)
    given = Candidates(east, np.zeros(4, np.int64), tuple(frames("v.mp4", 4)))
    assert in_sequences(given, 2)[0].embeddings.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_what_is_known_of_the_frames_is_merged() -> None:
    nan = float("nan")
    metadata = {
        "sharpness": np.array([1.0, 3.0, nan, 5.0, nan, nan]),
        "width": np.array([640] * 4 + [320] * 2, np.int32),
        "weather": np.array(["sun", "rain", None, "fog", "fog", "fog"], object),
    }
    scores = {"detector/entropy": np.array([0.2, 0.4, 0.5, nan, 0.1, 0.3])}
    counts = np.array([[1, 0], [3, 0], [nan, nan], [0, 4], [nan, nan], [nan, nan]])
    found = Predictions(("car", "bus"), counts, counts / 4)
    annotations = Annotations(metadata, scores, {"detector": found})
    query = Query(text="fog")
    given = candidates(frames("v.mp4", 6), annotations=annotations, queries={query: unit_vectors(2, 6)})
    sequences, _ = in_sequences(given, 2)
    merged = sequences.annotations
    np.testing.assert_array_equal(merged.metadata["sharpness"], [2, 5, nan])
    np.testing.assert_array_equal(merged.metadata["width"], [640, 640, 320])
    assert merged.metadata["weather"].tolist() == ["sun", None, "fog"]
    np.testing.assert_allclose(merged.scores["detector/entropy"], [0.3, 0.5, 0.2])
    np.testing.assert_array_equal(merged.predictions["detector"].counts, [[2, 0], [0, 4], [nan, nan]])
    np.testing.assert_array_equal(merged.predictions["detector"].shares, [[0.5, 0], [0, 1], [nan, nan]])
    assert sequences.queries is given.queries


@pytest.mark.parametrize(
    ("n_samples", "sequences"), [(None, None), (7, 2), (2, 0), (6, 2), (100, 6), (0.5, 3), (1.0, 6), (0.0, 0)]
)
def test_n_samples_counts_frames(n_samples: float | None, sequences: int | None) -> None:
    assert stop_in_sequences(Stop(n_samples, 0.1), 20, 3) == Stop(sequences, 0.1, weight=3)


@pytest.mark.parametrize(("most", "in_pool", "chosen"), [(6, 0, 6), (7, 0, 6), (7, 1, 6), (7, 2, 3), (1, 0, 0)])
def test_limits_count_frames(most: int, in_pool: int, chosen: int) -> None:
    given = candidates([*frames("v.mp4", 12), *frames("w.mp4", 2)])
    refs = tuple(SampleRef(f"v-{i}-mp4.png", "v.mp4", i, i / 10) for i in range(1000, 1000 + in_pool))
    view, stop = ArrayView(unit_vectors(in_pool, 6, seed=3), refs=refs), Stop(max_per={"video": most})
    strategies = ({"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}},)
    selection = choose(given, view, Combined(strategies), stop, seed=0, sequence_length=3)
    assert len(selection.indices) == chosen


def test_chosen_sequences_become_their_frames_at_their_distance() -> None:
    rows = np.array([[3, 4], [7, 8], [9, 10]])
    frames = expanded(Selection(np.array([2, 0]), np.array([np.inf, 0.5], np.float32)), rows)
    assert frames.indices.tolist() == [9, 10, 3, 4]
    assert frames.distances.tolist() == [np.inf, np.inf, 0.5, 0.5]
    assert frames.distances.dtype == np.float32


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(0, 13), max_size=5),
    st.integers(2, 5),
    st.none() | st.integers(0, 30) | st.floats(0, 1),
    st.none() | st.floats(0.01, 1),
    st.sampled_from([Diversity(), Random()]),
    st.integers(0, 5),
)
def test_any_choice_is_of_whole_sequences_that_keep_their_distance(
    lengths: list[int], length: int, n: float | None, apart: float | None, sampler: Diversity | Random, in_pool: int
) -> None:
    refs = [ref for number, count in enumerate(lengths) for ref in frames(f"{number}.mp4", count)]
    given = candidates([*refs, SampleRef("z.jpg", "z.jpg")])
    pool, stop = unit_vectors(in_pool, 6, seed=9), Stop(n, apart)
    chosen = choose(given, ArrayView(pool), sampler, stop, seed=0, sequence_length=length)
    sequences, rows = in_sequences(given, length)
    assert len(chosen.indices) <= stop.count(len(given))
    assert len(chosen.indices) % length == 0
    whole = chosen.indices.reshape(-1, length)
    picks = [rows.tolist().index(three) for three in whole.tolist()]
    kept = np.concatenate([pool, sequences.embeddings[picks]])
    for i, distance in enumerate(chosen.distances[::length]):
        nearest = distance_matrix(kept[in_pool + i : in_pool + i + 1], kept[: in_pool + i]).min(initial=np.inf)
        assert distance == pytest.approx(nearest, abs=1e-6)
        assert apart is None or distance >= apart - 1e-6
    if apart is None:
        assert len(picks) == min(len(rows), stop.count(len(given)) // length)


def test_a_sampler_is_held_to_its_contract_by_sequences() -> None:
    class TooNear:
        def select(self, candidates, pool, stop, rng):  # type: ignore[no-untyped-def]
            return Selection(np.arange(2), np.array([np.inf, 0.1], np.float32))

    with pytest.raises(ContractViolation, match="TooNear keeps samples closer"):
        choose(
            candidates(frames("v.mp4", 6)), ArrayView(np.empty((0, 6), np.float32)), TooNear(), Stop(None, 0.5),
            seed=0, sequence_length=3,
        )  # fmt: skip


def test_reasons_are_those_of_the_sequence() -> None:
    angles = np.radians([0, 2, 90, 92, 4, 6, 180, 50])
    rows = unit_rows(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    refs = (*frames("v.mp4", 6), *frames("w.mp4", 1), SampleRef("z.jpg", "z.jpg"))
    given = Candidates(rows, np.zeros(8, np.int64), refs)
    pool = unit_rows(np.array([[0.0, -1.0]]))
    selection = Selection(np.array([2, 3, 0, 1]), np.array([1.9, 1.9, 1.4, 1.4], np.float32))
    reasons = explain_sequences(given, selection, ArrayView(pool), 2)
    assert reasons.ranks.tolist() == [3, 4, 1, 2, 0, 0, 0, 0]
    assert reasons.sequences.tolist() == [0, 0, 2, 2, 4, 4, -1, -1]
    # Kept are the pool's row 0, then 90° and 92° as rows 1 and 2, then 0° and 2° as rows 3 and 4.
    assert reasons.nearest.tolist() == [-1, -1, -1, -1, 3, 3, -1, -1]
    assert reasons.distances[[0, 2]] == pytest.approx([1.4, 1.9])
    assert reasons.distances[[4, 5]] == pytest.approx(2 * np.sin(np.radians(4) / 2))
    assert np.isinf(reasons.distances[[6, 7]]).all()


def test_a_sequence_near_the_pool_is_stood_for_by_the_pool() -> None:
    given = candidates(frames("v.mp4", 4))
    sequences, _ = in_sequences(given, 2)
    pool = np.concatenate([-sequences.embeddings[:1], sequences.embeddings[1:]])
    nothing = Selection(np.empty(0, np.int64), np.empty(0, np.float32))
    reasons = explain_sequences(given, nothing, ArrayView(pool), 2)
    assert reasons.nearest[2:].tolist() == [1, 1]
    assert reasons.distances[2:] == pytest.approx(0, abs=1e-6)
    in_empty = explain_sequences(given, nothing, ArrayView(pool[:0]), 2)
    assert in_empty.nearest.tolist() == [-1] * 4
    assert in_empty.sequences.tolist() == [0, 0, 2, 2]


def test_the_information_is_that_of_lightly(tmp_path: Path) -> None:
    known = frames("sub/v.mp4", 4)
    named = [SampleRef("w-3-mp4.png", "w.mp4", 3), SampleRef("w-4-mp4.png", "w.mp4", 4)]
    write_information(tmp_path, [*known[2:], *named], 2)
    assert json.loads((tmp_path / "sequence_information.json").read_text(encoding="utf-8")) == [
        {
            "video_name": "sub/v.mp4",
            "frame_names": ["sub/v-20-mp4.png", "sub/v-30-mp4.png"],
            "frame_timestamps_pts": [2_000_000, 3_000_000],
            "frame_timestamps_sec": [2.0, 3.0],
            "frame_indices": [20, 30],
        },
        {
            "video_name": "w.mp4",
            "frame_names": ["w-3-mp4.png", "w-4-mp4.png"],
            "frame_timestamps_pts": [None, None],
            "frame_timestamps_sec": [None, None],
            "frame_indices": [3, 4],
        },
    ]
    with pytest.raises(SourceError, match="cannot be written"):
        write_information(tmp_path / "missing", known, 2)
