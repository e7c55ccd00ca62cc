"""Sources → embeddings, in bounded memory: workers decode and prepare, the calling thread embeds in batches.

Batches are made within a video, or within a fixed share of the images, so that it does not matter which worker
was faster, nor whether the run was cut off in between. B: pictures in a batch. D: dimension. S: shape of a
prepared picture.
"""

from __future__ import annotations

import dataclasses
import math
import pickle
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import astuple, dataclass
from functools import partial
from importlib.machinery import PathFinder

import numpy as np

from lightpool_core.arrays import Embeddings, unit_rows
from lightpool_core.embedding.crew import Batch, Crew
from lightpool_core.embedding.embedder import Embedder, Preparer, batch_size_of, get_ready, lanes_of, preparer_of
from lightpool_core.embedding.journal import Entries, Journal
from lightpool_core.embedding.lanes import n_cores, side_by_side
from lightpool_core.embedding.pictures import Reached, tasks_of
from lightpool_core.embedding.slabs import Layout
from lightpool_core.embedding.worker import Setup
from lightpool_core.errors import ContractViolation
from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.media.reading import Reading
from lightpool_core.media.source import Source
from lightpool_core.progress import SILENT, Progress

_TRIAL = 64
_SLABS, _MOST_SLABS = 2, 8
"""Batches per worker that are filled, wait, or are embedded. Several that wait even out who gets the cores when."""
_WAITING_BYTES = 16 << 20
"""Per worker, from which on no more than necessary wait."""
_MEMORY = 2 << 30
"""Bytes that all workers together may share with us."""
_SHARES = 4
"""Of the images that each worker should get at least, so that all end at about the same time."""
_FEW = 8
"""Images that are always taken together."""
_THREADS = 2
"""Of an ffmpeg at least: one decodes while the other scales."""
_IDLE = 0.5
"""Share of the time that the embedder waits, from which on it is not what takes long."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What embedding took: core seconds of the workers, wall time of the embedder."""

    decode: float = 0.0
    prepare: float = 0.0
    embed: float = 0.0
    wait: float = 0.0
    """For which the embedder had nothing to do."""
    n_embedded: int = 0
    """Pictures."""

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))

    @property
    def bottleneck(self) -> str:
        """What the whole waits for: `decode`, `prepare` or `embed`; '' where there was nothing to do."""
        if not self.wait + self.embed:
            return ""
        if self.wait < _IDLE * (self.wait + self.embed):
            return "embed"
        return "decode" if self.decode >= self.prepare else "prepare"


