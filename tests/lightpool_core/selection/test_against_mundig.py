"""The same picks as lightly-mundig, the engine of the Lightly Worker, by the same strategies.

It computes in float32: where its pick is another, ours is as good within that rounding, or better. From there it goes
on from our picks, so that every one of ours is compared. Its first pick by diversity alone is candidate 0, ours is
given to it instead; its minimum distance is not compared, because it ends a choice where ours skips.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.selection.density import similarity, typicality
from lightpool_core.selection.greedy import greedy
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.stop import Stop
from lightpool_plugins.embedders.gist import Gist
from tests.plain_greedy import Bounds, Plain, Wanted
from tests.strategies import distance_matrix, unit_vectors

mundig = pytest.importorskip("lightly_mundig")
IMAGES = sorted((Path(__file__).parents[3] / "../shared/data/images").resolve().glob("*/*.jpg"))
FLOAT32 = 1e-5
"""What sums of some hundred numbers in float32 may be off by, relative to them."""
SEEDS = range(6)


class WithTotals(Plain):
    """Also of one objective alone its total, as mundig has it."""

    def __init__(self, candidates: Embeddings, wanted: Wanted) -> None:
        nothing = Wanted(((np.ones(len(candidates)), 0.0), *wanted.sums), wanted.balances, wanted.diversity)
        super().__init__(candidates, candidates[:0], nothing)


def same_or_as_good(candidates: Embeddings, n: int, wanted: Wanted) -> float:
    """Compare pick by pick; which share of them is the same."""
    limits = Bounds().limits(len(candidates))
    view = ArrayView(candidates[:0])
    ours = greedy(candidates, view, Stop(n), wanted.goals, limits, device="cpu").picks.selection.indices.tolist()
    assert len(ours) == n
    plain, same = WithTotals(candidates, wanted), 0
    given = 1 if wanted.diversity and not wanted.sums and not wanted.balances else 0
    strengths = [abs(wanted.diversity), *(abs(entry[-1]) for entry in (*wanted.sums, *wanted.balances))]
    theirs = picks_of_mundig(candidates, n, wanted, ours[:given])
    for i, row in enumerate(ours):
        if theirs[i] == row:
            same += 1
        else:
            scores = plain.scores()
            gain = scores[row] - scores[theirs[i]]
            assert -1e-9 <= gain <= FLOAT32 * sum(strengths), f"pick {i} is {gain} better than {theirs[i]}"
            theirs = picks_of_mundig(candidates, n, wanted, ours[: i + 1])
        plain.pick(row)
    return same / n


def picks_of_mundig(candidates: Embeddings, n: int, wanted: Wanted, given: list[int]) -> list[int]:
    """Its `n` picks, of which some are `given`."""
    selection = mundig.Selection()
    if wanted.diversity:
        selection.add_diversifying_strategy(candidates.tolist(), wanted.diversity, None)
    for values, strength in wanted.sums:
        selection.add_weighting_strategy(values.tolist(), strength)
    for rows, target, _, strength in wanted.balances:
        selection.add_balancing_strategy(rows.tolist(), target.tolist(), strength)
    picks: list[int] = selection.run_selection(given, len(candidates), n)
    return picks


@pytest.fixture(scope="module")
def photos() -> tuple[Embeddings, np.ndarray, np.ndarray]:
    """Embeddings of photos of clothes, how bright each is, and its class (N, C)."""
    if not IMAGES:
        pytest.skip("the photos are not there")
    gist, paths = Gist(), IMAGES[::3]
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    rows = unit_rows(gist.embed(np.stack([gist.prepare(picture) for picture in pixels])))
    folders = [path.parent.name for path in paths]
    classes = np.array([[float(folder == name) for name in sorted(set(folders))] for folder in folders])
    return rows, np.array([picture.mean() / 255 for picture in pixels]), classes


def made(seed: int) -> tuple[Embeddings, np.random.Generator, int]:
    """Candidates at random, and how many to pick."""
    rng = np.random.default_rng(seed)
    n, dim = int(rng.integers(100, 300)), int(rng.integers(3, 40))
    return unit_vectors(n, dim, ("spread", "clusters")[seed % 2], seed), rng, int(rng.integers(20, n // 2))


def balance(rows: np.ndarray, target: np.ndarray, strength: float = 1.0) -> Any:
    return rows, target, np.zeros(len(target)), strength


def classes_of(rng: np.random.Generator, n: int, c: int) -> np.ndarray:
    """(n, c) one class each, some of them rare."""
    return np.asarray(np.eye(c)[rng.choice(c, n, p=rng.dirichlet(np.ones(c)))])


@pytest.mark.parametrize("seed", SEEDS)
def test_diversity_alone(seed: int) -> None:
    candidates, _, n = made(seed)
    assert same_or_as_good(candidates, n, Wanted(diversity=1.0)) > 0.7


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_alone(seed: int) -> None:
    candidates, rng, n = made(seed)
    weights = rng.random(len(candidates))
    assert same_or_as_good(candidates, n, Wanted(((weights, 1.0),))) > 0.7


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["classes", "counts", "shares"])
def test_balance_alone(kind: str, seed: int) -> None:
    """Of one class all are equal, and it takes others of them than we do: only scores can be compared there."""
    candidates, rng, n = made(seed)
    c = int(rng.integers(2, 7))
    rows = {
        "classes": classes_of(rng, len(candidates), c),
        "counts": rng.integers(0, 4, (len(candidates), c)).astype(float),
        "shares": rng.dirichlet(np.ones(c), len(candidates)),
    }[kind]
    for target in (rng.dirichlet(np.ones(c)), np.ones(c) / c):
        same = same_or_as_good(candidates, n, Wanted((), (balance(rows, target),)))
        assert same > 0.7 or kind == "classes"


@pytest.mark.parametrize("seed", SEEDS)
def test_similarity_alone(seed: int) -> None:
    candidates, _, n = made(seed)
    queries = unit_vectors(5, candidates.shape[1], seed=seed + 99)
    theirs = np.array(mundig.Similarity(candidates.tolist()).calculate_similarity(queries.tolist()))
    ours = similarity(candidates, queries, "cpu")
    np.testing.assert_allclose(ours, theirs, rtol=FLOAT32)
    assert same_or_as_good(candidates, n, Wanted(((ours, 1.0),))) > 0.7


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("k", [1, 20, 1000])
def test_typicality_alone(k: int, seed: int) -> None:
    candidates, _, n = made(2 * seed)
    theirs = np.array(mundig.Typicality(candidates.tolist()).calculate_typicality(k))
    ours = typicality(candidates, k, "cpu")
    np.testing.assert_allclose(ours, theirs, rtol=FLOAT32)
    assert same_or_as_good(candidates, n, Wanted(((ours, 1.0),))) > 0.7


def test_typicality_is_right_among_near_duplicates_where_float32_is_not() -> None:
    candidates = unit_vectors(300, 16, "walk", seed=4)
    others = distance_matrix(candidates, candidates)
    np.fill_diagonal(others, np.inf)
    nearest = np.sort(others, axis=1)[:, :5]
    true = np.exp(-nearest / nearest.mean()).mean(axis=1)
    theirs = np.array(mundig.Typicality(candidates.tolist()).calculate_typicality(5))
    ours = typicality(candidates, 5, "cpu")
    assert np.abs(ours - true).max() < 1e-12
    assert np.abs(theirs - true).max() > 1e-5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("diversity", "weight", "balanced"), [(1.0, 1.0, 0.0), (1.0, 0.0, 1.0), (1.0, 1.0, 1.0), (0.5, 2.0, 1.5)]
)
def test_several_at_once(diversity: float, weight: float, balanced: float, seed: int) -> None:
    candidates, rng, n = made(seed)
    target = rng.dirichlet(np.ones(4))
    sums = ((rng.random(len(candidates)), weight),) if weight else ()
    balances = (balance(classes_of(rng, len(candidates), 4), target, balanced),) if balanced else ()
    assert same_or_as_good(candidates, n, Wanted(sums, balances, diversity)) > 0.7


@pytest.mark.parametrize("name", ["diversity", "weights", "balance", "similarity", "typicality", "all"])
def test_photos(name: str, photos: tuple[Embeddings, np.ndarray, np.ndarray]) -> None:
    candidates, brightness, classes = photos
    uniform = balance(classes, np.ones(classes.shape[1]) / classes.shape[1])
    wanted = {
        "diversity": Wanted(diversity=1.0),
        "weights": Wanted(((brightness, 1.0),)),
        "balance": Wanted((), (uniform,)),
        "similarity": Wanted(((similarity(candidates, candidates[:4], "cpu"), 1.0),)),
        "typicality": Wanted(((typicality(candidates, 20, "cpu"), 1.0),)),
        "all": Wanted(((brightness, 1.0),), (uniform,), 1.0),
    }[name]
    theirs = {
        "similarity": lambda: mundig.Similarity(candidates.tolist()).calculate_similarity(candidates[:4].tolist()),
        "typicality": lambda: mundig.Typicality(candidates.tolist()).calculate_typicality(20),
    }
    if name in theirs:
        np.testing.assert_allclose(wanted.sums[0][0], theirs[name](), rtol=1e-3)
    assert same_or_as_good(candidates, 80, wanted) > 0.9 or name == "balance"
