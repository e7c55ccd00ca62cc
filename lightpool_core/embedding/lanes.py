"""Slices of a batch, computed side by side on a CPU: threads that each keep to their share of the cores.

A core that is wanted for decoding meanwhile holds up one slice, and not every step of the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from lightpool_core.arrays import Array, Embeddings


def n_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(embed: Sequence[Callable[[Array], Embeddings]], slices: Sequence[Array], share: int) -> Embeddings:
    """What each of `embed` makes of its slice, (B, D) in all; torch computes each on `share` cores.

    With one alone, in the calling thread.
    """
    import torch

    # MKL takes the last number that any thread set for all threads, OpenMP each thread's own.
    before = torch.get_num_threads()
    torch.set_num_threads(share)
    try:
        if len(slices) == 1:
            return embed[0](slices[0])
        done = _lanes(len(embed), share).map(lambda work, part: work(part), embed, slices)
        return np.concatenate(list(done))
    finally:
        torch.set_num_threads(before)


@cache
def _lanes(n: int, share: int) -> ThreadPoolExecutor:
    import torch

    return ThreadPoolExecutor(n, "lightpool-embed", initializer=torch.set_num_threads, initargs=(share,))
