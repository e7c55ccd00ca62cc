from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from lightpool_core.errors import CorruptPool
from lightpool_core.pool.decisions import SCHEMA
from lightpool_core.pool.runs import Run, age, newest_first, unsettled


def decided(*names: str) -> pa.Table:
    return pa.Table.from_pylist([{"filename": name, "decision": "rejected"} for name in names], schema=SCHEMA)


def test_each_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    runs = [Run.begin(tmp_path) for _ in range(3)]
    assert [run.name for run in newest_first(tmp_path)] == [run.name for run in reversed(runs)]
    assert newest_first(tmp_path / "nowhere") == []


def test_runs_of_one_second_are_as_old_as_their_numbers() -> None:
    names = ["20261121T024952Z", "20261121T024952Z-2", "20261121T024952Z-10", "20261121T024953Z"]
    assert sorted([names[2], names[3], names[1], names[0]], key=age) == names


def test_a_decision_is_found_by_its_name(tmp_path: Path) -> None:
    run = Run.begin(tmp_path)
    assert not run.explained
    assert run.decision("a.png") is None
    run.explain(decided("a.png", "b.png"))
    assert run.explained
    found = run.decision("b.png")
    assert found is not None
    assert (found["filename"], found["decision"], found["rank"]) == ("b.png", "rejected", None)
    assert run.decision("c.png") is None
    assert [path.name for path in run.folder.iterdir()] == ["decisions.parquet"]


def test_damaged_decisions_are_named(tmp_path: Path) -> None:
    run = Run.begin(tmp_path)
    run.explain(decided("a.png"))
    (run.folder / "decisions.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(CorruptPool, match=r"decisions.parquet cannot be read .*; delete it"):
        run.decision("a.png")


def test_a_report_that_is_missing_or_damaged_is_none(tmp_path: Path) -> None:
    run = Run.begin(tmp_path)
    assert run.report() is None
    run.write('{"version": 1}', {"sampled": ["a.png"]})
    assert run.report() == {"version": 1}
    (run.folder / "report.json").write_text('{"vers', encoding="utf-8")
    assert run.report() is None
    assert Run.of(tmp_path, run.name) == run


def test_a_run_that_owes_something_is_not_settled(tmp_path: Path) -> None:
    run = Run.begin(tmp_path)
    run.owe(decided("a.png"))
    assert (run.is_settled, unsettled(tmp_path)) == (False, [run])
    run.settle()
    assert (run.is_settled, unsettled(tmp_path)) == (True, [])
