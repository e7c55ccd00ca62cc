"""Slices of a batch, computed side by side on a CPU: threads that each keep to their share of the cores.

A core that is wanted for decoding meanwhile holds up one slice, and not every step of the whole batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from lightpool_core.arrays import Array, Embeddings

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def n_cores() -> int:
    """That this process may use, of a container no more than its quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(cores, _quota())))


@cache
def _quota() -> float:
    """Cores that a container is given: cgroup v2, cpu.max; infinite where nothing is said."""
    try:
        quota, period = _CPU_MAX.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


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
