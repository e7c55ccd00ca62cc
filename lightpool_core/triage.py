"""New sources told apart by their bytes, before anything is decoded."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

from lightpool_core.media.reader import file_digest, link_digest
from lightpool_core.media.source import Source
from lightpool_core.pool.ledger import Outcome, Record
from lightpool_core.progress import SILENT, Progress


@dataclass(frozen=True, slots=True)
class Fresh:
    """A source that has to be decoded."""

    source: Source
    digest: str
    """Of its bytes."""


@dataclass(frozen=True, slots=True)
class Triage:
    """New sources by what is to be done with them."""

    fresh: tuple[Fresh, ...] = ()
    settled: tuple[Outcome, ...] = ()
    """Copies of what is known, and what cannot be read."""
    unchanged: tuple[Outcome, ...] = ()
    """Known files whose modification time is new and whose bytes are not."""


Lookup = Callable[[Iterable[str]], Mapping[str, Record]]


def triage(sources: Sequence[Source], known: Lookup, progress: Progress = SILENT) -> Triage:
    """Read the bytes of `sources` and compare them with each other and with what `known` answers for digests."""
    digests = list(_digests(sources, progress))
    records = known(digest for digest, _ in digests if digest)
    # By kind as well: bytes that are broken as a video may be a fine image under a wrong name.
    fresh: dict[tuple[str, str], Fresh] = {}
    settled: list[Outcome] = []
    unchanged: list[Outcome] = []
    for source, (digest, error) in zip(sources, digests, strict=True):
        record = records.get(digest)
        if error:
            settled.append(Outcome(source, digest, "corrupt", error))
        elif record and source.location in record.files:
            unchanged.append(Outcome(source, digest, record.status, record.reason))
        elif record and record.status == "corrupt" and record.kind == source.kind:
            settled.append(Outcome(source, digest, "corrupt", record.reason))
        elif record and record.status != "corrupt":
            settled.append(Outcome(source, digest, "duplicate", f"same bytes as {record.source}"))
        elif (digest, source.kind) in fresh:
            twin = fresh[digest, source.kind].source
            settled.append(Outcome(source, digest, "duplicate", f"same bytes as {twin.name}"))
        else:
            fresh[digest, source.kind] = Fresh(source, digest)
    return Triage(tuple(fresh.values()), tuple(settled), tuple(unchanged))


def with_corrupt_copies(sorted_out: Triage, decoded: Sequence[Outcome]) -> Triage:
    """`sorted_out`, where copies of a file that turned out corrupt when it was decoded are corrupt as well.

    Those of a file that could not be read this time are remembered as little as the file itself.
    """
    digests = {entry.source.file: entry.digest for entry in sorted_out.fresh}
    failed = {(digests.get(o.source.file), o.source.kind): o for o in decoded if o.status == "corrupt"}

    def judged(copy: Outcome) -> Outcome:
        original = failed.get((copy.digest, copy.source.kind)) if copy.digest else None
        if original is None:
            return copy
        return dataclasses.replace(copy, status="corrupt", reason=original.reason, digest=original.digest)

    return dataclasses.replace(sorted_out, settled=tuple(map(judged, sorted_out.settled)))


def nothing_known(_digests: Iterable[str]) -> Mapping[str, Record]:
    """The lookup of a run that looks at everything again."""
    return {}


def with_distinct_names(fresh: Sequence[Fresh], pool_sources: Mapping[str, str]) -> tuple[Fresh, ...]:
    """`fresh`, each under a name that means no other source.

    `pool_sources` are the names of sources in the pool with the digests of their bytes. A name that is taken
    is led by as much of the input's path as makes it distinct, in the end by the digest.
    """
    taken = dict(pool_sources)
    named = []
    for entry in fresh:
        name = next(
            name for name in _names(entry.source, entry.digest) if taken.get(name, entry.digest) == entry.digest
        )
        taken[name] = entry.digest
        named.append(Fresh(dataclasses.replace(entry.source, name=name), entry.digest))
    return tuple(named)


def _digests(sources: Sequence[Source], progress: Progress) -> Iterator[tuple[str, str]]:
    """For each source the digest of its bytes, or '' and why they cannot be read; of a refused link its own and why."""
    workers = os.cpu_count() or 1
    with progress.stage("comparing", len(sources)) as stage, ThreadPoolExecutor(workers) as pool:
        for answer in pool.map(_digest, sources):
            yield answer
            stage.advance()


def _digest(source: Source) -> tuple[str, str]:
    try:
        if source.refused:
            return link_digest(source.file), source.refused
        return file_digest(source.file), ""
    except OSError as error:
        return "", f"cannot be read: {error.strerror or error}"


def _names(source: Source, digest: str) -> Iterator[str]:
    yield source.name
    parts = [part for part in source.input.parts if part != source.input.anchor]
    for n in range(1, len(parts) + 1):
        yield "/".join([*parts[-n:], source.name])
    path = PurePosixPath(source.name)
    yield str(path.with_name(f"{path.stem}-{digest[:8]}{path.suffix}"))
    yield str(path.with_name(f"{path.stem}-{digest}{path.suffix}"))
