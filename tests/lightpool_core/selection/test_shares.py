from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightpool_core.errors import SettingsError
from lightpool_core.selection.shares import Shares, deal


@st.composite
def shares(draw: st.DrawFn) -> Shares:
    """Two to four splits."""
    parts = draw(st.lists(st.integers(1, 20), min_size=2, max_size=4))
    return Shares({f"split {i}": part / sum(parts) for i, part in enumerate(parts)})


@st.composite
def members(draw: st.DrawFn, most: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Components (N,), numbered from 0, and labels (N,)."""
    n = draw(st.integers(1, most))
    drawn = draw(st.lists(st.integers(0, draw(st.integers(0, most))), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 4), min_size=n, max_size=n))
    return np.unique(drawn, return_inverse=True)[1], np.array(labels)


def counted(split: np.ndarray, wanted: Shares) -> list[int]:
    return np.bincount(split, minlength=len(wanted.names)).tolist()


def test_a_text_names_splits_and_their_shares() -> None:
    assert Shares.parse(" train=0.8, val = .15,test=5e-2 ").wanted == {"train": 0.8, "val": 0.15, "test": 0.05}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train=0.8,val=0.3", "sum to 1.1"),
        ("train=0.8,val=0.19999", "sum to 0.99999"),
        ("train=1.2,val=-0.2", "share -0.2 of split 'val' is not above 0"),
        ("train=1,val=0", "not above 0"),
        ("train=nan", "not above 0"),
        ("train=inf", "sum to inf"),
        ("train=0.5,train=0.5", "'train' is given twice"),
        ("train=0.8,0.2", "'0.2': it has no share"),
        ("train=0.8,val=x", "'val': 'x' is no number"),
        ("=1", "has no name"),
        ("", "has no share"),
    ],
)
def test_other_texts_are_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Shares.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_thirds_are_one_in_all() -> None:
    Shares.parse("a=0.3333333,b=0.3333333,c=0.3333333")


@given(shares(), st.integers(0, 1000))
def test_counts_are_whole_and_add_up(wanted: Shares, n: int) -> None:
    counts = wanted.counts(n)
    assert sum(counts) == n
    assert all(abs(count - share * n) < 1 for count, share in zip(counts, wanted.wanted.values(), strict=True))


@settings(deadline=None)
@given(members(), shares(), st.integers(0, 3))
def test_no_component_is_divided_and_the_same_seed_deals_the_same(
    drawn: tuple[np.ndarray, np.ndarray], wanted: Shares, seed: int
) -> None:
    components, labels = drawn
    dealt = deal(components, labels, wanted, seed)
    assert len(set(zip(components.tolist(), dealt.split.tolist(), strict=True))) == components.max() + 1
    assert set(dealt.split.tolist()) <= set(range(len(wanted.names)))
    assert dealt.split.tolist() == deal(components, labels, wanted, seed).split.tolist()
    if components.max() + 1 >= len(wanted.names):
        assert 0 not in counted(dealt.split, wanted)


@settings(deadline=None)
@given(members(), shares())
def test_shares_are_missed_only_where_a_component_has_no_room(
    drawn: tuple[np.ndarray, np.ndarray], wanted: Shares
) -> None:
    components, labels = drawn
    dealt = deal(components, labels, wanted, seed=0)
    if not dealt.too_large:
        assert counted(dealt.split, wanted) == wanted.counts(len(labels))
    largest = np.bincount(components)[list(dealt.too_large)].max(initial=0)
    over = np.array(counted(dealt.split, wanted)) - wanted.counts(len(labels))
    assert over.max() <= largest


def test_single_samples_follow_the_shares_of_their_labels() -> None:
    labels = np.repeat([0, 1, 2], [500, 100, 20])
    dealt = deal(np.arange(620), labels, Shares.parse("train=0.8,val=0.2"), seed=0)
    for label, n in enumerate([400, 80, 16]):
        assert abs(int((dealt.split[labels == label] == 0).sum()) - n) <= 1


def test_another_seed_deals_otherwise() -> None:
    def dealt(seed: int) -> tuple[int, ...]:
        split = deal(np.arange(50), np.zeros(50, np.int64), Shares.parse("a=0.5,b=0.5"), seed).split
        return tuple(split.tolist())

    assert len({dealt(seed) for seed in range(4)}) > 1


def test_large_components_go_where_there_is_room() -> None:
    components = np.repeat([0, 1, 2], [700, 290, 10])
    dealt = deal(components, np.zeros(1000, np.int64), Shares.parse("train=0.8,val=0.2"), seed=0)
    assert dealt.split[[0, 700, 990]].tolist() == [0, 1, 0]
    assert dealt.too_large == (1,)


@settings(deadline=None)
@given(members(), shares(), st.data())
def test_kept_samples_stay_and_the_rest_of_their_component_follows(
    drawn: tuple[np.ndarray, np.ndarray], wanted: Shares, data: st.DataObject
) -> None:
    components, labels = drawn
    numbers = st.integers(-1, len(wanted.names) - 1)
    kept = np.array(data.draw(st.lists(numbers, min_size=len(labels), max_size=len(labels))))
    split = deal(components, labels, wanted, 0, kept).split
    assert split[kept >= 0].tolist() == kept[kept >= 0].tolist()
    assert (split >= 0).all()
    for number in range(components.max() + 1):
        mine = components == number
        held = set(kept[mine & (kept >= 0)].tolist())
        followed = set(split[mine & (kept < 0)].tolist())
        assert len(followed) <= 1
        assert not held or followed <= held


def test_a_split_that_is_kept_whole_stays_as_it_was() -> None:
    rng = np.random.default_rng(0)
    components, labels = np.arange(100) // 3, rng.integers(0, 4, 100)
    wanted = Shares.parse("train=0.7,val=0.2,test=0.1")
    before = deal(components[:60], labels[:60], wanted, seed=0).split
    after = deal(components, labels, wanted, 1, np.append(before, np.full(40, -1))).split
    assert after[:60].tolist() == before.tolist()
    assert np.abs(np.array(counted(after, wanted)) - wanted.counts(100)).max() <= 2
