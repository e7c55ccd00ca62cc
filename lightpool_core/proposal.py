"""What a run would add: sources → candidates → selection, with nothing written yet."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np

from lightpool_core.candidates import Candidates
from lightpool_core.embedding.embedder import Embedder
from lightpool_core.embedding.pipeline import DecodedSource, Embedded, Picture, embed_sources
from lightpool_core.media.source import SampleRef, Source, frame_name
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.ledger import Outcome
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import PoolView, Sampler, Selection, checked
from lightpool_core.selection.stop import Stop
from lightpool_core.triage import Fresh, with_distinct_names


@dataclass(frozen=True)
class Members:
    """What the pool already holds, to recognise it when it comes again."""

    filenames: frozenset[str] = frozenset()
    digests: Mapping[str, str] = field(default_factory=dict)
    """Digest of the pixels → filename."""
    frames: frozenset[tuple[str, int | None]] = frozenset()
    """Digest of the source's bytes, and which frame."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Name of a source → digest of its bytes."""
    labels: Mapping[str, int] = field(default_factory=dict)
    """What a weak label stands for → integer."""

    @classmethod
    def of(cls, pool: Datapool) -> Members:
        """What `pool` holds at its version."""
        table = pool.columns("filename", "digest", "source", "source_digest", "frame")
        column = {name: table[name].to_pylist() for name in table.column_names}
        return cls(
            frozenset(column["filename"]),
            dict(zip(column["digest"], column["filename"], strict=True)),
            frozenset(zip(column["source_digest"], column["frame"], strict=True)),
            dict(zip(column["source"], column["source_digest"], strict=True)),
            pool.labels_given,
        )


@dataclass(frozen=True)
class Proposal:
    """The candidates of a run, and which of them are chosen."""

    candidates: Candidates
    selection: Selection
    outcomes: tuple[Outcome, ...]
    """What became of every source that was decoded."""
    n_decoded: int
    """Pictures decoded, duplicates included."""
    pool: PoolView
    """What the candidates were compared with."""

    @property
    def chosen(self) -> Candidates:
        """The chosen candidates, in pick order."""
        return self.candidates.take(self.selection.indices)


def stop_for(stop: Stop, embedder: Embedder) -> Stop:
    """`stop`, or where it has no condition at all the embedder's near-duplicate distance."""
    return Stop(min_distance=embedder.near_duplicate) if stop == Stop() else stop


def nothing(dim: int) -> Proposal:
    """The proposal of a run without new sources."""
    none = np.empty(0, dtype=np.int64)
    candidates = Candidates(np.empty((0, dim), np.float32), none, ())
    return Proposal(candidates, Selection(none, np.empty(0, np.float32)), (), 0, ArrayView(candidates.embeddings))


def embed(
    fresh: Sequence[Fresh],
    members: Members,
    embedder: Embedder,
    *,
    fps: float | None,
    progress: Progress = SILENT,
) -> tuple[Candidates, tuple[Outcome, ...], int]:
    """Decode and embed `fresh`: the candidates, what became of each source, and how many pictures there were.

    `fps` frames per second of a video, None for every frame; `members` of the pool are passed over.
    """
    named = with_distinct_names(fresh, members.sources)
    twins = _Twins(members, {entry.source.name: entry.digest for entry in named})
    sources = [entry.source for entry in named]
    embedded = embed_sources(sources, embedder, fps=fps, keep=twins.keep, progress=progress)
    outcomes = tuple(
        _outcome(decoded, entry.digest, twins.of(decoded.source))
        for decoded, entry in zip(embedded.sources, named, strict=True)
    )
    return _candidates(embedded, members), outcomes, sum(s.n_decoded for s in embedded.sources)


def choose(
    candidates: Candidates,
    pool: PoolView,
    sampler: Sampler,
    stop: Stop,
    *,
    seed: int,
    progress: Progress = SILENT,
) -> Selection:
    """What `sampler` picks from `candidates`, checked against its contract."""
    rng = np.random.default_rng(seed)
    if "progress" in inspect.signature(sampler.select).parameters:
        selection = sampler.select(candidates, pool, stop, rng, progress=progress)  # type: ignore[call-arg]
    else:
        with progress.stage("selecting", len(candidates)) as stage:
            selection = sampler.select(candidates, pool, stop, rng)
            stage.advance(len(candidates))
    return checked(selection, len(candidates), stop, type(sampler).__name__)


class _Twins:
    """Recognises pictures with the same pixels as an earlier one or as one in the pool."""

    def __init__(self, members: Members, source_digests: Mapping[str, str]) -> None:
        self._members = members
        self._source_digests = source_digests
        self._seen: dict[str, str] = {}
        self._twin: dict[str, str] = {}

    def keep(self, source: Source, picture: Picture) -> bool:
        """False for a picture that need not be looked at."""
        if (self._source_digests[source.name], picture.index) in self._members.frames:
            return False
        twin = self._members.digests.get(picture.digest) or self._seen.get(picture.digest)
        if twin:
            self._twin.setdefault(source.name, twin)
            return False
        self._seen[picture.digest] = source.name
        return True

    def of(self, source: Source) -> str:
        """The first picture or source found to be the same as a picture of `source`, or ''."""
        return self._twin.get(source.name, "")


def _outcome(decoded: DecodedSource, digest: str, twin: str) -> Outcome:
    source, reason = decoded.source, decoded.ending.reason
    if not decoded.ending.readable:
        digest = ""  # no ledger remembers it
    if not decoded.n_decoded:
        return Outcome(source, digest, "corrupt", reason or "holds no pictures")
    if source.kind == "image" and twin:
        return Outcome(source, digest, "duplicate", f"same pixels as {twin}", decoded.n_decoded)
    return Outcome(source, digest, "processed", reason, decoded.n_decoded)


def _candidates(embedded: Embedded, members: Members) -> Candidates:
    taken = set(members.filenames)
    refs: list[SampleRef] = []
    pictures: list[Picture] = []
    label_names: list[str] = []
    for decoded in embedded.sources:
        for picture in decoded.pictures:
            ref = _ref(decoded, picture, taken)
            taken.add(ref.filename)
            refs.append(ref)
            label_names.append(decoded.source.label_name)
        pictures.extend(decoded.pictures)
    numbers = numbered(label_names, members.labels)
    return Candidates(
        embedded.embeddings,
        np.array([numbers[name] for name in label_names], dtype=np.int64),
        tuple(refs),
        tuple(picture.digest for picture in pictures),
        {
            "width": np.array([picture.width for picture in pictures], dtype=np.int32),
            "height": np.array([picture.height for picture in pictures], dtype=np.int32),
        },
    )


def _ref(decoded: DecodedSource, picture: Picture, taken: set[str]) -> SampleRef:
    name = decoded.source.name
    if picture.index is not None:
        name = frame_name(name, picture.index, decoded.ending.n_frames)
    if name in taken:  # an image that is called like a frame of a video beside it
        path = PurePosixPath(name)
        name = str(path.with_name(f"{path.stem}-{picture.digest}{path.suffix}"))
    return SampleRef(name, decoded.source.name, picture.index, picture.time)


def numbered(names: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    """An integer for each weak label: `known` ones keep theirs, new ones follow in sorted order, '' is 0."""
    numbers = {"": 0, **known}
    new = sorted(set(names) - set(numbers))
    return numbers | {name: number for number, name in enumerate(new, start=max(numbers.values()) + 1)}
