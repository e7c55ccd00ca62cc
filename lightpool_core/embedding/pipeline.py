"""Sources → embeddings, in bounded memory: workers decode and prepare, the calling thread embeds in batches."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from lightpool_core.arrays import Array, Embeddings, pixel_digest, unit_rows
from lightpool_core.embedding.embedder import Embedder
from lightpool_core.embedding.streams import in_parallel
from lightpool_core.errors import ContractViolation, DecodeError
from lightpool_core.media.reader import open_source
from lightpool_core.media.source import Source
from lightpool_core.progress import SILENT, Progress

_BATCH = 32
_DEPTH = 8
"""Prepared pictures that wait per worker."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What is known of a decoded picture once its pixels are gone."""

    digest: str
    """Of its pixels."""
    width: int
    height: int
    index: int | None
    """Position in the video; None for an image."""
    time: float | None
    """Seconds since the video's beginning; None for an image."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a source ended: all its frames counted, sampled or not, and why some are missing, if they are."""

    n_frames: int
    reason: str = ""
    readable: bool = True
    """False where the system failed and not the source: another run may fare better."""


@dataclass(frozen=True, slots=True)
class DecodedSource:
    """What came out of one source."""

    source: Source
    pictures: tuple[Picture, ...]
    """Those that were embedded."""
    n_decoded: int
    """Those that were refused included."""
    ending: Ending


@dataclass(frozen=True, slots=True)
class Embedded:
    """`embeddings` (N, D) of all pictures of `sources`, in their order."""

    sources: tuple[DecodedSource, ...]
    embeddings: Embeddings


Keep = Callable[[Source, Picture], bool]
_Prepared = tuple[Picture, Array]


def embed_sources(
    sources: Sequence[Source],
    embedder: Embedder,
    *,
    fps: float | None,
    keep: Keep,
    progress: Progress = SILENT,
) -> Embedded:
    """Decode, prepare and embed `sources`, `fps` frames per second of a video (None for every frame).

    `keep` is asked about every picture, in order; what it refuses is counted and not embedded. A source that
    cannot be decoded ends with its reason and no pictures. Raises ContractViolation for a bad embedder.
    """
    batches = _Batches(embedder)
    done: list[DecodedSource] = []
    workers = os.cpu_count() or 1
    streams = in_parallel(sources, lambda s: _prepared(s, embedder, fps), workers=workers, depth=_DEPTH)
    decoding, embedding = progress.stage("decoding", len(sources)), progress.stage("embedding")
    with decoding, embedding, _quiet_decoders(), closing(streams):
        for source, items in streams:
            pictures: list[Picture] = []
            ending, n_decoded = Ending(0), 0
            for item in items:
                if isinstance(item, Ending):
                    ending = item
                    continue
                picture, prepared = item
                n_decoded += 1
                if keep(source, picture):
                    pictures.append(picture)
                    batches.add(prepared, source.name)
                    embedding.advance()
            done.append(DecodedSource(source, tuple(pictures), n_decoded, ending))
            decoding.advance()
        return Embedded(tuple(done), batches.finish())


def _prepared(source: Source, embedder: Embedder, fps: float | None) -> Iterator[_Prepared | Ending]:
    """Every sampled picture of `source`, ready to be embedded, then how it ended; runs in a worker."""
    try:
        with open_source(source, fps) as stream:
            for frame in stream:
                height, width = frame.pixels.shape[:2]
                picture = Picture(pixel_digest(frame.pixels), width, height, frame.index, frame.time)
                yield picture, np.asarray(embedder.prepare(frame.pixels))
        yield Ending(stream.n_frames, stream.reason or "")
    except DecodeError as error:
        yield Ending(0, str(error))
    except (OSError, MemoryError) as error:
        yield Ending(0, f"cannot be read: {' '.join(str(error).split())}", readable=False)


class _Batches:
    """Gathers prepared pictures, embeds them batch by batch and checks what the embedder answers."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._waiting: list[Array] = []
        self._names: list[str] = []
        self._done: list[Embeddings] = []

    def add(self, prepared: Array, name: str) -> None:
        self._waiting.append(prepared)
        self._names.append(name)
        if len(self._waiting) == _BATCH:
            self._embed()

    def finish(self) -> Embeddings:
        if self._waiting:
            self._embed()
        return np.concatenate([np.empty((0, self._embedder.dim), np.float32), *self._done])

    def _embed(self) -> None:
        who = f"embedder {type(self._embedder).__name__}"
        shapes = {prepared.shape for prepared in self._waiting}
        if len(shapes) > 1:
            raise ContractViolation(f"{who} prepares pictures of different shapes: {sorted(shapes)}")
        answer = np.asarray(self._embedder.embed(np.stack(self._waiting)))
        wanted = (len(self._waiting), self._embedder.dim)
        if answer.shape != wanted or answer.dtype != np.float32:
            raise ContractViolation(f"{who} answers {answer.dtype} {answer.shape}, not float32 {wanted}")
        lengths = np.linalg.norm(answer.astype(np.float64), axis=1)
        usable = np.isfinite(lengths) & (lengths > 0)
        if not usable.all():
            name = self._names[int(np.argmin(usable))]
            raise ContractViolation(f"{who} answers zero or not finite numbers for a picture of {name}")
        self._done.append(unit_rows(answer))
        self._waiting.clear()
        self._names.clear()


@contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Pillow warns about odd files; here a file is fine or it is reported, and nothing else is said."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.|pillow_heif")
        yield
