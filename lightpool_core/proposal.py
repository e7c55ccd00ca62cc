"""What a run would add: sources → candidates → selection, with nothing written yet."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass

import numpy as np

from lightpool_core.annotating.files import AnnotationFiles, foreseen
from lightpool_core.assembly import Embedding, no_candidates
from lightpool_core.candidates import Candidates
from lightpool_core.embedding.embedder import Embedder
from lightpool_core.embedding.journal import Journal
from lightpool_core.errors import SettingsError
from lightpool_core.media.quality import has_to_be_measured
from lightpool_core.pool.ledger import Outcome
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.groups import groups_of
from lightpool_core.selection.limits import respected
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import PoolView, Sampler, Selection, checked
from lightpool_core.selection.stop import Stop
from lightpool_core.sequences import expanded, in_sequences, stop_in_sequences
from lightpool_core.settings import Settings


@dataclass(frozen=True)
class Proposal:
    """The candidates of a run, and which of them are chosen."""

    embedding: Embedding
    selection: Selection
    pool: PoolView
    """What the candidates were compared with."""

    @property
    def candidates(self) -> Candidates:
        """All of them."""
        return self.embedding.candidates

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What became of every source that was decoded."""
        return self.embedding.outcomes

    @property
    def chosen(self) -> Candidates:
        """The chosen candidates, in pick order."""
        return self.candidates.take(self.selection.indices)


def stop_for(stop: Stop, embedder: Embedder) -> Stop:
    """`stop`, or where it has no condition at all the embedder's near-duplicate distance."""
    unconditional = stop.n_samples is None and stop.min_distance is None
    return dataclasses.replace(stop, min_distance=embedder.near_duplicate) if unconditional else stop


def is_measured(settings: Settings, sampler: Sampler) -> bool:
    """True if `settings` want pictures to be measured, or `sampler` does by its `metadata_keys`.

    Raises SettingsError for metadata that nobody can compute.
    """
    return has_to_be_measured(getattr(sampler, "metadata_keys", ())) or settings.compute_metadata


def check_foreseen(journal: Journal, files: AnnotationFiles, sampler: Sampler, stop: Stop) -> None:
    """Raise SettingsError where `sampler`, or a limit of `stop`, looks at what no candidate will have.

    Before any is made: `journal` tells what will be known of each picture, and `files` what else.
    """
    none = no_candidates(journal)
    keys = {*getattr(sampler, "metadata_keys", ()), *stop.max_per}
    check_columns(dataclasses.replace(none, annotations=foreseen(none.annotations, files, keys)), sampler, stop)


def check_columns(candidates: Candidates, sampler: Sampler, stop: Stop) -> None:
    """Raise SettingsError where `sampler`, or a limit of `stop`, looks at what no column of `candidates` holds."""
    none = candidates.take(np.empty(0, dtype=np.int64))
    for key in stop.max_per:
        try:
            groups_of(key, none.refs, none.labels, none.annotations)
        except SettingsError as error:
            raise SettingsError(f"max_per {error}") from error
    if hasattr(sampler, "check_columns"):
        sampler.check_columns(none)


def nothing(dim: int) -> Proposal:
    """The proposal of a run without new sources."""
    none = np.empty(0, dtype=np.int64)
    candidates = Candidates(np.empty((0, dim), np.float32), none, ())
    embedding = Embedding(candidates)
    return Proposal(embedding, Selection(none, np.empty(0, np.float32)), ArrayView(candidates.embeddings))


def choose(
    candidates: Candidates,
    pool: PoolView,
    sampler: Sampler,
    stop: Stop,
    *,
    seed: int,
    sequence_length: int | None = None,
    progress: Progress = SILENT,
) -> Selection:
    """What `sampler` picks from `candidates`, checked against its contract; with `sequence_length`, whole sequences.

    The frames of a sequence follow one another and share its distance: they may be closer to each other than
    `min_distance`, which holds between sequences.
    """
    if sequence_length is None:
        return _choose(candidates, pool, sampler, stop, seed, progress)
    sequences, rows = in_sequences(candidates, sequence_length)
    stop = stop_in_sequences(stop, len(candidates), sequence_length)
    return expanded(_choose(sequences, pool, sampler, stop, seed, progress), rows)


def _choose(
    candidates: Candidates, pool: PoolView, sampler: Sampler, stop: Stop, seed: int, progress: Progress
) -> Selection:
    rng = np.random.default_rng(seed)
    if "progress" in inspect.signature(sampler.select).parameters:
        selection = sampler.select(candidates, pool, stop, rng, progress=progress)  # type: ignore[call-arg]
    else:
        with progress.stage("selecting", len(candidates)) as stage:
            selection = sampler.select(candidates, pool, stop, rng)
            stage.advance(len(candidates))
    name = type(sampler).__name__
    selection = checked(selection, len(candidates), stop, name)
    return respected(selection, candidates, pool, stop, name)
