"""Made-up unit embeddings to select from, the same on every machine, written straight to `.npy` files.

N: rows. D: dimension. Every block of rows, or scene, draws from a generator seeded by its own number, so that
no file of any size needs more memory than a block. All rows are scaled with lightpool's own `unit_rows`.

| kind | what it is like | what it is hard for |
|---|---|---|
| clustered | photos: clusters of Zipf sizes, noise of decaying spectrum, each cluster of its own width | |
| video | scenes of 50 to 800 frames, each a random walk on the sphere, consecutive frames 0.02 to 0.15 apart | |
| thinned | video after a selection at 0.2: consecutive frames about 0.2 to 0.4 apart, shuffled | finding a witness |
| duplicates | one distinct row in 100, repeated with a jitter of 0.0001 | float32 products |
| duplicates first | a tenth of the rows are one and the same, before thinned video | graphs such as hnswlib's |
| equal | one row repeated | everything is a tie |
| far | uniform on the sphere: in high dimensions everything is far from everything | any pruning |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap

from lightpool_core.arrays import Array, Embeddings, unit_rows

BLOCK = 16384
SEED = 20240521


def data_file(folder: Path, kind: str, n: int, dim: int) -> Path:
    """The file of `n` rows of `kind` in `folder`, made now unless it is there."""
    path = folder / f"{kind.replace(' ', '-')}-{n}x{dim}.npy"
    if not path.exists():
        unfinished = path.with_suffix(".part")
        rows = open_memmap(unfinished, mode="w+", dtype=np.float32, shape=(n, dim))
        KINDS[kind](rows, SEED)
        rows.flush()
        del rows
        unfinished.replace(path)
    return path


def newcomers(pool: Embeddings, count: int, around: float) -> Embeddings:
    """`count` new candidates for a `pool` (N, D) of video, shuffled.

    Half are a pooled frame moved by 0.02 to `around`: what a camera that stayed would add. A quarter are a
    pooled frame moved on by `around` to three times that, a quarter are frames of scenes that the pool lacks.
    """
    rng = np.random.default_rng((SEED, 7))
    moved = count - count // 4
    from_pool = pool[np.sort(rng.choice(len(pool), moved, replace=len(pool) < moved))]
    near = rng.uniform(0.02, around, moved)
    chords = np.where(rng.permutation(moved) < count // 2, near, near + around)
    unseen = np.empty((count - moved, pool.shape[1]), dtype=np.float32)
    video(unseen, SEED + 1)
    return np.ascontiguousarray(rng.permutation(np.concatenate([_moved(from_pool, chords, rng), unseen])))


def clustered(rows: Embeddings, seed: int) -> None:
    """One cluster per 100 rows; the size of cluster c is as 1/c, its width log-normal around 0.6.

    The width is the length of the noise, before scaling, beside the centre's length 1. The spectrum of the
    noise falls as j^-0.7, that of the centres as j^-0.35, in a random basis.
    """
    n, dim = rows.shape
    rng = np.random.default_rng((seed, 1))
    count = max(8, n // 100)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    centres = unit_rows(_spread(rng, count, 0.35, basis))
    widths = (0.6 * np.exp(0.4 * rng.standard_normal(count))).astype(np.float32)
    share = 1.0 / np.arange(1, count + 1)
    for number, part in _parts(n):
        rng = np.random.default_rng((seed, 2, number))
        of = rng.choice(count, part.stop - part.start, p=share / share.sum())
        rows[part] = unit_rows(centres[of] + widths[of, None] * _spread(rng, len(of), 0.7, basis))


def video(rows: Embeddings, seed: int, slowest: float = 0.02, fastest: float = 0.15) -> None:
    """Scenes one after the other, each walking on from its own random place at its own pace."""
    at, number = 0, 0
    while at < len(rows):
        rng = np.random.default_rng((seed, 3, number))
        length = min(int(rng.integers(50, 800)), len(rows) - at)
        pace = slowest * (fastest / slowest) ** rng.random()
        rows[at : at + length] = _walk(rng, length, rows.shape[1], pace)
        at, number = at + length, number + 1


def thinned(rows: Embeddings, seed: int) -> None:
    """Walks of wide steps, shuffled within blocks: what a selection at 0.2 leaves of video."""
    video(rows, seed, 0.2, 0.4)
    for number, part in _parts(len(rows)):
        rows[part] = np.random.default_rng((seed, 4, number)).permutation(rows[part])


def duplicates(rows: Embeddings, seed: int) -> None:
    """Every row is one of N/100 distinct ones, but for a jitter of about 0.0001."""
    n, dim = rows.shape
    distinct = _on_sphere(np.random.default_rng((seed, 5)), max(2, n // 100), dim)
    for number, part in _parts(n):
        rng = np.random.default_rng((seed, 6, number))
        of = rng.integers(0, len(distinct), part.stop - part.start)
        rows[part] = unit_rows(distinct[of] + 1e-4 * _on_sphere(rng, len(of), dim))


def duplicates_first(rows: Embeddings, seed: int) -> None:
    """The first tenth is one row over and over: a graph that is grown from it hardly leads out of it."""
    first = len(rows) // 10
    thinned(rows[first:], seed)
    rows[:first] = _on_sphere(np.random.default_rng((seed, 5)), 1, rows.shape[1])


def equal(rows: Embeddings, seed: int) -> None:
    """The same row everywhere."""
    rows[:] = _on_sphere(np.random.default_rng((seed, 5)), 1, rows.shape[1])


def far(rows: Embeddings, seed: int) -> None:
    """Uniform on the sphere."""
    for number, part in _parts(len(rows)):
        rows[part] = _on_sphere(np.random.default_rng((seed, 6, number)), part.stop - part.start, rows.shape[1])


KINDS: dict[str, Callable[[Embeddings, int], None]] = {
    "clustered": clustered,
    "video": video,
    "thinned": thinned,
    "duplicates": duplicates,
    "duplicates first": duplicates_first,
    "equal": equal,
    "far": far,
}


def _parts(n: int) -> Iterator[tuple[int, slice]]:
    for number, start in enumerate(range(0, n, BLOCK)):
        yield number, slice(start, min(start + BLOCK, n))


def _on_sphere(rng: np.random.Generator, count: int, dim: int) -> Embeddings:
    return unit_rows(rng.standard_normal((count, dim), dtype=np.float32))


def _spread(rng: np.random.Generator, count: int, decay: float, basis: Array) -> Array:
    """Noise (count, D) of expected length 1 whose standard deviations fall as j^-decay along `basis`."""
    deviations = np.arange(1, len(basis) + 1) ** -decay
    deviations /= np.linalg.norm(deviations)
    noise = rng.standard_normal((count, len(basis)), dtype=np.float32) * deviations.astype(np.float32)
    # numpy's BLAS takes twice as long
    return np.asarray(torch.from_numpy(noise) @ torch.from_numpy(basis))


def _walk(rng: np.random.Generator, length: int, dim: int, pace: float) -> Embeddings:
    """(length, D) places on the sphere, each a chord of `pace` from the last in a random direction.

    Walked in flat space, each step as long as the walk has led away from the origin, then projected.
    """
    steps = rng.standard_normal((length, dim), dtype=np.float32)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    steps[1:] *= (pace * (1 + pace**2) ** (np.arange(length - 1) / 2))[:, None].astype(np.float32)
    return unit_rows(np.cumsum(steps, axis=0))


def _moved(rows: Embeddings, chords: Array, rng: np.random.Generator) -> Embeddings:
    """Each of `rows` moved on the sphere, in a random direction, to a point at distance `chords`."""
    aside = rng.standard_normal(rows.shape)
    aside -= (aside * rows).sum(axis=1, keepdims=True) * rows
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    angles = 2 * np.arcsin(chords / 2)[:, None]
    return unit_rows(np.cos(angles) * rows + np.sin(angles) * aside)
