"""A worker process: sources in, prepared pictures out. Started by `crew`; whatever kills it kills only it.

It decodes one task at a time, writes prepared pictures into slabs of shared memory and hands over slab by
slab. B: pictures in a batch.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image

from lightpool_core.arrays import Array, array_digest
from lightpool_core.embedding.embedder import Preparer
from lightpool_core.embedding.pictures import Ending, Errand, Picture
from lightpool_core.embedding.slabs import Layout, Slabs
from lightpool_core.errors import ContractViolation, DecodeError, SourceError
from lightpool_core.media.quality import measured
from lightpool_core.media.reader import FrameStream, open_source
from lightpool_core.media.reading import Reading
from lightpool_core.media.source import Frame, readable

_BEAT = 0.2
"""Seconds between two looks at whether frames still come."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker has to know before its first task."""

    preparer: bytes
    """What prepares pictures, pickled."""
    embedder: str
    """Name of the embedder's class, to blame it by."""
    modules: Mapping[str, str]
    """Modules that no import finds, and their files: plugins that were named by a path."""
    reading: Reading
    layout: Layout


@dataclass(frozen=True, slots=True)
class Handover:
    """What a worker has got ready: the filled part of a slab, and the sources that came to their end."""

    slab: int
    pictures: tuple[tuple[int, Picture], ...] = ()
    """In the order of the slab, each with the position of its source in the task."""
    endings: tuple[tuple[int, Ending], ...] = ()
    seconds: tuple[float, float] = (0.0, 0.0)
    """Spent decoding and preparing since the handover before."""
    share: float = 0.0
    """Of the source that it is at, about how much is decoded, from 0 to 1; 0 where nobody knows."""
    last: bool = False
    """True where the task is done."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that is no source's fault: of the embedder, or of this program."""

    error: BaseException
    trace: str


def main(connection_fd: int, memory_fd: int, parent: int) -> None:
    """Work off tasks until the other side closes the connection, or the process `parent` is gone."""
    warnings.simplefilter("ignore")  # Pillow warns about odd files; here a file is fine or it is reported
    Image.MAX_IMAGE_PIXELS = None  # reading has a limit of its own, which can be changed
    connection = Connection(connection_fd)
    try:
        setup: Setup = connection.recv()
        try:
            for name, file in setup.modules.items():
                _import_from(name, file)
            preparer: Preparer = pickle.loads(setup.preparer)  # noqa: S301  # from our parent
        except Exception as error:  # a stranger's module may raise anything while it is imported
            connection.send(_failure(error))
            return
        worker = _Worker(connection, Slabs(memory_fd, setup.layout), preparer, setup)
        threading.Thread(target=worker.beat, args=(parent,), daemon=True).start()
        worker.run()
    except (EOFError, ConnectionError):  # nobody is waiting any more
        return


