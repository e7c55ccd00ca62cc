from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.candidates import Candidates
from lightpool_core.errors import ContractViolation, SettingsError
from lightpool_core.media.source import SampleRef, frame_name, ref_of
from lightpool_core.selection.limits import Limits, Quota, Spacing, respected
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import Selection
from lightpool_core.selection.stop import Stop
from tests.annotated import annotated, nothing, pool_of


def frames(video: str, *seconds: float) -> list[SampleRef]:
    return [SampleRef(frame_name(video, i, 99), video, i, time) for i, time in enumerate(seconds)]


def pictures(*names: str) -> list[SampleRef]:
    return [SampleRef(name, name) for name in names]


def of(refs: list[SampleRef], metadata: Mapping[str, Any] | None = None, **more: Any) -> Candidates:
    return dataclasses.replace(annotated(len(refs), metadata, **more), refs=tuple(refs))


def taken_in_order(candidates: Candidates, stop: Stop, pool: ArrayView | None = None) -> list[int]:
    """What may be taken, always the first."""
    limits = Limits.of(candidates, pool or nothing(), stop)
    taken = []
    while limits.allowed.any():
        taken.append(int(limits.allowed.argmax()))
        limits.take(taken[-1])
    return taken


CLIPS = [*frames("a/1.mp4", 0, 1, 2, 3), *frames("a/2.mp4", 0, 1, 2), *pictures("a/x.png", "b/y.png", "z.png")]


@pytest.mark.parametrize(
    ("key", "most", "taken"),
    [
        ("video", 2, [0, 1, 4, 5, 7, 8, 9]),
        ("video", 1, [0, 4, 7, 8, 9]),
        ("folder", 1, [0, 8, 9]),
        ("label", 3, [0, 1, 2, 4, 5, 6]),
        ("camera", 2, [0, 1, 2, 3, 8, 9]),
        ("speed", 1, [0, 3, 8, 9]),
    ],
)
def test_at_most_so_many_of_each_video_folder_label_or_value(key: str, most: int, taken: list[int]) -> None:
    """Pictures are of no video, and what is unknown is of no group: these have no limit."""
    about = {"camera": ["l", "r"] * 4 + [None] * 2, "speed": [1.0] * 3 + [2.0] * 5 + [np.nan] * 2}
    candidates = of(CLIPS, about, labels=[0] * 4 + [1] * 6)
    assert taken_in_order(candidates, Stop(max_per={key: most})) == taken


def test_what_the_pool_has_takes_up_room() -> None:
    kept = [*frames("a/1.mp4", 7, 8), *pictures("b/other.png")]
    pool = pool_of(of(kept, {"camera": ["l", "l", None], "weak_label": [1, 1, 5]}))
    candidates = of(CLIPS, {"camera": ["l"] * 10}, labels=[1] * 10)
    for key, most, left in (
        ("video", 3, [0, 4, 5, 6, 7, 8, 9]),
        ("video", 2, [4, 5, 7, 8, 9]),
        ("folder", 1, [9]),
        ("camera", 5, [0, 1, 2]),
        ("label", 4, [0, 1]),
        ("label", 1, []),
    ):
        assert taken_in_order(candidates, Stop(max_per={key: most}), pool) == left


def test_metadata_called_as_the_weak_label_comes_first() -> None:
    candidates = of(CLIPS, {"label": ["x"] * 5 + ["y"] * 5}, labels=list(range(10)))
    assert taken_in_order(candidates, Stop(max_per={"label": 1})) == [0, 5]


def test_where_nothing_is_known_of_the_pool_it_takes_up_no_room() -> None:
    bare = ArrayView(annotated(3).embeddings)
    candidates = of(CLIPS, {"camera": ["l"] * 10})
    for key in ("camera", "label", "video", "folder"):
        assert taken_in_order(candidates, Stop(max_per={key: 1}), bare)


def test_several_limits_hold_together() -> None:
    candidates = of(CLIPS, {"camera": ["l", "r"] * 5})
    stop = Stop(max_per={"video": 3, "camera": 2}, min_seconds=2)
    assert taken_in_order(candidates, stop) == [0, 2, 5, 7]


def test_a_candidate_that_counts_for_several_needs_room_for_all_of_them() -> None:
    """A sequence counts for its frames."""
    candidates = of(frames("a.mp4", *range(6)))
    for most, n in ((3, 0), (4, 1), (7, 1), (8, 2)):
        assert len(taken_in_order(candidates, Stop(max_per={"video": most}, weight=4))) == n
    pool = pool_of(of(frames("a.mp4", 9)))
    assert len(taken_in_order(candidates, Stop(max_per={"video": 8}, weight=4), pool)) == 1


def test_seconds_hold_between_frames_of_one_video_and_not_between_pictures() -> None:
    assert taken_in_order(of(CLIPS), Stop(min_seconds=2)) == [0, 2, 4, 6, 7, 8, 9]
    assert taken_in_order(of(CLIPS), Stop(min_seconds=0)) == list(range(10))


def test_seconds_hold_to_frames_in_the_pool() -> None:
    pool = pool_of(of([*frames("a/2.mp4", 1.5), *frames("gone.mp4", 0), *pictures("a/x.png")]))
    assert taken_in_order(of(CLIPS), Stop(min_seconds=1.5), pool) == [0, 2, 4, 7, 8, 9]


