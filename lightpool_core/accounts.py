"""What is written down of a run: its report, its version, its samples, its lists of names."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa

from lightpool_core.assembly import Embedding
from lightpool_core.media.quality import PREFIX
from lightpool_core.pool.clock import now
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.history import Version
from lightpool_core.pool.ledger import Outcome
from lightpool_core.pool.metadata import texts_of
from lightpool_core.pool.runs import Run
from lightpool_core.proposal import Proposal
from lightpool_core.report import Pace, Report, SourceCounts


def source_counts(n_found: int, new: Sequence[Outcome]) -> SourceCounts:
    """How many raw files there were, and what became of the `new` ones."""
    n = {status: sum(o.status == status for o in new) for status in ("processed", "duplicate", "corrupt")}
    return SourceCounts(n_found, n_found - len(new), len(new), n["processed"], n["duplicate"], n["corrupt"])


def pace(embedding: Embedding) -> Pace:
    """How the pictures were embedded."""
    effort = embedding.effort
    wall = effort.embed + effort.wait
    # What lanes spent is shared out evenly: waiting may come out a little below nothing.
    seconds = {name: max(0.0, round(getattr(effort, name), 3)) for name in ("decode", "prepare", "embed", "wait")}
    return Pace(
        precision=embedding.precision,
        pictures_per_second=round(effort.n_embedded / wall, 1) if wall else 0.0,
        bottleneck=effort.bottleneck,
        seconds=seconds,
        by_key_frames=embedding.n_by_key_frames,
        known=embedding.n_known,
    )


def version(pool: Datapool, report: Report, run: Run) -> Version:
    """The version that a run makes."""
    return Version(
        number=report.version,
        time=now(),
        samples=report.pool_size,
        added=report.samples.selected,
        event="append",
        dim=pool.dim,
        fingerprint=pool.version.fingerprint,
        run=run.name,
        counts={"sources": dataclasses.asdict(report.sources), "samples": dataclasses.asdict(report.samples)},
    )


def rows(proposal: Proposal, made: Version) -> pa.Table:
    """The chosen samples as rows of `history/`, without their positions."""
    chosen, distances = proposal.chosen, proposal.selection.distances
    outcomes = {outcome.source.name: outcome for outcome in proposal.outcomes}
    sources = [outcomes[ref.source] for ref in chosen.refs]
    metadata = chosen.annotations.metadata
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(chosen.embeddings.ravel()), chosen.embeddings.shape[1])
    return pa.table({
        "filename": pa.array(chosen.filenames, pa.string()),
        "embedding": vectors,
        "label": pa.array(chosen.labels),
        "label_name": pa.array([outcome.source.label_name for outcome in sources], pa.string()),
        "source": pa.array([ref.source for ref in chosen.refs], pa.string()),
        "file": pa.array([outcome.source.location for outcome in sources], pa.string()),
        "frame": pa.array([ref.frame for ref in chosen.refs], pa.int64()),
        "time": pa.array([ref.time for ref in chosen.refs], pa.float64()),
        "width": pa.array(metadata[f"{PREFIX}width"]),
        "height": pa.array(metadata[f"{PREFIX}height"]),
        "digest": pa.array(chosen.digests, pa.string()),
        "source_digest": pa.array([outcome.digest for outcome in sources], pa.string()),
        "distance": pa.array([None if d == float("inf") else d for d in distances], pa.float32()),
        "version": pa.array([made.number] * len(chosen), pa.int64()),
        "run": pa.array([made.run] * len(chosen), pa.string()),
        "metadata": pa.array(texts_of(metadata, len(chosen)), pa.string()),
    })  # fmt: skip


def filenames(proposal: Proposal, report: Report, seen: Sequence[Outcome]) -> dict[str, list[str]]:
    """The names by what became of them."""
    chosen = set(proposal.selection.indices.tolist())
    names = proposal.candidates.filenames
    return {
        "sampled": proposal.chosen.filenames,
        "removed": [name for i, name in enumerate(names) if i not in chosen],
        "corrupt": [problem.filename for problem in report.corrupt],
        "duplicate": [outcome.source.name for outcome in seen if outcome.status == "duplicate"],
    }
