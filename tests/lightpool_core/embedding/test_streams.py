from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from lightpool_core.embedding.streams import in_parallel


def collected(streams: Iterator[tuple[int, Iterator[int]]]) -> list[tuple[int, list[int]]]:
    return [(key, list(items)) for key, items in streams]


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def wait_until_only(before: set[threading.Thread]) -> None:
    deadline = time.monotonic() + 5
    while threads() - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads() - before


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("depth", [1, 4])
def test_keys_and_items_keep_their_order(workers: int, depth: int) -> None:
    def produce(key: int) -> Iterator[int]:
        time.sleep(0.002 * (5 - key % 5))
        yield from range(key)

    found = collected(in_parallel(range(12), produce, workers=workers, depth=depth))
    assert found == [(key, list(range(key))) for key in range(12)]


def test_without_keys_nothing_comes() -> None:
    assert collected(in_parallel([], lambda key: [key], workers=2, depth=1)) == []


def test_what_waits_is_bounded() -> None:
    made: list[int] = []

    def produce(key: int) -> Iterator[int]:
        for item in range(100):
            made.append(item)
            yield item

    streams = in_parallel(range(50), produce, workers=3, depth=4)
    _, items = next(streams)
    next(items)
    time.sleep(0.3)
    # Per worker: those in the queue, and one in hand; and the one that was taken.
    assert len(made) <= 3 * (4 + 1) + 1
    streams.close()


def test_several_producers_work_at_once() -> None:
    together = threading.Barrier(3, timeout=5)

    def produce(key: int) -> Iterator[int]:
        together.wait()
        yield key

    assert collected(in_parallel(range(3), produce, workers=3, depth=1)) == [(0, [0]), (1, [1]), (2, [2])]


def test_an_error_is_raised_where_its_item_would_have_come() -> None:
    before = threads()

    def produce(key: int) -> Iterator[int]:
        yield key
        if key == 1:
            raise KeyError("broken")
        yield key

    streams = in_parallel(range(4), produce, workers=2, depth=8)
    assert list(next(streams)[1]) == [0, 0]
    _, items = next(streams)
    assert next(items) == 1
    with pytest.raises(KeyError, match="broken"):
        next(items)
    streams.close()
    wait_until_only(before)


def test_a_producer_that_cannot_even_start_tells_so() -> None:
    def produce(key: int) -> Iterator[int]:
        raise OSError("no")

    with closing(in_parallel([1], produce, workers=1, depth=1)) as streams, pytest.raises(OSError, match="no"):
        collected(streams)


def test_closing_stops_the_producers_and_ends_their_contexts() -> None:
    before = threads()

    ended = threading.Event()

    def produce(key: int) -> Iterator[int]:
        try:
            while True:
                yield key
        finally:
            ended.set()

    streams = in_parallel([1], produce, workers=1, depth=2)
    next(next(streams)[1])
    streams.close()
    assert ended.wait(5)
    wait_until_only(before)


def test_an_error_of_the_consumer_stops_the_producers() -> None:
    before = threads()

    def endless(key: int) -> Iterator[int]:
        while True:
            yield key

    def consume() -> None:
        for _, items in in_parallel(range(9), endless, workers=2, depth=2):
            for _ in items:
                raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        consume()
    wait_until_only(before)
