"""The one place where the selection benchmark calls lightpool.

    python tests/benchmarks/selection_ours.py FILE.npy K [--device cpu]

selects K rows of the file on disk and prints, as JSON, what a process needs for that at its peak.
N: candidates. K: chosen. Q: queries. M: rows in the pool. D: dimension.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightpool_core.arrays import Distances, Embeddings, Mask, Rows
from lightpool_core.pool.index import Index, cached_index
from lightpool_core.selection.exact import in_blocks
from lightpool_core.selection.farthest_first import farthest_first
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.stop import Stop


@dataclass(frozen=True)
class Picks:
    """`indices` (K,) in pick order, each one's distance (K,) to the earlier ones, products of two rows done."""

    indices: Rows
    distances: Distances
    products: int | None = None


def ours_picks(embeddings: Embeddings, k: int, device: str) -> Picks:
    """`k` of `embeddings` (N, D) by farthest-first from an empty pool."""
    nothing = ArrayView(np.empty((0, embeddings.shape[1]), dtype=np.float32))
    selection = farthest_first(embeddings, nothing, Stop(n_samples=k), device=device)
    # A selection that counts its products is held against the time of that many, too.
    return Picks(selection.indices, selection.distances, getattr(selection, "products", None))


def ours_index(pool_file: Path, folder: Path) -> Index:
    """The cache of a pool, as a datapool keeps it in `index/`: built if `folder` lacks it, else loaded and verified."""
    rows = np.load(pool_file, mmap_mode="r")
    pieces = [(pool_file.name, len(rows))]
    return cached_index(folder, rows.shape[1], pieces, lambda start: _numbered(rows, start))


def _numbered(rows: Embeddings, start: int) -> Iterator[tuple[Rows, Embeddings]]:
    for numbers in in_blocks(np.arange(start, len(rows))):
        yield numbers, rows[numbers[0] : numbers[-1] + 1]


def ours_rejects(queries: Embeddings, pool_file: Path, folder: Path, min_distance: float, device: str) -> Mask:
    """(Q,) True where a row of the pool on disk is closer than `min_distance`; loading is part of it."""
    index = ours_index(pool_file, folder)
    pool = ArrayView(index.rows, index.graph, index.cells, device)
    distances, _ = pool.near(queries)
    rejected: Mask = distances < min_distance
    left = np.flatnonzero(~rejected)
    distances, _ = pool.nearest(queries[left], within=min_distance)
    rejected[left] = np.isfinite(distances)
    return rejected


def peak_bytes() -> int:
    """The most memory that this process ever held, mapped pages of files included.

    On Linux VmHWM: ru_maxrss would start from the peak of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) << 10 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def main() -> None:
    """Selects from a file, prints what it took."""
    parser = argparse.ArgumentParser(description="Select from a file on disk and print the peak memory as JSON.")
    parser.add_argument("file", type=Path)
    parser.add_argument("k", type=int)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    import torch  # a fair share of the memory is torch itself

    torch.zeros(1, device=options.device)
    imports, started = peak_bytes(), time.perf_counter()
    picks = ours_picks(np.load(options.file, mmap_mode="r"), options.k, options.device)
    spent = time.perf_counter() - started
    print(json.dumps({"peak": peak_bytes(), "imports": imports, "seconds": spent, "distinct": len(set(picks.indices))}))


if __name__ == "__main__":
    main()
