"""A pool, or a file of embeddings, divided into splits such as train and val, with nothing alike across a border."""

from __future__ import annotations

import csv
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightpool_core.annotating.files import AnnotationFiles, annotated
from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Embeddings, Labels, Rows
from lightpool_core.device import check_device
from lightpool_core.embeddings_file import read_embeddings
from lightpool_core.errors import SettingsError, SourceError, SourceNotFound
from lightpool_core.media.source import SampleRef, ref_of
from lightpool_core.pool.datapool import Datapool
from lightpool_core.progress import SILENT, Progress
from lightpool_core.registry import make
from lightpool_core.replacing import clear, replacing
from lightpool_core.selection.components import Components
from lightpool_core.selection.groups import BY_ITSELF, groups_of
from lightpool_core.selection.products import Products
from lightpool_core.selection.shares import Shares, deal
from lightpool_core.settings import Overrides, Settings

_HEADER = ("filename", "split")
_NOTABLE = 0.01
"""Share of all samples by which a split may miss its share without a word."""


@dataclass(frozen=True, slots=True)
class Part:
    """One split, in numbers."""

    name: str
    wanted: float
    """Share of the samples that was asked for."""
    share: float
    """And that it has."""
    samples: int
    groups: int
    """Components: groups of samples that belong together, a single sample included."""


