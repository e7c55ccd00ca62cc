"""The same choice as an append's, without growing a pool, and the curve to set its conditions by."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lightpool_core.all_rows import AllRows
from lightpool_core.annotating.attaching import attached, stacked
from lightpool_core.annotating.files import AnnotationFiles
from lightpool_core.annotations import Annotations
from lightpool_core.appending import listed
from lightpool_core.arrays import Distances, Embeddings, Labels, Rows
from lightpool_core.assembly import Members, embed
from lightpool_core.candidates import Candidates
from lightpool_core.curves import NOT_DIVERSITY, Curve
from lightpool_core.device import check_device
from lightpool_core.embeddings_file import EmbeddingsFile, read_embeddings
from lightpool_core.errors import SettingsError, SourceError
from lightpool_core.journalling import journal_of
from lightpool_core.media.source import ref_of
from lightpool_core.opening import embedder_of
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.latest import write_embeddings_csv
from lightpool_core.pool.runs import kept_journals
from lightpool_core.progress import SILENT, Progress
from lightpool_core.proposal import check_columns, check_foreseen, choose, is_measured, stop_for
from lightpool_core.querying import Named, Queried, query_embeddings
from lightpool_core.registry import make
from lightpool_core.replacing import clear
from lightpool_core.report import Achieved, Problem
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import PoolView, Sampler
from lightpool_core.selection.stop import Stop
from lightpool_core.selection_config import naming
from lightpool_core.sequences import cut
from lightpool_core.settings import Overrides, Settings
from lightpool_core.triage import nothing_known, triage, with_corrupt_copies


@dataclass(frozen=True, slots=True)
class Picks:
    """The chosen K samples in pick order."""

    filenames: tuple[str, ...]
    embeddings: Embeddings
    labels: Labels
    distances: Distances
    """To the nearest kept when picked; infinite for the first."""
    corrupt: tuple[Problem, ...] = ()
    """Raw files that were left out."""
    candidates: int = 0
    """How many there were to choose from."""
    kept_before: int = 0
    """How many the choice had to keep a distance from: those in the pool."""
    indices: Rows = field(default_factory=lambda: np.empty(0, np.int64))
    """(K,) which of the candidates they are."""
    achieved: tuple[Achieved, ...] = ()
    """How far the chosen meet each objective of the sampler, where it has several."""
    all_rows: AllRows | None = None
    """Of a choice from a CSV or Parquet file: its rows, the chosen ones marked as selected."""

    def to_json(self) -> str:
        """`{"selected": [names], "distances": [numbers]}`; an infinite distance is null.

        With `achieved` beside them, where the sampler has several objectives: see Achieved.
        """
        distances = [None if np.isinf(d) else round(float(d), 7) for d in self.distances]
        told: dict[str, Any] = {"selected": list(self.filenames), "distances": distances}
        if self.achieved:
            told["achieved"] = [dataclasses.asdict(one) for one in self.achieved]
        return json.dumps(told, ensure_ascii=False)

    def write_csv(self, path: str | Path, *, all_rows: bool | None = None) -> None:
        """An embeddings CSV of the choice in pick order, or of `all_rows` of the file that it was made from.

        None writes all rows where the file has a column `masked` or `selected`. Raises SettingsError where all are
        asked for and there is no such file.
        """
        if all_rows and self.all_rows is None:
            raise SettingsError("all_rows writes a .csv or .parquet file back; this choice is from none")
        clear(Path(path))
        if self.all_rows and (self.all_rows.flagged if all_rows is None else all_rows):
            self.all_rows.write_csv(Path(path))
        else:
            write_embeddings_csv(Path(path), self.filenames, self.embeddings, self.labels)


def select(
    pool: str | Path | None = None,
    embeddings: str | Path | None = None,
    overrides: Overrides | None = None,
    progress: Progress = SILENT,
) -> Picks:
    """Pick from a file of embeddings, from the inputs in `overrides`, or else from the pool itself.

    From a file or inputs, relative to the pool where one is given. Stopping conditions come from `overrides`;
    without any, raw input stops as an append would and everything else is ranked to the last.
    """
    with naming(overrides.config if overrides else None, Path(pool) if pool else None):
        return _selected(pool, embeddings, (overrides or Overrides()).with_config(), progress)


def _selected(
    pool: str | Path | None, embeddings: str | Path | None, overrides: Overrides, progress: Progress
) -> Picks:
    datapool, settings = _opened(pool, embeddings, overrides)
    sampler = make("sampler", settings.sampler, device=settings.device)
    files = AnnotationFiles.open(settings.metadata, settings.predictions, settings.scores)
    if overrides.inputs is not None:
        return _from_inputs(datapool, settings, sampler, files, progress)
    file = None if embeddings is None else read_embeddings(Path(embeddings))
    if file is not None:
        candidates, view, queried = _from_file(file, embeddings, datapool, settings.device)
    elif datapool is not None:
        candidates, view, queried = _from_pool(datapool, settings)
    else:
        raise SettingsError("nothing to select from; give --pool, --embeddings FILE or --input DIR")
    candidates, view = attached(candidates, view, files)
    if len(candidates):  # of none nothing need be known
        check_columns(candidates, sampler, settings.stop)
    candidates = dataclasses.replace(candidates, queries=query_embeddings(sampler, queried, progress))
    _check_frames(candidates, settings.sequence_length, "frames are told by names such as sub/my_video-099-mp4.png")
    picks = _picked(candidates, view, settings, settings.stop, sampler, progress)
    all_rows = file.all_rows.with_chosen(picks.indices) if file and file.all_rows else None
    return dataclasses.replace(picks, all_rows=all_rows)


def curve(
    pool: str | Path | None = None,
    embeddings: str | Path | None = None,
    overrides: Overrides | None = None,
    progress: Progress = SILENT,
) -> Curve:
    """How many `select` with the same arguments would keep at which min_distance, from one ranking.

    Without a stopping condition in `overrides` everything is ranked, raw input as well. Raises SettingsError for
    another sampler than diversity and where nothing meets the conditions, SourceError where there are no candidates.
    """
    overrides = (overrides or Overrides()).with_config()
    if Stop.of(overrides.n_samples, overrides.min_distance) == Stop():
        overrides = dataclasses.replace(overrides, n_samples=1.0, min_distance=None)
    _, settings = _opened(pool, embeddings, overrides)
    if settings.sampler.name != "diversity":
        raise SettingsError(f"{NOT_DIVERSITY}; give --sampler diversity instead of {settings.sampler.name}")
    picks = select(pool, embeddings, overrides, progress)
    if not picks.candidates:
        raise SourceError("there are no candidates to draw a curve of: the pool is empty, or holds all that was given")
    if not picks.filenames:
        raise SettingsError(f"none of {picks.candidates} candidates meets the stopping conditions; leave them out")
    return Curve(picks.distances, picks.candidates, picks.kept_before, picks.corrupt)


def _opened(
    pool: str | Path | None, embeddings: str | Path | None, overrides: Overrides
) -> tuple[Datapool | None, Settings]:
    """The pool, if one is given, and the settings of this choice."""
    _refuse_idle_options(embeddings, overrides)
    datapool = Datapool.open(pool) if pool else None
    settings = overrides.over(_settings(datapool, overrides))
    check_device(settings.device)
    return datapool, settings


def _refuse_idle_options(embeddings: str | Path | None, overrides: Overrides) -> None:
    """Raise SettingsError for an option that would change nothing."""
    if embeddings is not None and overrides.inputs is not None:
        raise SettingsError("--embeddings and --input are two things to select from; give one of them")
    given = {
        "--embedder": overrides.embedder,
        "-e": overrides.embedder_options or None,
        "--filenames": overrides.filenames,
        "--fps": overrides.fps,
        "--timeout": overrides.timeout,
        "--max-megapixels": overrides.max_megapixels,
        "--follow-links": overrides.follow_links,
        "--compute-metadata": overrides.compute_metadata,
    }
    idle = [name for name, value in given.items() if value is not None]
    if overrides.inputs is None and idle:
        raise SettingsError(f"{idle[0]} is for raw input; give --input DIR as well, or leave it out")


def _settings(pool: Datapool | None, overrides: Overrides) -> Settings:
    """The pool's settings; its stopping conditions only where raw input is judged as an append would."""
    settings = Settings.read(pool.path) if pool is not None else Settings()
    if overrides.inputs is None:
        return dataclasses.replace(
            settings, n_samples=None, min_distance=None, min_seconds=None, max_per={}, sequence_length=None
        )
    if overrides.n_samples is not None or overrides.min_distance is not None:
        return dataclasses.replace(settings, n_samples=None, min_distance=None)
    return settings


