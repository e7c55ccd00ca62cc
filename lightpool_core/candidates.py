"""Embedded samples that are not in the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lightpool_core.arrays import Array, Embeddings, Labels, Mask, Rows
from lightpool_core.media.source import SampleRef


@dataclass(frozen=True, slots=True)
class Candidates:
    """N embedded samples, all columns in the same order, sorted by source and frame.

    `embeddings` (N, D) float32 unit rows; `labels` (N,) int64, the weak labels; `refs`, which picture each is;
    `digests`, of their pixels; `metadata`, further columns (N,) by name: `width` and `height` in pixels.
    """

    embeddings: Embeddings
    labels: Labels
    refs: tuple[SampleRef, ...]
    digests: tuple[str, ...] = ()
    metadata: Mapping[str, Array] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def filenames(self) -> list[str]:
        """What the pool will call them."""
        return [ref.filename for ref in self.refs]

    def take(self, rows: Rows | Mask) -> Candidates:
        """Only `rows`, in that order."""
        where = rows.nonzero()[0] if rows.dtype == bool else rows
        return Candidates(
            self.embeddings[where],
            self.labels[where],
            tuple(self.refs[i] for i in where),
            tuple(self.digests[i] for i in where) if self.digests else (),
            {name: column[where] for name, column in self.metadata.items()},
        )