def _import_from(name: str, file: str) -> None:
    # A script that is running does not run again: there, its own name is not `__main__`.
    spec = importlib.util.spec_from_file_location("__mp_main__" if name == "__main__" else name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = sys.modules[spec.name] = module
    spec.loader.exec_module(module)


@dataclass
class _Slab:
    """The slab that is being filled."""

    number: int
    pictures: list[tuple[int, Picture]] = field(default_factory=list)


class _Worker:
    def __init__(self, connection: Connection, slabs: Slabs, preparer: Preparer, setup: Setup) -> None:
        self._connection = connection
        self._slabs = slabs
        self._preparer = preparer
        self._embedder = setup.embedder
        self._reading = setup.reading
        self._layout = setup.layout
        self._free = list(range(setup.layout.n_slabs))
        self._slab: _Slab | None = None
        self._endings: list[tuple[int, Ending]] = []
        self._decoding = self._preparing = 0.0
        self._n_steps = 0
        self._stream: FrameStream | None = None

    def run(self) -> None:
        """Take one task after the other."""
        while True:
            message: Errand | int = self._connection.recv()
            if isinstance(message, int):
                self._free.append(message)
                continue
            try:
                for position in range(len(message.files)):
                    self._slabs.position = position
                    self._step()
                    ending = self._decode(position, message)
                    self._endings.append((position, ending))
                self._hand_over(last=True)
            except (EOFError, ConnectionError):
                raise
            except _Blamed as blamed:
                self._connection.send(_failure(blamed.error))
            except BaseException as error:  # crosses the process; raised again over there
                self._connection.send(_failure(error))

    def beat(self, parent: int) -> None:
        """Show that frames still come, and end with the parent process, however that ended."""
        while os.getppid() == parent:
            stream = self._stream
            self._show(stream.n_read if stream else 0)
            time.sleep(_BEAT)
        os.killpg(0, signal.SIGKILL)

    def _step(self) -> None:
        self._n_steps += 1
        self._show(0)

    def _show(self, n_read: int) -> None:
        self._slabs.pulse = (self._n_steps << 32 | n_read) % (1 << 63)

    def _decode(self, position: int, errand: Errand) -> Ending:
        """Every sampled picture of a source, ready to be embedded, and how it ended."""
        n_decoded, file, after, before = 0, Path(errand.files[position]), errand.after, errand.after.digest
        try:
            self._stream = open_source(file, errand.kind, self._reading)
            with self._stream as stream:
                started = time.perf_counter()
                for frame in stream:
                    decoded = time.perf_counter()
                    self._decoding += decoded - started
                    self._step()
                    n_decoded += 1
                    if frame.index is None or frame.index > after.index:
                        before = self._add(position, file, frame, before)
                    started = time.perf_counter()
                self._decoding += time.perf_counter() - started
            return _ending(stream.n_frames, n_decoded, stream.reason or "", stream.key_frames_only)
        except DecodeError as error:
            return Ending(0, 0, str(error))
        except SourceError as error:
            return Ending(0, 0, str(error), readable=False)
        except (OSError, MemoryError) as error:
            return Ending(0, 0, f"cannot be read: {' '.join(str(error).split())}", readable=False)
        finally:
            self._stream = None

    def _add(self, position: int, file: Path, frame: Frame, before: str) -> str:
        """Prepare `frame` into the slab, unless it repeats the one `before`; its digest."""
        started = time.perf_counter()
        prepared = self._prepared(file, frame)
        digest = array_digest(prepared)
        repeats = digest == before
        found = measured(frame.pixels) if self._reading.measure and not repeats else {}
        self._preparing += time.perf_counter() - started
        if repeats:
            return digest
        # A full slab goes only now: what ends with its last picture goes with it.
        if self._slab and len(self._slab.pictures) == self._layout.batch:
            self._hand_over()
        slab = self._slab = self._slab or self._free_slab()
        self._slabs.arrays[slab.number][len(slab.pictures)] = prepared
        picture = Picture(digest, frame.width, frame.height, frame.index, frame.time, found)
        slab.pictures.append((position, picture))
        return digest

    def _prepared(self, file: Path, frame: Frame) -> Array:
        try:
            prepared = np.asarray(self._preparer.prepare(frame.pixels))
        except MemoryError:
            raise
        except Exception as error:  # whatever it is, a missing file as well, it is not the source's fault
            raise _Blamed(error) from error
        wanted = self._layout
        if prepared.shape != wanted.shape or prepared.dtype.str != wanted.dtype:
            raise ContractViolation(
                f"embedder {self._embedder} prepares pictures of different shapes:"
                f" {prepared.dtype} {prepared.shape} of {readable(str(file))},"
                f" {np.dtype(wanted.dtype)} {wanted.shape} before"
            )
        return prepared

    def _free_slab(self) -> _Slab:
        """Waits for one if it has to."""
        while not self._free:
            self._free.append(self._connection.recv())
        return _Slab(self._free.pop())

    def _hand_over(self, *, last: bool = False) -> None:
        slab, self._slab = self._slab or _Slab(-1), None
        seconds = (self._decoding, self._preparing)
        self._decoding = self._preparing = 0.0
        endings, self._endings = tuple(self._endings), []
        share = self._stream.share if self._stream else 0.0
        self._connection.send(Handover(slab.number, tuple(slab.pictures), endings, seconds, share, last))


@lru_cache(maxsize=64)
def _ending(n_frames: int, n_decoded: int, reason: str, key_frames_only: bool) -> Ending:
    """Most images end alike: one ending crosses processes faster than many."""
    return Ending(n_frames, n_decoded, reason, key_frames_only=key_frames_only)


class _Blamed(Exception):
    """Carries what an embedder raised past where the same would be a source's fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _failure(error: BaseException) -> Failure:
    """`error` as it can cross a process: not every exception can be pickled, or read back."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    return Failure(error, trace)