@dataclass(frozen=True, slots=True)
class Split:
    """N samples, each in one split."""

    filenames: tuple[str, ...]
    splits: tuple[str, ...]
    """(N,) the name of each one's split."""
    parts: tuple[Part, ...]
    """In the order in which the shares were given."""
    warnings: tuple[str, ...] = ()
    """What could not be done as asked, a line each."""

    def to_dict(self) -> dict[str, list[str]]:
        """Names of the samples, in their order, by split."""
        names: dict[str, list[str]] = {part.name: [] for part in self.parts}
        for filename, split in zip(self.filenames, self.splits, strict=True):
            names[split].append(filename)
        return names

    def to_json(self) -> str:
        """`to_dict` as one JSON object on one line."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def write_csv(self, path: str | Path) -> None:
        """Replace the file at `path` by one row per sample, atomically: `filename,split`."""
        clear(Path(path))
        with replacing(Path(path)) as new, new.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(_HEADER)
            writer.writerows(zip(self.filenames, self.splits, strict=True))


def split(
    shares: Mapping[str, float],
    pool: str | Path | None = None,
    embeddings: str | Path | None = None,
    overrides: Overrides | None = None,
    *,
    group_by: Sequence[str] = (),
    keep: str | Path | None = None,
    progress: Progress = SILENT,
) -> Split:
    """Divide what is in a pool, or in a file of embeddings, by `shares` (above 0, sum 1).

    Samples closer than the min_distance of `overrides`, or else than the near-duplicate distance of the pool's
    embedder, come into the same split, and so do samples of one group, by each of `group_by`: `video`, `folder`,
    `label` or a key of the metadata. The labels' shares are followed as far as that goes.
    Samples that the file `keep`, from `Split.write_csv`, names stay where it has them.
    Raises SettingsError and SourceError.
    """
    wanted = Shares(shares)
    samples, settings = _opened(pool, embeddings, overrides or Overrides())
    kept = None if keep is None else _kept(Path(keep), samples.filenames, wanted)
    groups = _groups(samples, group_by, settings.metadata)
    joined = Components(len(samples.filenames))
    for group in groups.values():
        joined.join_groups(group)
    grouped = joined.first.copy()
    if settings.stop.min_distance:
        joined.join_near(samples.embeddings, settings.stop.min_distance, Products(settings.device), progress)
    _, components = np.unique(joined.first, return_inverse=True)
    dealt = deal(components, samples.labels, wanted, settings.seed, kept)
    parts = _parts(dealt.split, components, wanted)
    missed = _missed(parts, wanted)
    if missed and dealt.too_large:
        rows = np.flatnonzero(components == dealt.too_large[0])
        missed += f"; {_described(rows, samples.filenames, groups, grouped)}"
    divided = "" if kept is None else _divided(kept, components)
    splits = tuple(wanted.names[number] for number in dealt.split)
    return Split(samples.filenames, splits, parts, tuple(warning for warning in (missed, divided) if warning))


@dataclass(frozen=True, slots=True)
class _Samples:
    """What is to be divided."""

    filenames: tuple[str, ...]
    embeddings: Embeddings
    labels: Labels
    refs: tuple[SampleRef, ...]
    annotations: Annotations


def _opened(pool: str | Path | None, embeddings: str | Path | None, overrides: Overrides) -> tuple[_Samples, Settings]:
    """What is to be divided, and the settings for it, in which min_distance is None only where it is off."""
    _refuse_idle_options(overrides)
    datapool = Datapool.open(pool) if pool is not None else None
    if datapool is None and embeddings is None:
        raise SettingsError("nothing to divide; give --pool or --embeddings FILE")
    settings = Settings.read(datapool.path) if datapool else Settings()
    settings = overrides.over(dataclasses.replace(settings, min_distance=None))
    check_device(settings.device)
    if overrides.min_distance is None:
        if datapool is None:
            raise SettingsError(
                "a file does not say which distance means the same thing; give --min-distance X,"
                " or -1 to divide by groups alone"
            )
        embedder = make("embedder", settings.embedder, device=settings.device)
        settings = dataclasses.replace(settings, min_distance=embedder.near_duplicate)
    if embeddings is not None:
        samples = _of_file(Path(embeddings))
    else:
        assert datapool is not None
        samples = _of_pool(datapool)
    if not samples.filenames:
        raise SourceError(f"there are no samples to divide in {pool if embeddings is None else embeddings}")
    return samples, settings


def _refuse_idle_options(overrides: Overrides) -> None:
    """Raise SettingsError for an option that would change nothing."""
    names = {"inputs": "--input", "embedder_options": "-e", "sampler_options": "-s"}
    for field in dataclasses.fields(overrides):
        given = getattr(overrides, field.name)
        if field.name not in {"min_distance", "seed", "device", "metadata"} and given is not None and given != {}:
            name = names.get(field.name, f"--{field.name.replace('_', '-')}")
            raise SettingsError(f"{name} means nothing where everything is divided into splits; leave it out")


def _of_pool(pool: Datapool) -> _Samples:
    return _Samples(tuple(pool.filenames), pool.embeddings, pool.labels, pool.refs, pool.annotations)


def _of_file(path: Path) -> _Samples:
    file = read_embeddings(path)
    refs = tuple(map(ref_of, file.filenames))
    return _Samples(file.filenames, file.embeddings, file.labels, refs, Annotations(file.metadata))


def _groups(samples: _Samples, group_by: Sequence[str], metadata: Path | None) -> dict[str, list[Any]]:
    """The group of each sample by each key, for which a file of `metadata` is read where one is asked for."""
    annotations = samples.annotations
    if metadata and not BY_ITSELF.issuperset(group_by):
        annotations = annotated(samples.refs, annotations, AnnotationFiles.open(metadata, None, None))
    try:
        return {key: groups_of(key, samples.refs, samples.labels, annotations) for key in group_by}
    except SettingsError as error:
        raise SettingsError(f"--group {error}") from error


def _kept(path: Path, filenames: Sequence[str], shares: Shares) -> Rows:
    """(N,) the number of the split that the file at `path` names for each sample, -1 for none."""
    if not path.is_file():
        raise SourceNotFound(f"split file {path} does not exist")
    number = {name: i for i, name in enumerate(shares.names)}
    held: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, restval="")
            if not set(_HEADER) <= set(rows.fieldnames or ()):
                raise KeyError(_HEADER)
            for row in rows:
                filename, name = (row[column] for column in _HEADER)
                if name not in number:
                    known = ", ".join(number)
                    raise SettingsError(f"split file {path} has {filename} in {name!r}, and the splits are {known}")
                if held.setdefault(filename, number[name]) != number[name]:
                    raise SourceError(f"split file {path} has {filename} in two splits; leave one row")
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"split file {path} cannot be read; it needs columns {' and '.join(_HEADER)}") from error
    if held.keys().isdisjoint(filenames):
        raise SourceError(
            f"split file {path} names none of the {len(filenames)} samples; is it the file of another pool?"
        )
    return np.array([held.get(filename, -1) for filename in filenames], dtype=np.int64)


def _parts(split: Rows, components: Rows, shares: Shares) -> tuple[Part, ...]:
    parts = []
    for number, (name, wanted) in enumerate(shares.wanted.items()):
        mine = components[split == number]
        parts.append(Part(name, wanted, len(mine) / len(split), len(mine), len(np.unique(mine))))
    return tuple(parts)


def _missed(parts: Sequence[Part], shares: Shares) -> str:
    """Which splits miss their shares by more than whole samples do, as a warning; empty where none does."""
    n = sum(part.samples for part in parts)
    missed = [
        f"{part.name} gets {part.share:.1%} instead of {part.wanted:.1%}"
        for part, target in zip(parts, shares.counts(n), strict=True)
        if abs(part.samples - target) > max(_NOTABLE * n, 0.5)
    ]
    return ", ".join(missed)


def _divided(kept: Rows, components: Rows) -> str:
    """How many components the kept split divides, as a warning; empty where it divides none."""
    held = np.unique(np.stack([components, kept])[:, kept >= 0], axis=1)[0]
    divided = int((np.unique(held, return_counts=True)[1] > 1).sum())
    if not divided:
        return ""
    return f"the kept split divides {divided} group{'s' * (divided > 1)} of samples that belong together; so it stays"


def _described(rows: Rows, filenames: Sequence[str], groups: Mapping[str, Sequence[Any]], grouped: Rows) -> str:
    """What a component is that is too large, and what may part it; `grouped` (N,), the components by groups alone."""
    if len(rows) == 1:
        return f"no split stays empty, and {len(filenames)} samples are too few for such shares"
    names, keys = [filenames[rows[0]]], []
    for key, group in groups.items():
        counts = Counter(str(group[row]) for row in rows if group[row] is not None)
        if counts:
            more = f" and {len(counts) - 1} more" if len(counts) > 1 else ""
            names.append(f"{key} {counts.most_common(1)[0][0]}{more}")
            keys.append(key)
    by_groups = len(np.unique(grouped[rows])) == 1
    advice = f"leaving out --group {' or '.join(keys)}" if by_groups else "a smaller --min-distance"
    return f"{len(rows)} samples belong together ({', '.join(names)}); {advice} may part them"
