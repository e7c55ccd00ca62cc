"""Worker processes at work on tasks, watched: one that hangs or dies costs the source it was at, nothing else.

A thread of this process serves them: hands out tasks, takes over filled slabs, ends what stands still. The
calling thread takes batches, and gives each slab back when it is done with it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from types import TracebackType

from lightpool_core.arrays import Array
from lightpool_core.embedding.pictures import Ending, Picture, Task
from lightpool_core.embedding.process import Process
from lightpool_core.embedding.worker import Failure, Handover, Setup
from lightpool_core.errors import SourceError
from lightpool_core.media.source import Source

_STARTING = 120.0
"""Seconds in which a worker has to begin."""
_LOOK = 0.2
"""Seconds between two looks at whether every worker gets on."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Prepared pictures of one task, and how some of its sources ended."""

    prepared: Array
    """(n, *S), n up to B; shared memory, valid until the slab is released."""
    pictures: tuple[tuple[Source, Picture], ...]
    """(n,)"""
    endings: tuple[tuple[Source, Ending], ...]
    seconds: tuple[float, float]
    """What the worker spent decoding and preparing."""
    share: float
    """Of the source of its last picture, about how much is decoded, from 0 to 1; 0 where nobody knows."""
    slab: tuple[_Member, int] | None = field(repr=False)
    task: int
    """Number of the task that its sources are of."""
    number: int
    """Its place among the batches of that task, from 0."""


@dataclass
class _Member:
    """One worker, and what is known of it."""

    process: Process
    task: Task | None = None
    number: int = -1
    """Of that task, among all that were given out."""
    n_batches: int = 0
    """Passed on of that task."""
    open: set[int] = field(default_factory=set)
    """Positions of sources in its task that have not come to their end."""
    lent: set[int] = field(default_factory=set)
    """Slabs that are on our side."""
    pulse: int = 0
    beat: float = 0.0
    """When the pulse changed last, or the worker had reason to stand still."""
    n_frames: int = 0
    """Of the video at hand, as far as its pictures came, in earlier runs as well."""
    n_came: int = 0
    """Its pictures."""