def _check_frames(candidates: Candidates, length: int | None, advice: str) -> None:
    """Raise SettingsError where sequences are asked for, and there are none."""
    if length and len(candidates) and not len(cut(candidates.refs, length)):
        raise SettingsError(
            f"--sequence-length {length}: no video has so many frames among the {len(candidates)} candidates; {advice}"
        )


def _from_pool(pool: Datapool, settings: Settings) -> tuple[Candidates, ArrayView, Callable[[], Queried]]:
    candidates = Candidates(pool.embeddings, pool.labels, pool.refs, annotations=pool.annotations)
    embedder, reading = partial(embedder_of, pool, settings), settings.reading
    return candidates, _empty(pool.dim, settings.device), partial(Queried.in_pool, pool, embedder, reading)


def _from_file(
    file: EmbeddingsFile, path: object, pool: Datapool | None, device: str
) -> tuple[Candidates, ArrayView, Callable[[], Queried]]:
    named = [Named(file.filenames, lambda: file.embeddings, f"the file {path}")]
    if pool is not None:
        named.append(Named.of(pool))
    queried = partial(Queried, named)
    dim = file.embeddings.shape[1]
    if pool is not None and pool.dim != dim:
        raise SettingsError(
            f"embeddings file {path} has dimension {dim}, the pool {pool.path} {pool.dim}: not the same embedder"
        )
    if not file.selected.any():
        view = pool.view(device=device) if pool is not None else _empty(dim, device)
        return _candidates(file), view, queried
    candidates, kept = (_candidates(file).take(rows) for rows in (~file.selected, file.selected))
    if pool is None:
        return candidates, ArrayView(kept.embeddings, None, None, device, kept.refs, kept.annotations), queried
    rows = np.concatenate([kept.embeddings, pool.embeddings])
    known = stacked((kept.annotations, len(kept)), (pool.annotations, len(pool)))
    return candidates, ArrayView(rows, None, None, device, (*kept.refs, *pool.refs), known), queried


