"""Hypothesis strategies, and the small problems that several tests share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lightpool_core.arrays import Embeddings, Reach, unit_rows
from lightpool_core.candidates import Candidates
from lightpool_core.media.source import SampleRef
from lightpool_core.selection.sampler import PoolView
from lightpool_core.selection.stop import Stop

KINDS = ("spread", "clusters", "grid", "duplicates", "jitter 1e-4", "jitter 1e-6", "walk")


def unit_vectors(n: int, dim: int, kind: str = "spread", seed: int = 0) -> Embeddings:
    """(n, dim) unit rows of one of KINDS.

    `spread` at random, in tight `clusters`, on a `grid` full of ties, `duplicates`, `jitter S`: near-duplicates
    that differ by about S in every coordinate, or a random `walk` through scenes, as frames of a video.
    """
    rng = np.random.default_rng(seed)
    if kind == "grid":
        rows = rng.integers(-1, 2, size=(n, dim)).astype(np.float64)
        rows[~rows.any(axis=1), 0] = 1.0
        return unit_rows(rows)
    rows = rng.normal(size=(n, dim))
    if kind == "walk" and n:
        steps = np.where(np.arange(n) % 60 == 0, 1.0, 0.08)
        steps[1:][rng.random(n - 1) < 0.1] = 0.0  # a frame that repeats the one before
        rows = np.cumsum(rows * steps[:, None], axis=0)
    if kind == "duplicates" and n:
        rows = rows[rng.integers(0, max(1, n // 3), size=n)]
    if kind == "clusters" and n:
        rows = rows[rng.integers(0, max(1, n // 6), size=n)] + rng.normal(scale=0.02, size=(n, dim))
    if kind.startswith("jitter") and n:
        scale = float(kind.split()[1])
        rows = unit_rows(rows)[rng.integers(0, max(1, n // 8), size=n)] + rng.normal(scale=scale, size=(n, dim))
    return unit_rows(rows)


def off_length(rows: Embeddings, seed: int = 0) -> Embeddings:
    """`rows` as far from length 1 as `unit_rows` leaves rows as they are."""
    wide = rows.astype(np.float64)
    lengths = 1 + 0.85e-6 * np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(rows), 1))
    scaled = (wide * (lengths / np.linalg.norm(wide, axis=1, keepdims=True))).astype(np.float32)
    assert (unit_rows(scaled) == scaled).all()
    return scaled


@st.composite
def problems(
    draw: st.DrawFn,
    most: int = 40,
    kinds: tuple[str, ...] = KINDS,
    dims: st.SearchStrategy[int] = st.integers(1, 8),  # noqa: B008
) -> tuple[Embeddings, Embeddings]:
    """Candidates (N, D), at `most` so many, and a pool (M, D); some candidates may lie in the pool, too."""
    dim = draw(dims)
    seed = draw(st.integers(0, 2**32 - 1))
    candidates = unit_vectors(draw(st.integers(0, most)), dim, draw(st.sampled_from(kinds)), seed)
    pool = unit_vectors(draw(st.integers(0, 20)), dim, draw(st.sampled_from(kinds)), seed + 1)
    if len(pool) and len(candidates) and draw(st.booleans()):
        pool[: len(candidates)] = candidates[: len(pool)]
    return candidates, pool


def distances() -> st.SearchStrategy[float]:
    """Minimum distances that are told apart exactly (1e-5 or more, or 0), those on a grid of ties included."""
    return st.one_of(st.floats(1e-5, 2), st.sampled_from([0.0, 1.0, 2.0, float(np.sqrt(2)), 0.25, 1e-4]))


def counts() -> st.SearchStrategy[int | float]:
    """Numbers of samples, as counts and as fractions."""
    return st.one_of(st.integers(0, 50), st.floats(0, 1))


def stops() -> st.SearchStrategy[Stop]:
    """Stopping conditions, none and both included."""
    return st.builds(Stop, st.none() | counts(), st.none() | distances())


def candidates_of(embeddings: Embeddings) -> Candidates:
    """`embeddings` as candidates with plain names."""
    refs = tuple(SampleRef(f"{i:05}.png", f"{i:05}.png") for i in range(len(embeddings)))
    return Candidates(embeddings, np.zeros(len(embeddings), np.int64), refs)


def squares_to(rows: Embeddings, row: Embeddings) -> np.ndarray:
    """(N,) squared distances of `rows` (N, D) to one row, the plain way: differences in float64."""
    differences = rows.astype(np.float64) - row.astype(np.float64)
    return np.asarray(np.einsum("nd,nd->n", differences, differences))


def distance_matrix(a: Embeddings, b: Embeddings) -> np.ndarray:
    """(N, M) distances, the plain way."""
    columns = [np.sqrt(squares_to(a, row)) for row in b]
    return np.stack(columns, axis=1) if columns else np.empty((len(a), 0))


def assert_exact(view: PoolView, rows: Embeddings, queries: Embeddings, within: Reach | None = None) -> None:
    """The nearest in `view` is the lowest of `rows` at the smallest distance, to the last bit."""
    distances, found = view.nearest(queries, within)
    reach = np.broadcast_to(np.inf if within is None else within, len(queries))
    for query, limit, distance, row in zip(queries, reach, distances, found, strict=True):
        plain = squares_to(rows, query)
        near = float(np.sqrt(plain.min(initial=np.inf)))
        assert (distance, row) == ((near, int(plain.argmin())) if near < limit else (np.inf, -1))


def textbook_greedy(candidates: Embeddings, pool: Embeddings, stop: Stop) -> tuple[list[int], list[float]]:
    """The picks of Gonzalez' algorithm and their distances, by looking at everything after every pick."""
    near = np.full(len(candidates), np.inf)
    for row in pool:
        near = np.minimum(near, np.sqrt(squares_to(candidates, row)))
    picks: list[int] = []
    gained: list[float] = []
    while len(picks) < stop.count(len(candidates)):
        if len(pool) or picks:
            best = int(near.argmax())
        else:
            mean = candidates.sum(axis=0, dtype=np.float64) / len(candidates)
            best = int(squares_to(candidates, mean).argmax())
        if near[best] < (stop.min_distance or 0.0):
            break
        gained.append(float(near[best]))
        picks.append(best)
        near = np.minimum(near, np.sqrt(squares_to(candidates, candidates[best])))
        near[picks] = -1.0
    return picks, gained