class Crew:
    """Up to `n_workers` processes that work off tasks. A context manager; leaving it ends them all.

    Iterating gives batches as they come, of all tasks at once, until everything is done; several threads may iterate
    and share them. Errors of an embedder are raised there. `timeout`: seconds without any progress after which a
    source is given up.
    """

    def __init__(self, tasks: Sequence[Task], setup: Setup, *, n_workers: int, timeout: float) -> None:
        self._tasks = deque(tasks)
        self._setup = setup
        self._timeout = timeout
        self._n_workers = min(n_workers, len(tasks))
        self._n_given = 0
        self._members: list[_Member] = []
        self._ready: queue.SimpleQueue[Batch | BaseException | None] = queue.SimpleQueue()
        self._gone = threading.Event()
        self._server = threading.Thread(target=self._serve, name="lightpool-crew", daemon=True)

    def __enter__(self) -> Crew:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gone.set()
        self._server.join()

    def __iter__(self) -> Iterator[Batch]:
        while (batch := self._ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
        self._ready.put(None)  # for the next thread that asks

    def release(self, batch: Batch) -> None:
        """The slab of `batch` may be filled again."""
        if batch.slab is not None:
            member, number = batch.slab
            member.beat = time.monotonic()
            member.lent.discard(number)
            member.process.send(number)

    def _serve(self) -> None:
        try:
            while not self._gone.is_set() and self._employ():
                spoken = wait([member.process.connection for member in self._members], _LOOK)
                for member in [member for member in self._members if member.process.connection in spoken]:
                    self._hear(member)
                self._look_after()
        except BaseException as error:  # crosses the thread; raised again where batches are taken
            self._ready.put(error)
        finally:
            self._ready.put(None)
            for member in self._members:
                member.process.end()

    def _employ(self) -> bool:
        """Give tasks to whoever has none; False when all is done."""
        for member in self._members:
            if member.task is None and self._tasks:
                self._assign(member)
        while self._tasks and len(self._members) < self._n_workers:
            member = _Member(Process(self._setup))
            self._members.append(member)
            self._assign(member)
        return any(member.task is not None for member in self._members)

    def _assign(self, member: _Member) -> None:
        member.task = self._tasks.popleft()
        member.number, member.n_batches = self._n_given, 0
        self._n_given += 1
        member.open = set(range(len(member.task.sources)))
        after = member.task.after
        member.n_frames, member.n_came = after.index + 1, after.n
        member.beat = time.monotonic()
        member.process.slabs.position = 0  # not where it was in the task before
        member.process.send(member.task.errand)

    def _hear(self, member: _Member) -> None:
        """Take over what a worker hands over, or notice that it is gone."""
        try:
            message: Handover | Failure | str = member.process.connection.recv()
        except (EOFError, OSError):
            self._dismiss(member, *member.process.cause_of_death())
            return
        if isinstance(message, str):
            raise SourceError(f"a process that decodes cannot be started: {message}")
        if isinstance(message, Failure):
            raise message.error from _Remote(message.trace)
        assert member.task is not None
        sources = member.task.sources
        member.open -= {position for position, _ in message.endings}
        if message.pictures:
            newest = message.pictures[-1][1].index
            if newest is not None:
                member.n_frames, member.n_came = newest + 1, member.n_came + len(message.pictures)
        self._pass_on(
            member,
            message.slab,
            [(sources[position], picture) for position, picture in message.pictures],
            [(sources[position], ending) for position, ending in message.endings],
            message.seconds,
            message.share,
        )
        member.beat = time.monotonic()
        if message.last:
            member.task = None

    def _pass_on(
        self,
        member: _Member,
        slab: int,
        pictures: Sequence[tuple[Source, Picture]],
        endings: Sequence[tuple[Source, Ending]],
        seconds: tuple[float, float] = (0.0, 0.0),
        share: float = 0.0,
    ) -> None:
        prepared = member.process.slabs.arrays[max(slab, 0)][: len(pictures)]
        if slab >= 0:
            member.lent.add(slab)
        lent = (member, slab) if slab >= 0 else None
        place = (member.number, member.n_batches)
        member.n_batches += 1
        self._ready.put(Batch(prepared, tuple(pictures), tuple(endings), seconds, share, lent, *place))

    def _look_after(self) -> None:
        """End workers that have stood still for too long without having to wait for us."""
        now = time.monotonic()
        for member in list(self._members):
            pulse = member.process.slabs.pulse
            waits = member.task is None or len(member.lent) == self._setup.layout.n_slabs
            if pulse != member.pulse or waits:
                member.pulse, member.beat = pulse, now
            elif now - member.beat > (limit := self._timeout if pulse else max(self._timeout, _STARTING)):
                reason = f"nothing came of it for {limit:g} seconds (setting timeout)"
                self._dismiss(member, reason, readable=True)

    def _dismiss(self, member: _Member, reason: str, readable: bool) -> None:
        """End a worker. The source that it was at is given up; what else it had not finished is tried again."""
        self._members.remove(member)
        member.process.end()
        if not member.process.slabs.pulse:
            raise SourceError(f"a process that decodes cannot be started: {reason}")
        if member.task is None:
            return
        task, blamed = member.task, member.process.slabs.position
        if blamed in member.open:
            ending = Ending(member.n_frames, member.n_came, reason, readable)
            self._pass_on(member, -1, (), [(task.sources[blamed], ending)])
        left = sorted(member.open - {blamed})
        if left:
            self._tasks.appendleft(Task(tuple(task.sources[position] for position in left)))


class _Remote(Exception):  # a cause, never raised
    """The traceback of an error in a worker, to be shown as the cause of it."""

    def __init__(self, trace: str) -> None:
        super().__init__(f"\n{trace}")