def _from_inputs(
    pool: Datapool | None, settings: Settings, sampler: Sampler, files: AnnotationFiles, progress: Progress
) -> Picks:
    sources = listed(settings, Path(), progress)
    if pool is not None:  # an empty one counts
        embedder, members = embedder_of(pool, settings), Members.of(pool)
        queried = partial(Queried.in_pool, pool, lambda: embedder, settings.reading)
    else:
        embedder, members = make("embedder", settings.embedder, device=settings.device), Members()
        queried = partial(Queried, (), lambda: embedder, settings.reading)
    others = kept_journals(pool.path) if pool is not None else ()
    with journal_of(None, embedder, others, measured=is_measured(settings, sampler)) as journal:
        check_foreseen(journal, files, sampler, settings.stop)
        queries = query_embeddings(sampler, queried, progress)  # before what may take long
        sorted_out = triage(sources, nothing_known, progress)
        embedding = embed(sorted_out.fresh, members, embedder, journal, reading=settings.reading, progress=progress)
    view = pool.view(device=settings.device) if pool is not None else _empty(embedder.dim, settings.device)
    candidates, view = attached(dataclasses.replace(embedding.candidates, queries=queries), view, files)
    _check_frames(candidates, settings.sequence_length, "a higher --fps takes more")
    picks = _picked(candidates, view, settings, stop_for(settings.stop, embedder), sampler, progress)
    seen = (*with_corrupt_copies(sorted_out, embedding.outcomes).settled, *embedding.outcomes)
    corrupt = tuple(Problem(o.source.name, o.reason) for o in seen if o.status == "corrupt")
    return dataclasses.replace(picks, corrupt=corrupt)


def _picked(
    candidates: Candidates, view: PoolView, settings: Settings, stop: Stop, sampler: Sampler, progress: Progress
) -> Picks:
    seed, length = settings.seed, settings.sequence_length
    selection = choose(candidates, view, sampler, stop, seed=seed, sequence_length=length, progress=progress)
    chosen = candidates.take(selection.indices)
    return Picks(
        tuple(chosen.filenames),
        chosen.embeddings,
        chosen.labels,
        selection.distances,
        candidates=cut(candidates.refs, length).size if length else len(candidates),
        kept_before=len(view),
        indices=selection.indices,
        achieved=selection.achieved,
    )


def _candidates(file: EmbeddingsFile) -> Candidates:
    numbers = {name: column for name, column in file.metadata.items() if column.dtype != object}
    refs = tuple(map(ref_of, file.filenames))
    known = {"weak_label": file.labels.astype(np.float64), **file.metadata}
    return Candidates(file.embeddings, file.labels, refs, annotations=Annotations(known, numbers))


def _empty(dim: int, device: str) -> ArrayView:
    return ArrayView(np.empty((0, dim), dtype=np.float32), device=device)
