"""What the selection is held against: other packages, plain torch, and the limits of the machine.

Every peer gets all cores as far as it uses them. N: candidates. K: chosen. Q: queries. M: rows in the pool.
D: dimension.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

import numpy as np
import torch

from lightpool_core.arrays import Array, Distances, Embeddings, Mask, Rows

MOST_BYTES = 64 << 20
"""Of one block of products."""
MOST_PRODUCTS = 200e9 / 2
"""Multiplications and additions at most to time a bare product on; what is more is scaled."""


def synchronised(device: str) -> float:
    """The time in seconds, once the device has done what it was told to."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def into_cache(file: Path) -> None:
    """Read `file` once, so that nobody who maps it waits for the disk."""
    with file.open("rb") as stream:
        while stream.read(1 << 24):
            pass


def on(device: str, rows: Embeddings) -> torch.Tensor:
    """`rows` on the device; without a copy where they are in the memory of the device already."""
    return torch.from_numpy(np.require(rows, np.float32, ["C", "W"])).to(device)


class Mundig:
    """Lightly's greedy k-center, in Rust, on all cores; handing the embeddings over is not counted."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    def prepare(self) -> None:
        """A Selection goes on from its last run, so that each run needs a new one."""
        import lightly_mundig

        self._selection = lightly_mundig.Selection()
        self._selection.add_diversifying_strategy(self._embeddings, 1.0)

    def picks(self, k: int, first: int) -> Rows:
        """`k` of the embeddings, `first` the first."""
        return np.asarray(self._selection.run_selection([first], len(self._embeddings), k), dtype=np.int64)


@torch.inference_mode()
def torch_greedy(embeddings: Embeddings, k: int, first: int, device: str) -> Rows:
    """The textbook: after each pick one product with all candidates. (K,) picks, `first` the first.

    Of unit rows the farthest has the smallest product. Nothing waits for the device before the end.
    """
    rows = on(device, embeddings)
    closest = torch.full((len(rows),), -torch.inf, device=device)
    products = torch.empty_like(closest)
    chosen = torch.empty(k, dtype=torch.int64, device=device)
    pick = torch.tensor([first], device=device)
    for number in range(k):
        chosen[number] = pick[0]
        torch.mv(rows, rows.index_select(0, pick)[0], out=products)
        torch.maximum(closest, products, out=closest)
        closest.index_fill_(0, pick, torch.inf)
        pick = _smallest(closest)
    return np.asarray(chosen.cpu())


def _smallest(values: torch.Tensor) -> torch.Tensor:
    if values.device.type == "cpu":  # numpy takes a tenth of the time that torch takes for it
        return torch.tensor([int(values.numpy().argmin())])
    return values.argmin(keepdim=True)


def apricot_picks(embeddings: Embeddings, k: int) -> Rows:
    """`k` by facility location, lazily, on one core: apricot's lazy optimiser uses no more."""
    from apricot import FacilityLocationSelection
    from apricot.functions import facilityLocation

    if not hasattr(facilityLocation.calculate_gains, "cache_info"):  # or every fit compiles it all again
        facilityLocation.calculate_gains = functools.cache(facilityLocation.calculate_gains)
        facilityLocation.calculate_gains_sieve = functools.cache(facilityLocation.calculate_gains_sieve)
    fitted = FacilityLocationSelection(k, metric="euclidean", optimizer="lazy").fit(embeddings)
    return np.asarray(fitted.ranking, dtype=np.int64)