def embed_sources(
    sources: Mapping[str, Source],
    embedder: Embedder,
    journal: Journal,
    *,
    reading: Reading,
    progress: Progress = SILENT,
) -> Effort:
    """Decode, prepare and embed `sources`, by their keys in the journal, as far as the journal lacks them.

    A source that cannot be decoded, or that makes its worker hang or die, ends with its reason; pictures come
    as large as the embedder wants them, or as they are where the journal wants them measured. Raises
    ContractViolation for a bad embedder, SourceError where there is no ffmpeg.
    """
    known = journal.entries(sources)
    keys = {source: key for key, source in sources.items() if key not in known.endings}
    if not keys:
        return Effort()
    if any(source.kind == "video" for source in keys):
        ffmpeg_command()  # none at all is no video's fault
    measure = journal.maker.measured
    enough = None if measure else embedder.input_size  # made smaller, a picture measures otherwise
    setup = _setup(embedder, dataclasses.replace(reading, short_side=enough, measure=measure))
    done = {source for key, source in sources.items() if key in known.endings}
    n_images = _share(len(sources), setup.layout.batch)
    tasks = tasks_of(list(sources.values()), n_images, _reached(known, keys), done)
    n_workers = max(1, min(n_cores(), len(tasks), _MEMORY // setup.layout.n_bytes))
    threads = max(_THREADS, math.ceil(n_cores() / n_workers))
    n_slabs = max(_n_slabs(setup.layout), 1 + math.ceil(lanes_of(embedder) / n_workers))
    setup = dataclasses.replace(
        setup,
        reading=dataclasses.replace(setup.reading, threads=threads),
        layout=dataclasses.replace(setup.layout, n_slabs=n_slabs),
    )
    if any(task.sources[0].kind == "video" or len(task.sources) == setup.layout.batch for task in tasks):
        get_ready(embedder, progress)
    with Crew(tasks, setup, n_workers=n_workers, timeout=reading.timeout) as crew:
        return _embed_all(crew, keys, embedder, journal, progress)


def _embed_all(
    crew: Crew, keys: Mapping[Source, str], embedder: Embedder, journal: Journal, progress: Progress
) -> Effort:
    """Embed every batch that `crew` has ready, and write it down."""
    spent, asked, begun = Effort(), time.perf_counter(), dict[Source, float]()
    n_lanes = lanes_of(embedder)
    with (
        closing(side_by_side(crew, partial(_embedded, embedder), n_lanes)) as batches,
        progress.stage("decoding", len(keys)) as decoding,
        progress.stage("embedding") as embedding,
    ):
        for done in batches:
            began, batch = time.perf_counter(), done.batch
            pictures = [(keys[source], picture) for source, picture in batch.pictures]
            journal.add(pictures, done.embeddings, [(keys[source], ending) for source, ending in batch.endings])
            crew.release(batch)
            ended = time.perf_counter()
            busy = done.seconds / n_lanes + ended - began
            spent += Effort(*batch.seconds, busy, ended - asked - busy, len(batch.pictures))
            asked = ended
            decoding.advance(_advanced(batch, begun))
            embedding.advance(len(batch.pictures))
            embedding.note(f"{spent.bottleneck} is the bottleneck")
    return spent


def _advanced(batch: Batch, begun: dict[Source, float]) -> float:
    """How many sources were decoded for `batch`, of those that it does not end a share; `begun` keeps account of it."""
    ended = sum(1 - begun.pop(source, 0.0) for source, _ in batch.endings)
    if not batch.share:
        return ended
    source = batch.pictures[-1][0]
    before, begun[source] = begun.get(source, 0.0), batch.share
    return ended + batch.share - before


def _share(n_sources: int, batch: int) -> int:
    """How many images a worker takes at once: a batch, or fewer where some workers would be left without."""
    return min(batch, max(_FEW, math.ceil(n_sources / (_SHARES * n_cores()))))


def _n_slabs(layout: Layout) -> int:
    return max(_SLABS, min(_MOST_SLABS, _WAITING_BYTES // max(1, layout.slab_bytes)))


def _setup(embedder: Embedder, reading: Reading) -> Setup:
    """What workers have to know; one picture is prepared here, to see what becomes of it."""
    preparer = preparer_of(embedder)
    prepared = np.asarray(preparer.prepare(np.zeros((_TRIAL, _TRIAL, 3), dtype=np.uint8)))
    layout = Layout(_SLABS, batch_size_of(embedder), prepared.shape, prepared.dtype.str)
    name = type(embedder).__name__
    try:
        pickled = pickle.dumps(preparer)
    except Exception as error:  # whatever a plugin holds may refuse in its own way
        raise ContractViolation(
            f"embedder {name} cannot travel to worker processes ({type(error).__name__}: {error}); give it a method"
            " preparer() that answers with something that prepares pictures and can be pickled"
        ) from error
    return Setup(pickled, name, _modules(preparer), reading, layout)


def _modules(preparer: Preparer) -> dict[str, str]:
    """The module of a plugin that was named by its file: no import finds that."""
    name = type(preparer).__module__
    file = getattr(sys.modules.get(name), "__file__", None)
    return {name: file} if file and PathFinder.find_spec(name.partition(".")[0]) is None else {}


def _reached(known: Entries, left: Mapping[Source, str]) -> dict[Source, Reached]:
    """Of videos that a run did not finish: the last frame that was embedded."""
    by_key = {key: source for source, key in left.items() if source.kind == "video"}
    frames: dict[Source, dict[int, str]] = {}
    rows = known.pictures.select(["source", "frame", "digest"]).to_pylist() if known.pictures else []
    for row in rows:
        source = by_key.get(row["source"])
        if source:
            frames.setdefault(source, {})[row["frame"]] = row["digest"]
    return {source: Reached(max(found), found[max(found)], len(found)) for source, found in frames.items()}


def _embedded(embedder: Embedder, batch: Batch) -> Embeddings:
    """(n, D) unit rows of the pictures in `batch`; checks what the embedder answers."""
    if not batch.pictures:
        return np.empty((0, embedder.dim), dtype=np.float32)
    who = f"embedder {type(embedder).__name__}"
    answer = np.asarray(embedder.embed(batch.prepared))
    wanted = (len(batch.pictures), embedder.dim)
    if answer.shape != wanted or answer.dtype != np.float32:
        raise ContractViolation(f"{who} answers {answer.dtype} {answer.shape}, not float32 {wanted}")
    try:
        return unit_rows(answer)
    except ValueError as error:
        usable = np.isfinite(answer).all(1) & answer.any(1)
        name = batch.pictures[int(np.argmin(usable))][0].name
        raise ContractViolation(f"{who} answers zero or not finite numbers for a picture of {name}") from error
