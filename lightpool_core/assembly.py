"""Raw sources → candidates: embedded, recognised where they are known, named and labelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Array, Rows
from lightpool_core.candidates import Candidates
from lightpool_core.embedding.embedder import Embedder, precision_of
from lightpool_core.embedding.journal import Entries, Journal
from lightpool_core.embedding.pictures import Ending
from lightpool_core.embedding.pipeline import Effort, embed_sources
from lightpool_core.media.quality import MEASURED, PREFIX
from lightpool_core.media.reading import Reading
from lightpool_core.media.source import SampleRef, Source, frame_name
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.ledger import Outcome
from lightpool_core.progress import SILENT, Progress
from lightpool_core.triage import Fresh, with_distinct_names


@dataclass(frozen=True)
class Members:
    """What the pool already holds, to recognise it when it comes again."""

    filenames: frozenset[str] = frozenset()
    digests: Mapping[str, str] = field(default_factory=dict)
    """Digest of a picture → filename."""
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


@dataclass(frozen=True, slots=True)
class Embedding:
    """What came out of some raw sources."""

    candidates: Candidates
    outcomes: tuple[Outcome, ...] = ()
    """What became of every source."""
    n_decoded: int = 0
    """Pictures, duplicates included."""
    n_by_key_frames: int = 0
    """Videos of which nothing but key frames was decoded."""
    n_known: int = 0
    """Pictures whose embeddings an earlier run had written down."""
    precision: str = ""
    """In which they were embedded, and on what."""
    effort: Effort = field(default_factory=Effort)
    journal: Journal | None = None
    """Where the embeddings are written down."""
    keys: frozenset[str] = frozenset()
    """What it calls the sources."""


def embed(
    fresh: Sequence[Fresh],
    members: Members,
    embedder: Embedder,
    journal: Journal,
    *,
    reading: Reading,
    progress: Progress = SILENT,
) -> Embedding:
    """Decode and embed `fresh` as far as `journal` lacks them; `members` of the pool are passed over."""
    named = with_distinct_names(fresh, members.sources)
    sources = {journal_key(entry, reading.fps): entry.source for entry in named}
    effort = embed_sources(sources, embedder, journal, reading=reading, progress=progress)
    entries = journal.entries(sources)
    endings = [entries.endings[key] for key in sources]
    pictures = _Pictures(named, endings, members)
    where = pictures.take(entries, list(sources))
    outcomes = tuple(
        _outcome(entry, ending, pictures.twins.get(entry.source.name, ""))
        for entry, ending in zip(named, endings, strict=True)
    )
    return Embedding(
        pictures.candidates(entries.pictures.take(where), journal),
        outcomes,
        sum(outcome.samples for outcome in outcomes),
        sum(ending.key_frames_only for ending in endings),
        entries.pictures.num_rows - effort.n_embedded,
        precision_of(embedder),
        effort,
        journal,
        frozenset(sources),
    )


def no_candidates(journal: Journal) -> Candidates:
    """None at all, with the columns of those that come out of `journal`: what is known before anything is decoded."""
    return _Pictures((), (), Members()).candidates(journal.entries(()).pictures, journal)


def journal_key(entry: Fresh, fps: float | None) -> str:
    """What a journal calls a source: the same for the same bytes, sampled at the same rate."""
    sampled = f" fps={'all' if fps is None else float(fps)}" if entry.source.kind == "video" else ""
    return f"{entry.source.kind} {entry.digest}{sampled}"


class _Pictures:
    """The pictures that become candidates, named and labelled, in the order of sources and frames."""

    def __init__(self, named: Sequence[Fresh], endings: Sequence[Ending], members: Members) -> None:
        self._named = named
        self._endings = endings
        self._members = members
        self._refs: list[SampleRef] = []
        self._label_names: list[str] = []
        self._sizes: list[int] = []
        self.twins: dict[str, str] = {}
        """Source → the first picture or source found to look the same as one of its pictures."""

    def take(self, entries: Entries, keys: Sequence[str]) -> Rows:
        """Rows of the pictures that are worth a look: none of the pool, none that looks the same as an earlier one."""
        members, seen, taken = self._members, dict[str, str](), set(self._members.filenames)
        kept: list[int] = []
        for row, number, frame, digest, time in _in_order(entries.pictures, keys):
            entry, ending = self._named[number], self._endings[number]
            if not ending.readable or (entry.digest, frame) in members.frames:
                continue
            twin = members.digests.get(digest) or seen.get(digest)
            if twin:
                self.twins.setdefault(entry.source.name, twin)
                continue
            seen[digest] = entry.source.name
            ref = _ref(entry.source, frame, time, digest, ending.n_frames, taken)
            taken.add(ref.filename)
            kept.append(row)
            self._refs.append(ref)
            self._label_names.append(entry.source.label_name)
            self._sizes.append(entry.source.size)
        return np.array(kept, dtype=np.int64)

    def candidates(self, rows: pa.Table, journal: Journal) -> Candidates:
        """The candidates, whose pictures are `rows` of the journal."""
        numbers = numbered(self._label_names, self._members.labels)
        labels = np.array([numbers[name] for name in self._label_names], dtype=np.int64)
        named = {"weak_label": labels.astype(np.float64), "weak_label_name": np.array(self._label_names, dtype=object)}
        return Candidates(
            journal.embeddings(rows["part"].to_numpy(), rows["row"].to_numpy()),
            labels,
            tuple(self._refs),
            tuple(rows["digest"].to_pylist()),
            Annotations(_metadata(rows, self._sizes) | named),
        )


def _in_order(pictures: pa.Table, keys: Sequence[str]) -> Iterator[tuple[int, int, int | None, str, float | None]]:
    """Row, number of the source in `keys`, frame, digest, time; by source and frame, and each once."""
    numbers = pa.compute.index_in(pictures["source"], pa.array(keys, pa.string())).to_numpy()
    frames = pictures["frame"].fill_null(-1).to_numpy()
    digests, times = pictures["digest"].to_pylist(), pictures["time"].to_pylist()
    before = None
    for row in np.lexsort((frames, numbers)).tolist():
        now = (int(numbers[row]), int(frames[row]))
        if now != before:  # two journals may hold the same
            yield row, now[0], None if now[1] < 0 else now[1], digests[row], times[row]
        before = now


def _metadata(rows: pa.Table, sizes: Sequence[int]) -> dict[str, Array]:
    """What is known of the pictures in `rows` of a journal, whose files have `sizes` in bytes."""
    size = {name: rows[name].to_numpy().astype(np.float64) for name in ("width", "height")}
    measured = {name: rows[name].to_numpy() for name in MEASURED if name in rows.column_names}
    known = {f"{PREFIX}{name}": column for name, column in size.items()}
    return size | known | {f"{PREFIX}sizeInBytes": np.array(sizes, dtype=np.float64)} | measured


def _outcome(entry: Fresh, ending: Ending, twin: str) -> Outcome:
    source = entry.source
    if not ending.readable:
        return Outcome(source, "", "corrupt", ending.reason)  # no ledger remembers it
    if not ending.n_decoded:
        return Outcome(source, entry.digest, "corrupt", ending.reason or "holds no pictures")
    if source.kind == "image" and twin:
        return Outcome(source, entry.digest, "duplicate", f"looks the same as {twin}", ending.n_decoded)
    return Outcome(source, entry.digest, "processed", ending.reason, ending.n_decoded)


def _ref(
    source: Source, frame: int | None, time: float | None, digest: str, n_frames: int, taken: set[str]
) -> SampleRef:
    name = source.name if frame is None else frame_name(source.name, frame, n_frames)
    if name in taken:  # an image that is called like a frame of a video beside it
        path = PurePosixPath(name)
        name = str(path.with_name(f"{path.stem}-{digest}{path.suffix}"))
    return SampleRef(name, source.name, frame, time)


def numbered(names: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    """An integer for each weak label: `known` ones keep theirs, new ones follow in sorted order, '' is 0."""
    numbers = {"": 0, **known}
    new = sorted(set(names) - set(numbers))
    return numbers | {name: number for number, name in enumerate(new, start=max(numbers.values()) + 1)}
