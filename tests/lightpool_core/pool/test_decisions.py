from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from lightpool_core.candidates import Candidates
from lightpool_core.media.source import SampleRef
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.decisions import SCHEMA, rows_of
from lightpool_core.selection.reasons import Reasons
from tests.lightpool_core.pool.test_datapool import created, grown
from tests.strategies import unit_vectors


def rows(pool: Datapool, reasons: Reasons) -> list[dict[str, object]]:
    n = len(reasons.ranks)
    refs = tuple(SampleRef(f"v-{i}-mp4.png", "v.mp4", i) for i in range(n))
    candidates = Candidates(unit_vectors(n, 5), np.zeros(n, np.int64), refs)
    table = rows_of(candidates, reasons, pool, pool.version.number + 1)
    assert table.schema == SCHEMA
    answer: list[dict[str, object]] = table.to_pylist()
    return answer


def test_the_nearest_is_named_with_the_version_that_it_joined_in(tmp_path: Path) -> None:
    pool = grown(grown(created(tmp_path / "pool"), 3), 2)
    # Five samples are kept from before; row 5 is the first pick, candidate 2, and row 6 the second, candidate 0.
    reasons = Reasons(
        np.array([2, 0, 1, 0, 0]), np.array([0.5, 0.1, 0.75, 0.2, 0.3]), np.array([-1, 5, -1, 4, 6], np.int64)
    )
    table = rows(pool, reasons)
    assert [row["filename"] for row in table] == [f"v-{i}-mp4.png" for i in range(5)]
    assert {row["source"] for row in table} == {"v.mp4"}
    assert [row["decision"] for row in table] == ["selected", "rejected", "selected", "rejected", "rejected"]
    assert [row["rank"] for row in table] == [2, None, 1, None, None]
    assert [row["distance"] for row in table] == [0.5, 0.1, 0.75, 0.2, 0.3]
    assert [row["nearest"] for row in table] == [None, "v-2-mp4.png", None, "v2-1.png", "v-0-mp4.png"]
    assert [row["nearest_version"] for row in table] == [None, 3, None, 2, 3]


def test_where_nothing_was_kept_there_is_no_distance(tmp_path: Path) -> None:
    pool = created(tmp_path / "pool")
    infinite, none = np.full(2, np.inf), np.full(2, -1, np.int64)
    for ranks in ([0, 0], [1, 0]):
        table = rows(pool, Reasons(np.array(ranks), infinite, none))
        assert [row["distance"] for row in table] == [None, None]
        assert [row["nearest"] for row in table] == [None, None]


def test_without_candidates_there_is_the_schema(tmp_path: Path) -> None:
    assert rows(created(tmp_path / "pool"), Reasons(*(np.zeros(0, np.int64),) * 3)) == []
    assert SCHEMA.field("distance").type == pa.float64()
