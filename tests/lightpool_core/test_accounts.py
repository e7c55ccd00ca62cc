"""What a report says of a run."""

from __future__ import annotations

import numpy as np

from lightpool_core.accounts import pace
from lightpool_core.annotations import Annotations
from lightpool_core.assembly import Embedding
from lightpool_core.candidates import Candidates
from lightpool_core.embedding.pipeline import Effort


def test_nothing_takes_less_than_no_time() -> None:
    nobody = Candidates(np.empty((0, 4), np.float32), np.empty(0, np.int64), (), (), Annotations({}))
    effort = Effort(decode=1.0, prepare=0.5, embed=4.1, wait=-0.1, n_embedded=8)
    told = pace(Embedding(nobody, effort=effort))
    assert told.seconds == {"decode": 1.0, "prepare": 0.5, "embed": 4.1, "wait": 0.0}
    assert told.pictures_per_second == 2.0
