from __future__ import annotations

from pathlib import Path

import pytest

from lightpool_core.pool.checks.leftovers import leftover_findings, temporaries

OURS = [
    "datapool.toml.4711.tmp",
    "datapool_latest.csv.1.tmp",
    ".latest.json.99.tmp",
    ".lock-holder.12.tmp",
    "index/rows.f32.5.tmp",
    "runs/20261121T120000Z/pending.parquet.77.tmp",
    "runs/20261121T120000Z/journal/part-3.parquet.8.tmp",
    "runs/20261121T120000Z/.embeddings.x1/part-0.parquet",
    "history/part-0001-abc.snappy.parquet#1",
    "history/_delta_log/_commit_1234.json.tmp",
    "sources/_delta_log/00000000000000000007.json#2",
]
SOMEBODYS = [
    "notes.tmp",
    "notes.12.tmp",
    "datapool.toml.tmp",
    "my/b.tmp",
    "my/a#1",
    "a#1",
    "my/_commit_1",
    "runs/my photos/holiday.jpg",
    "runs/mine/report.json",
    "index/x.5.tmp",
]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    for name in (*OURS, *SOMEBODYS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_only_what_commands_leave_is_temporary(pool: Path) -> None:
    assert {path.relative_to(pool).as_posix() for path in temporaries(pool)} == set(OURS)


def test_what_is_somebody_elses_is_named_as_such(pool: Path) -> None:
    found = {finding.path.relative_to(pool).as_posix(): finding.advice for finding in leftover_findings(pool, [])}
    assert {name for name, advice in found.items() if "if it is yours" in advice} == set(SOMEBODYS)
    assert {name for name, advice in found.items() if "--repair" in advice} == set(OURS)
