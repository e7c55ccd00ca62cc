"""The same choice as an append's, without growing a pool, and the curve to set its conditions by."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lightpool_core.appending import listed
from lightpool_core.arrays import Distances, Embeddings, Labels
from lightpool_core.assembly import Members, embed
from lightpool_core.candidates import Candidates
from lightpool_core.curves import NOT_DIVERSITY, Curve
from lightpool_core.device import check_device
from lightpool_core.embeddings_file import read_embeddings
from lightpool_core.errors import SettingsError, SourceError
from lightpool_core.journalling import journal_of
from lightpool_core.media.source import SampleRef
from lightpool_core.opening import embedder_of
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.latest import write_embeddings_csv
from lightpool_core.pool.runs import kept_journals
from lightpool_core.progress import SILENT, Progress
from lightpool_core.proposal import choose, is_measured, stop_for
from lightpool_core.registry import make
from lightpool_core.report import Problem
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import PoolView
from lightpool_core.selection.stop import Stop
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

    def to_json(self) -> str:
        """`{"selected": [names], "distances": [numbers]}`; an infinite distance is null."""
        distances = [None if np.isinf(d) else round(float(d), 7) for d in self.distances]
        return json.dumps({"selected": list(self.filenames), "distances": distances}, ensure_ascii=False)

    def write_csv(self, path: str | Path) -> None:
        """An embeddings CSV of the choice."""
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
    overrides = (overrides or Overrides()).with_config()
    datapool, settings = _opened(pool, embeddings, overrides)
    if embeddings is not None:
        candidates, view = _from_file(Path(embeddings), datapool, settings.device)
        return _picked(candidates, view, settings, settings.stop, progress)
    if overrides.inputs is not None:
        return _from_inputs(datapool, settings, progress)
    if datapool is None:
        raise SettingsError("nothing to select from; give --pool, --embeddings FILE or --input DIR")
    members = datapool.embeddings, datapool.labels, datapool.refs
    candidates = Candidates(*members, annotations=datapool.annotations)
    return _picked(candidates, _empty(datapool.dim, settings.device), settings, settings.stop, progress)


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
        "--compute-metadata": overrides.compute_metadata,
        "--sequence-length": overrides.sequence_length,
    }
    idle = [name for name, value in given.items() if value is not None]
    if overrides.inputs is None and idle:
        raise SettingsError(f"{idle[0]} is for raw input; give --input DIR as well, or leave it out")


def _settings(pool: Datapool | None, overrides: Overrides) -> Settings:
    """The pool's settings; its stopping conditions only where raw input is judged as an append would."""
    settings = Settings.read(pool.path) if pool is not None else Settings()
    if overrides.inputs is None:
        return dataclasses.replace(settings, n_samples=None, min_distance=None, min_seconds=None, max_per={})
    if overrides.n_samples is not None or overrides.min_distance is not None:
        return dataclasses.replace(settings, n_samples=None, min_distance=None)
    return settings


def _from_file(path: Path, pool: Datapool | None, device: str) -> tuple[Candidates, PoolView]:
    file = read_embeddings(path)
    dim = file.embeddings.shape[1]
    if pool is not None and pool.dim != dim:
        raise SettingsError(
            f"embeddings file {path} has dimension {dim}, the pool {pool.path} {pool.dim}: not the same embedder"
        )
    if not file.selected.any():
        view = pool.view(device=device) if pool is not None else _empty(dim, device)
        return _candidates(file.filenames, file.embeddings, file.labels), view
    kept = [file.embeddings[file.selected], *([pool.embeddings] if pool is not None else [])]
    open_rows = np.flatnonzero(~file.selected)
    names = [file.filenames[row] for row in open_rows]
    candidates = _candidates(names, file.embeddings[open_rows], file.labels[open_rows])
    return candidates, ArrayView(np.concatenate(kept), device=device)


def _from_inputs(pool: Datapool | None, settings: Settings, progress: Progress) -> Picks:
    sources = listed(settings, Path(), progress)
    if pool is not None:  # an empty one counts
        embedder, members = embedder_of(pool, settings), Members.of(pool)
    else:
        embedder, members = make("embedder", settings.embedder, device=settings.device), Members()
    sorted_out = triage(sources, nothing_known, progress)
    others = kept_journals(pool.path) if pool is not None else ()
    measured = is_measured(settings, make("sampler", settings.sampler))
    with journal_of(None, embedder, others, measured=measured) as journal:
        embedding = embed(sorted_out.fresh, members, embedder, journal, reading=settings.reading, progress=progress)
    view = pool.view(device=settings.device) if pool is not None else _empty(embedder.dim, settings.device)
    picks = _picked(embedding.candidates, view, settings, stop_for(settings.stop, embedder), progress)
    seen = (*with_corrupt_copies(sorted_out, embedding.outcomes).settled, *embedding.outcomes)
    corrupt = tuple(Problem(o.source.name, o.reason) for o in seen if o.status == "corrupt")
    return dataclasses.replace(picks, corrupt=corrupt)


def _picked(candidates: Candidates, view: PoolView, settings: Settings, stop: Stop, progress: Progress) -> Picks:
    sampler = make("sampler", settings.sampler, device=settings.device)
    selection = choose(candidates, view, sampler, stop, seed=settings.seed, progress=progress)
    chosen = candidates.take(selection.indices)
    return Picks(
        tuple(chosen.filenames),
        chosen.embeddings,
        chosen.labels,
        selection.distances,
        candidates=len(candidates),
        kept_before=len(view),
    )


def _candidates(filenames: Sequence[str], embeddings: Embeddings, labels: Labels) -> Candidates:
    return Candidates(embeddings, labels, tuple(SampleRef(name, name) for name in filenames))


def _empty(dim: int, device: str) -> PoolView:
    return ArrayView(np.empty((0, dim), dtype=np.float32), device=device)
