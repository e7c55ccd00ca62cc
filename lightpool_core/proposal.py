"""What a run would add: sources → candidates → selection, with nothing written yet."""

from __future__ import annotations

import dataclasses
import inspect
from dataclasses import dataclass

import numpy as np

from lightpool_core.assembly import Embedding
from lightpool_core.candidates import Candidates
from lightpool_core.embedding.embedder import Embedder
from lightpool_core.pool.ledger import Outcome
from lightpool_core.progress import SILENT, Progress
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import PoolView, Sampler, Selection, checked
from lightpool_core.selection.stop import Stop


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