@torch.inference_mode()
def highest_products(queries: Embeddings, pool: Embeddings, device: str) -> Distances:
    """(Q,) the greatest float32 product of each query with a row of the pool, from exact blocked products.

    Above 1 - min_distance² / 2 the query is rejected. The greatest of a row is faster than any() of a
    comparison, which writes the block once more.
    """
    wide = on(device, queries)
    highest = torch.full((len(queries),), -torch.inf, device=device)
    step = max(1, MOST_BYTES // (4 * len(queries)))
    out = torch.empty((len(queries), step), device=device)
    for start in range(0, len(pool), step):
        block = on(device, pool[start : start + step])
        products = torch.mm(wide, block.T, out=out[:, : len(block)]) if len(block) == step else wide @ block.T
        torch.maximum(highest, products.amax(1), out=highest)
    return np.asarray(highest.cpu())


@torch.inference_mode()
def undecided_products(queries: Embeddings, pool: Embeddings, threshold: float, device: str) -> Mask:
    """(Q,) True where a product is above `threshold`: as above, but what is decided is multiplied no more."""
    rejected = np.zeros(len(queries), dtype=bool)
    left = np.arange(len(queries))
    wide, start = on(device, queries), 0
    while start < len(pool) and len(left):
        step = max(1, MOST_BYTES // (4 * len(left)))
        block = on(device, pool[start : start + step])
        open_ = np.asarray(((wide @ block.T).amax(1) <= threshold).cpu())
        if not open_.all():
            rejected[left[~open_]] = True
            left, wide = left[open_], wide[torch.from_numpy(open_).to(device)]
        start += step
    return rejected


def sklearn_rejects(queries: Embeddings, pool: Embeddings, min_distance: float) -> Mask:
    """(Q,) True where scikit-learn's brute force finds a row within `min_distance`, on all cores."""
    from sklearn.neighbors import NearestNeighbors

    fitted = NearestNeighbors(algorithm="brute", n_jobs=torch.get_num_threads()).fit(pool)
    found = fitted.radius_neighbors(queries, min_distance, return_distance=False)
    return np.array([len(rows) > 0 for rows in found])


class Hnsw:
    """Plain hnswlib, on all cores: links 16, ef 64 as lightpool has them. It may miss neighbours."""

    def __init__(self, pool_file: Path, folder: Path) -> None:
        self._pool = np.load(pool_file, mmap_mode="r")
        self._file = folder / f"{pool_file.stem}.hnswlib"

    def build(self) -> None:
        """The index in a file, unless it is there."""
        import hnswlib

        if not self._file.exists():
            graph = hnswlib.Index("l2", self._pool.shape[1])
            graph.init_index(len(self._pool), M=16, ef_construction=64, random_seed=0)
            graph.add_items(self._pool)
            graph.save_index(str(self._file))

    def rejects(self, queries: Embeddings, min_distance: float) -> Mask:
        """(Q,) True where the nearest that it finds is closer than `min_distance`; loading is part of it."""
        import hnswlib

        graph = hnswlib.Index("l2", self._pool.shape[1])
        graph.load_index(str(self._file))
        graph.set_ef(64)
        _, squares = graph.knn_query(queries, k=1)
        return np.asarray(squares[:, 0] < min_distance**2)


@torch.inference_mode()
def seconds_per_product(embeddings: Embeddings, k: int, device: str) -> float:
    """Of one product of two rows, when (N, D) times (D, K) is multiplied in float32 and nothing is done with it."""
    n, dim = embeddings.shape
    step = min(n, max(1, MOST_BYTES // (4 * k)))
    blocks = max(1, min(n // step, int(MOST_PRODUCTS / (step * k * dim))))
    rows, centres = on(device, embeddings[: blocks * step]), on(device, np.array(embeddings[:k]))
    out = torch.empty((step, len(centres)), device=device)
    torch.mm(rows[:step], centres.T, out=out)
    started = synchronised(device)
    for start in range(0, blocks * step, step):
        torch.mm(rows[start : start + step], centres.T, out=out)
    return (synchronised(device) - started) / (blocks * step * len(centres))


@torch.inference_mode()
def seconds_per_pass(embeddings: Array, device: str) -> float:
    """Of reading all `embeddings` (N, D) once from the memory of the device; scaled from at most 1 GiB."""
    most = max(1, (1 << 30) // (4 * embeddings.shape[1]))
    rows = on(device, embeddings[:most])
    rows.sum()
    started = synchronised(device)
    rows.sum()
    return (synchronised(device) - started) * len(embeddings) / len(rows)
