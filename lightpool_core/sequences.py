"""Clips in the place of frames: videos are cut into sequences of consecutive frames, and each is chosen as one.

A sampler sees one candidate per sequence: the mean of its embeddings, under the name of its first frame.
N: candidates. S: sequences. X: frames of a sequence. M: rows in the pool. K: chosen sequences. D: dimension.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lightpool_core.annotations import Annotations, Predictions
from lightpool_core.arrays import Array, Embeddings, ExactDistances, Rows, unit_rows
from lightpool_core.candidates import Candidates
from lightpool_core.errors import SourceError
from lightpool_core.media.source import SampleRef
from lightpool_core.progress import SILENT, Progress
from lightpool_core.replacing import replacing
from lightpool_core.selection.reasons import Reasons, explain
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop

INFORMATION_NAME = "sequence_information.json"
_BLOCK = 65_536
"""Frames at a time: bounds the copies of their embeddings."""
_NO_DIRECTION = 1e-6
"""Length of a mean of unit rows below which it is nothing but rounding."""
_MICROSECONDS = 1e6


def in_sequences(candidates: Candidates, length: int) -> tuple[Candidates, Rows]:
    """The sequences of `length` frames among `candidates`, as candidates (S), and the rows of their frames (S, X).

    Each video gives as many as its frames fill, in their order; what is left at its end, and images, are in none.
    Numbers known of the frames become means of those that are known; of all else the first frame's counts.
    """
    rows = cut(candidates.refs, length)
    first = candidates.take(rows[:, 0])
    means = _means(candidates.embeddings, rows)
    return dataclasses.replace(first, embeddings=means, annotations=_merged(candidates.annotations, rows)), rows


def cut(refs: Sequence[SampleRef], length: int) -> Rows:
    """(S, X) rows of the frames of each sequence: video after video as they first appear, frames by their index."""
    videos: dict[str, list[tuple[int, int]]] = {}
    for row, ref in enumerate(refs):
        if ref.frame is not None:
            videos.setdefault(ref.source, []).append((ref.frame, row))
    whole = (sorted(frames)[: len(frames) // length * length] for frames in videos.values())
    return np.array([row for frames in whole for _, row in frames], dtype=np.int64).reshape(-1, length)


def stop_in_sequences(stop: Stop, n_candidates: int, length: int) -> Stop:
    """`stop`, which counts frames out of `n_candidates`, as it stops a choice of sequences of `length` frames."""
    n_samples = None if stop.n_samples is None else stop.count(n_candidates) // length
    return dataclasses.replace(stop, n_samples=n_samples, weight=length)


def expanded(selection: Selection, rows: Rows) -> Selection:
    """The frames, by their `rows` (S, X), of the sequences in `selection` (K); each has its sequence's distance."""
    distances = np.repeat(selection.distances, rows.shape[1])
    return dataclasses.replace(selection, indices=rows[selection.indices].ravel(), distances=distances)


def explain_sequences(
    candidates: Candidates,
    selection: Selection,
    pool: PoolView,
    length: int,
    *,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Reasons:
    """Reasons for each of N candidates, as `explain` gives them, when `selection` holds whole sequences.

    They are those of its sequence: of a rejected one, the nearest kept is a sample of the pool, or the first frame
    of the chosen sequence. What is in no sequence has a distance of infinity to nothing.
    """
    sequences, rows = in_sequences(candidates, length)
    numbers = np.full(len(candidates), -1, np.int64)
    numbers[rows] = np.arange(len(rows))[:, None]
    picks = Selection(numbers[selection.indices[::length]], selection.distances[::length])
    of = explain(sequences.embeddings, picks, pool, device=device, progress=progress)
    n = len(candidates)
    reasons = Reasons(np.zeros(n, np.int64), np.full(n, np.inf), np.full(n, -1, np.int64), np.full(n, -1, np.int64))
    reasons.ranks[selection.indices] = np.arange(1, len(selection.indices) + 1)
    chosen = of.nearest >= len(pool)
    nearest = np.where(chosen, len(pool) + (of.nearest - len(pool)) * length, of.nearest)
    reasons.distances[rows], reasons.nearest[rows] = of.distances[:, None], nearest[:, None]
    reasons.sequences[rows] = rows[:, :1]
    return reasons


def write_information(folder: Path, refs: Sequence[SampleRef], length: int) -> None:
    """Write `sequence_information.json` of chosen frames, sequence after sequence, into `folder`, as Lightly does.

    A list of objects: video_name, frame_names, frame_timestamps_pts (microseconds since the video's beginning),
    frame_timestamps_sec, frame_indices; times that nobody knows are null. Raises SourceError if it cannot be written.
    """
    told = [_information(refs[start : start + length]) for start in range(0, len(refs), length)]
    try:
        with replacing(folder / INFORMATION_NAME) as new:
            new.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise SourceError(f"{folder / INFORMATION_NAME} cannot be written: {error.strerror or error}") from error


def _information(refs: Sequence[SampleRef]) -> dict[str, object]:
    return {
        "video_name": refs[0].source,
        "frame_names": [ref.filename for ref in refs],
        "frame_timestamps_pts": [None if ref.time is None else round(ref.time * _MICROSECONDS) for ref in refs],
        "frame_timestamps_sec": [ref.time for ref in refs],
        "frame_indices": [ref.frame for ref in refs],
    }


def _means(embeddings: Embeddings, rows: Rows) -> Embeddings:
    """(S, D) unit rows; of frames that point everywhere at once, and so have no mean, the first one."""
    means = np.empty((len(rows), embeddings.shape[1]), dtype=np.float32)
    size = max(1, _BLOCK // rows.shape[1])
    for start in range(0, len(rows), size):
        frames = embeddings[rows[start : start + size]]
        mean = frames.mean(axis=1, dtype=np.float64)
        lost = np.linalg.norm(mean, axis=1) < _NO_DIRECTION
        mean[lost] = frames[lost, 0]
        means[start : start + size] = unit_rows(mean)
    return means


def _merged(annotations: Annotations, rows: Rows) -> Annotations:
    return Annotations(
        {name: _one_of_each(column, rows) for name, column in annotations.metadata.items()},
        {name: _one_of_each(column, rows) for name, column in annotations.scores.items()},
        {
            task: Predictions(found.categories, _known_mean(found.counts[rows]), _known_mean(found.shares[rows]))
            for task, found in annotations.predictions.items()
        },
    )


def _one_of_each(column: Array, rows: Rows) -> Array:
    return _known_mean(column[rows]) if column.dtype.kind in "iuf" else column[rows[:, 0]]


def _known_mean(values: Array) -> ExactDistances:
    """(S, X, …) → (S, …): means of what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    sums = np.where(known, values, 0.0).sum(axis=1, dtype=np.float64)
    counts = known.sum(axis=1)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))