def test_frames_at_exactly_the_seconds_are_far_enough() -> None:
    """Times are rounded: a tenth of a second is not what it seems."""
    times = [round(i / 10, 6) for i in range(100)]
    assert taken_in_order(of(frames("a.mp4", *times)), Stop(min_seconds=0.3)) == list(range(0, 100, 3))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20)), max_size=30), st.floats(0, 5), st.integers(1, 5))
def test_what_is_taken_keeps_the_limits_and_what_is_left_would_break_them(
    clips: list[tuple[str, float]], seconds: float, most: int
) -> None:
    refs = [SampleRef(f"{i}.png", f"{video}.mp4", i, time) for i, (video, time) in enumerate(clips)]
    taken = taken_in_order(of(refs), Stop(min_seconds=seconds, max_per={"video": most}))

    def broken(rows: list[int]) -> bool:
        mine = [refs[row] for row in rows]
        near = any(a.source == b.source and abs(a.time - b.time) < seconds - 1e-6 for a, b in combinations(mine, 2))
        return near or max(Counter(ref.source for ref in mine).values(), default=0) > most

    assert not broken(taken)
    assert all(broken([*taken, row]) for row in range(len(refs)) if row not in taken)


def test_an_unknown_key_is_told_with_those_that_are_there() -> None:
    with pytest.raises(SettingsError) as caught:
        Limits.of(annotated(2, {"camera": ["l", "r"]}), nothing(), Stop(max_per={"kamera": 1}))
    there_are = "there are folder, label, video, camera"
    assert str(caught.value) == f"max_per kamera: these samples have no metadata of that name; {there_are}"
    Limits.of(annotated(0), nothing(), Stop(max_per={"kamera": 1}))  # nothing need be known of nothing


def test_groups_that_are_full_from_the_beginning_are_barred() -> None:
    quota = Quota.of(["a", "b", None, "a"], ["a", "a", "c"], 2)
    assert quota.full().tolist() == [True, False, False, True]
    assert len(quota.take(2)) == 0
    quota.take(1)
    assert quota.take(1).tolist() == [False, True, False, False]


def test_a_frame_of_a_video_that_no_candidate_is_from_bars_nothing() -> None:
    spacing = Spacing(tuple(CLIPS), 5.0)
    assert len(spacing.near([SampleRef("x", "other.mp4", 0, 0.0)])) == 0
    assert len(spacing.near([])) == 0
    assert len(spacing.near_row(9)) == 0
    assert sorted(spacing.near_row(1)) == [0, 1, 2, 3]


TENTHS = st.integers(0, 60).map(lambda tenths: round(tenths / 10, 6))
"""Times that are often exactly so far apart as is asked for, but for rounding."""
MOMENTS = st.lists(st.tuples(st.sampled_from("abc"), st.none() | TENTHS | st.floats(0, 1e5)), max_size=25)


@settings(deadline=None, max_examples=200)
@given(MOMENTS, MOMENTS, TENTHS | st.floats(0, 1e5))
def test_near_in_time_is_what_comparing_every_frame_with_every_other_finds(
    clips: list[tuple[str, float | None]], kept: list[tuple[str, float | None]], seconds: float
) -> None:
    refs, others = (
        [SampleRef(f"{i}.png", video, i, time) for i, (video, time) in enumerate(of)] for of in (clips, kept)
    )

    def near(a: SampleRef, b: SampleRef) -> bool:
        known = a.time is not None and b.time is not None
        return known and a.source == b.source and abs(a.time - b.time) < seconds - 1e-6

    spacing = Spacing(refs, seconds)
    assert sorted(spacing.near(others)) == [
        i for i, ref in enumerate(refs) if any(near(ref, other) for other in others)
    ]
    for row, ref in enumerate(refs):
        assert sorted(spacing.near_row(row)) == [i for i, other in enumerate(refs) if near(ref, other)]


def test_a_sampler_that_chose_beyond_the_limits_is_blamed_by_name() -> None:
    candidates, stop = of(CLIPS), Stop(max_per={"video": 1}, min_seconds=1)
    good = Selection(np.array([1, 5, 7, 8]), np.ones(4, np.float32))
    assert respected(good, candidates, nothing(), stop, "Own") is good
    for rows in ([1, 2], [4, 6]):
        bad = Selection(np.array(rows), np.ones(2, np.float32))
        with pytest.raises(ContractViolation) as caught:
            respected(bad, candidates, nothing(), stop, "Own")
        assert str(caught.value) == (
            f"sampler Own chose {candidates.refs[rows[1]].filename} beyond the limits max_per or min_seconds;"
            " choose another sampler, or leave the limits out"
        )
        assert respected(bad, candidates, nothing(), Stop(), "Own") is bad


def test_seconds_between_frames_of_unknown_time_are_refused() -> None:
    unknown = dataclasses.replace(annotated(1), refs=(ref_of("clip-01-mp4.png"),))
    with pytest.raises(SettingsError, match="when frames are shown is not known"):
        Limits.of(unknown, nothing(), Stop(min_seconds=2.0))
