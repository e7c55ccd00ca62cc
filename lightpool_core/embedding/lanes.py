"""Batches embedded side by side: lanes, which are threads that each embed one batch after the other.

No lane waits for another: a core that is wanted for decoding meanwhile holds up one batch and nothing else.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from lightpool_core.arrays import Embeddings

if TYPE_CHECKING:
    from lightpool_core.embedding.crew import Batch

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_LANE = threading.local()


@dataclass(frozen=True, slots=True)
class Embedded:
    """A batch, and what became of it."""

    batch: Batch
    embeddings: Embeddings
    """(n, D)"""
    seconds: float
    """That it took in its lane."""


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


@contextmanager
def torch_cores(n: int) -> Iterator[None]:
    """In here, torch computes on `n` cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        # MKL takes the last number that any thread set for all threads: other lanes are at work still.
        if not hasattr(_LANE, "is_one"):
            torch.set_num_threads(before)


def side_by_side(
    batches: Iterable[Batch], embed: Callable[[Batch], Embeddings], n_lanes: int
) -> Generator[Embedded, None, None]:
    """`batches`, embedded in up to `n_lanes` threads, which end when this is closed; with one, in the calling thread.

    `batches` is iterated over by all lanes at once. Those of one task come in their order, others as they are ready.
    """
    if n_lanes == 1:
        yield from (_embedded(batch, embed) for batch in batches)
    else:
        yield from _in_order(_in_lanes(batches, embed, n_lanes))


def _in_lanes(batches: Iterable[Batch], embed: Callable[[Batch], Embeddings], n_lanes: int) -> Iterator[Embedded]:
    ready: SimpleQueue[Embedded | BaseException | None] = SimpleQueue()
    gone = threading.Event()

    def work() -> None:
        _LANE.is_one = True
        try:
            for batch in batches:
                if gone.is_set():
                    return
                ready.put(_embedded(batch, embed))
            ready.put(None)
        except BaseException as error:  # crosses the thread; raised again where batches are taken
            ready.put(error)

    lanes = ThreadPoolExecutor(n_lanes, "lightpool-embed")
    with torch_cores(max(1, n_cores() // n_lanes)):
        try:
            for _ in range(n_lanes):
                lanes.submit(work)
            left = n_lanes
            while left:
                found = ready.get()
                if isinstance(found, BaseException):
                    raise found
                if found:
                    yield found
                else:
                    left -= 1
        finally:
            gone.set()
            lanes.shutdown(wait=False)


def _embedded(batch: Batch, embed: Callable[[Batch], Embeddings]) -> Embedded:
    began = time.perf_counter()
    embeddings = embed(batch)
    return Embedded(batch, embeddings, time.perf_counter() - began)


def _in_order(found: Iterable[Embedded]) -> Iterator[Embedded]:
    early: dict[tuple[int, int], Embedded] = {}
    turn: Counter[int] = Counter()
    for each in found:
        task = each.batch.task
        early[task, each.batch.number] = each
        while (task, turn[task]) in early:
            yield early.pop((task, turn[task]))
            turn[task] += 1
