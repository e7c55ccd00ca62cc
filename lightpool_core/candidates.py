"""Embedded samples that are not in the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Embeddings, Labels, Mask, Rows
from lightpool_core.media.source import SampleRef


@dataclass(frozen=True, slots=True)
class Query:
    """Pictures to look for, as a selection config names them; exactly one of the three is given."""

    images: str = ""
    """A folder of pictures, or one picture."""
    samples: tuple[str, ...] = ()
    """Names of members of the pool."""
    text: str = ""
    """What is to be seen, for embedders that understand text."""
    place: str = field(default="query", compare=False)
    """Where it stands in a config, for messages."""

    def __str__(self) -> str:
        """What it names, shortly."""
        return self.text or self.images or f"{self.samples[0]}{' …' if len(self.samples) > 1 else ''}"


@dataclass(frozen=True, slots=True)
class Candidates:
    """N embedded samples, all columns in the same order, sorted by source and frame.

    `embeddings` (N, D) float32 unit rows; `labels` (N,) int64, the weak labels; `refs`, which picture each is;
    `digests`, of their pixels; `annotations`, what else is known of them: of decoded pictures at least the
    metadata `width` and `height` in pixels; `queries`, what the sampler asked to compare them with, (Q, D) each.
    """

    embeddings: Embeddings
    labels: Labels
    refs: tuple[SampleRef, ...]
    digests: tuple[str, ...] = ()
    annotations: Annotations = field(default_factory=Annotations)
    queries: Mapping[Query, Embeddings] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def filenames(self) -> list[str]:
        """What the pool will call them."""
        return [ref.filename for ref in self.refs]

    def take(self, rows: Rows | Mask) -> Candidates:
        """Only `rows`, in that order."""
        where: Rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return Candidates(
            self.embeddings[where],
            self.labels[where],
            tuple(self.refs[i] for i in where),
            tuple(self.digests[i] for i in where) if self.digests else (),
            self.annotations.take(where),
            self.queries,
        )
