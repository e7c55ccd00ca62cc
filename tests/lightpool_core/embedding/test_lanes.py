from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import pytest
import torch

from lightpool_core.arrays import Embeddings
from lightpool_core.embedding import lanes
from lightpool_core.embedding.crew import Batch


@pytest.mark.parametrize(
    ("said", "most"), [("max 100000", 10**6), ("150000 100000", 1), ("50000 100000", 1), ("", 10**6)]
)
def test_a_container_is_not_taken_for_the_whole_machine(
    said: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text(said)
    monkeypatch.setattr(lanes, "_CPU_MAX", tmp_path / "none")
    lanes._quota.cache_clear()
    everything = lanes.n_cores()
    monkeypatch.setattr(lanes, "_CPU_MAX", tmp_path / "cpu.max")
    lanes._quota.cache_clear()
    assert lanes.n_cores() == min(everything, most)
    lanes._quota.cache_clear()


def batch(task: int = 0, number: int = 0, n: int = 1) -> Batch:
    return Batch(np.full((n, 2), 10 * task + number, np.float32), (), (), (0.0, 0.0), 0.0, None, task, number)


class Shared:
    """Batches that several threads may take, as those of a crew."""

    def __init__(self, *batches: Batch) -> None:
        self._left: SimpleQueue[Batch | None] = SimpleQueue()
        for each in (*batches, None):
            self._left.put(each)

    def __iter__(self) -> Iterator[Batch]:
        while (each := self._left.get()) is not None:
            yield each
        self._left.put(None)

    @property
    def n_left(self) -> int:
        return self._left.qsize() - 1


def test_with_one_lane_batches_are_embedded_in_the_calling_thread() -> None:
    threads = []

    def embed(each: Batch) -> Embeddings:
        threads.append(threading.current_thread())
        return each.prepared

    found = list(lanes.side_by_side(Shared(batch(0), batch(1)), embed, 1))
    assert [each.batch.task for each in found] == [0, 1]
    assert set(threads) == {threading.current_thread()}


def test_as_many_batches_as_there_are_lanes_are_embedded_at_once() -> None:
    all_here = threading.Barrier(3, timeout=30)

    def embed(each: Batch) -> Embeddings:
        all_here.wait()
        return each.prepared

    found = list(lanes.side_by_side(Shared(*(batch(task) for task in range(6))), embed, 3))
    assert sorted(each.batch.task for each in found) == list(range(6))
    assert all((each.embeddings == each.batch.prepared).all() for each in found)


def test_batches_of_a_task_come_in_their_order_and_wait_for_no_other_task() -> None:
    other_is_done = threading.Event()

    def embed(each: Batch) -> Embeddings:
        if (each.task, each.number) == (0, 0):
            assert other_is_done.wait(30)
        return each.prepared

    order = []
    for each in lanes.side_by_side(Shared(batch(0, 0), batch(0, 1), batch(1, 0), batch(0, 2)), embed, 2):
        order.append((each.batch.task, each.batch.number))
        if each.batch.task == 1:
            other_is_done.set()
    assert order == [(1, 0), (0, 0), (0, 1), (0, 2)]


def test_what_goes_wrong_in_a_lane_is_raised_here_and_the_others_end() -> None:
    batches = Shared(*(batch(task) for task in range(100)))

    def embed(each: Batch) -> Embeddings:
        if each.task == 2:
            raise RuntimeError("out of memory")
        time.sleep(0.01)
        return each.prepared

    with pytest.raises(RuntimeError, match="out of memory"):
        list(lanes.side_by_side(batches, embed, 2))
    await_no_lanes()
    assert batches.n_left > 80


def test_who_takes_no_more_ends_the_lanes() -> None:
    batches = Shared(*(batch(task) for task in range(1000)))

    def embed(each: Batch) -> Embeddings:
        time.sleep(0.01)
        return each.prepared

    found = lanes.side_by_side(batches, embed, 2)
    next(iter(found))
    found.close()
    await_no_lanes()
    assert batches.n_left > 900


def await_no_lanes() -> None:
    until = time.monotonic() + 30
    while any(thread.name.startswith("lightpool-embed") for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize("n_lanes", [1, 2])
def test_torch_has_its_cores_back_afterwards(n_lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "n_cores", lambda: 2)
    before, used = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:

        def embed(each: Batch) -> Embeddings:
            with lanes.torch_cores(2 // n_lanes):
                used.append(torch.get_num_threads())
            return each.prepared

        assert len(list(lanes.side_by_side(Shared(*(batch(task) for task in range(4))), embed, n_lanes))) == 4
        assert used == [2 // n_lanes] * 4
        assert torch.get_num_threads() == 3
        assert "mkl_get_max_threads() : 3" in torch.__config__.parallel_info() or not torch.backends.mkl.is_available()
    finally:
        torch.set_num_threads(before)
