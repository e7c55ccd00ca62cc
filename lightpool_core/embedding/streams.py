"""Several producers at work at once, their items consumed one producer after the other.

Each producer runs in a worker thread and hands its items over through a short queue; it waits when that is
full, so that memory grows neither with the number of producers nor with what they produce.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")

_PATIENCE = 0.1
"""Seconds between two looks at whether the consumer has gone."""


def in_parallel(
    keys: Iterable[Key], produce: Callable[[Key], Iterable[Item]], *, workers: int, depth: int
) -> Generator[tuple[Key, Iterator[Item]], None, None]:
    """For each key, in order, the key and the items of `produce(key)`, made up to `workers` keys ahead.

    At most `depth` finished items wait per producer. An error in a producer is raised where its item would
    have come. Closing the iterator stops all producers. The items of a key must be taken to the last before
    the next key is asked for.
    """
    gone = threading.Event()
    ahead: deque[tuple[Key, _Handover[Item]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="lightpool-decode") as pool:
        try:
            for key in keys:
                handover: _Handover[Item] = _Handover(depth, gone)
                ahead.append((key, handover))
                pool.submit(handover.fill, produce, key)
                if len(ahead) > workers:
                    yield _next(ahead)
            while ahead:
                yield _next(ahead)
        finally:
            gone.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _next(ahead: deque[tuple[Key, _Handover[Item]]]) -> tuple[Key, Iterator[Item]]:
    key, handover = ahead.popleft()
    return key, handover.items()


class _End:
    """What a producer leaves behind its last item: the error that ended it, if one did."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Handover(Generic[Item]):
    """The queue between one producer and the consumer."""

    def __init__(self, depth: int, gone: threading.Event) -> None:
        self._queue: queue.Queue[Item | _End] = queue.Queue(depth)
        self._gone = gone

    def fill(self, produce: Callable[[Key], Iterable[Item]], key: Key) -> None:
        try:
            for item in produce(key):
                if not self._put(item):
                    return
        except BaseException as error:  # crosses the thread; raised again by the consumer
            self._put(_End(error))
        else:
            self._put(_End())

    def items(self) -> Iterator[Item]:
        while True:
            item = self._queue.get()
            if not isinstance(item, _End):
                yield item
            elif item.error is None:
                return
            else:
                raise item.error

    def _put(self, item: Item | _End) -> bool:
        while not self._gone.is_set():
            try:
                self._queue.put(item, timeout=_PATIENCE)
                return True
            except queue.Full:
                continue
        return False
