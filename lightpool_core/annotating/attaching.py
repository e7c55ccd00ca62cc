"""What files say, attached to those that are chosen from and those they are compared with."""

from __future__ import annotations

import dataclasses

from lightpool_core.annotating.files import AnnotationFiles, annotated
from lightpool_core.annotations import Annotations
from lightpool_core.candidates import Candidates
from lightpool_core.selection.neighbours import ArrayView


def attached(candidates: Candidates, pool: ArrayView, files: AnnotationFiles) -> tuple[Candidates, ArrayView]:
    """`candidates` and `pool`, annotated by `files`; what they say of the pool is read when somebody looks at it.

    Raises SourceError naming the file, also for one that knows none of the candidates.
    """
    if files == AnnotationFiles():
        return candidates, pool
    known = annotated(candidates.refs, candidates.annotations, files)

    def known_of_pool() -> Annotations:
        if len(pool.refs) < len(pool):  # nobody knows what they are called
            return pool.annotations
        return annotated(pool.refs, pool.annotations, files, required=False)

    view = dataclasses.replace(pool, refs=lambda: pool.refs, annotations=known_of_pool)
    return dataclasses.replace(candidates, annotations=known), view
