from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lightpool_core.media.source import Source
from lightpool_core.pool.ledger import Ledger, Outcome, rows_of

A = Source("a.jpg", Path("/in/a.jpg"), "image", Path("/in"), "", 10, 100)
B = Source("b.mp4", Path("/in/b.mp4"), "video", Path("/in"), "", 20, 200)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path)
    ledger.create({"number": 0})
    return ledger


def record(ledger: Ledger, *outcomes: Outcome, number: int = 1) -> None:
    ledger.record_rows(rows_of(outcomes, f"run-{number}"), {"number": number})


def test_everything_is_unseen_at_first(ledger: Ledger) -> None:
    assert ledger.unseen([B, A]) == [B, A]
    assert ledger.unseen([]) == []
    assert ledger.known(["x"]) == {}
    assert len(ledger) == 0


def test_a_recorded_file_is_seen_until_it_changes(ledger: Ledger) -> None:
    record(ledger, Outcome(A, "x", "processed", "", 1))
    longer, touched = dataclasses.replace(A, size=11), dataclasses.replace(A, mtime_ns=101)
    moved = dataclasses.replace(A, file=Path("/in/c.jpg"))
    assert ledger.unseen([A, longer, B, touched, moved]) == [longer, B, touched, moved]


def test_bytes_are_known_by_their_first_record_that_is_no_copy(ledger: Ledger) -> None:
    record(ledger, Outcome(B, "x", "duplicate", "same bytes as a.jpg"), number=1)
    record(ledger, Outcome(A, "x", "processed", "cut short", 1), number=2)
    found = ledger.known(["x", "y"])
    assert set(found) == {"x"}
    assert (found["x"].source, found["x"].status, found["x"].reason) == ("a.jpg", "processed", "cut short")


def test_a_file_in_one_state_is_recorded_once(ledger: Ledger) -> None:
    outcome = Outcome(A, "x", "processed", "", 1)
    record(ledger, outcome)
    record(ledger, outcome, Outcome(B, "y", "corrupt", "empty"), number=2)
    assert len(ledger) == 2
    assert ledger.newest()["number"] == 2


def test_what_could_not_be_read_is_not_remembered(ledger: Ledger) -> None:
    record(ledger, Outcome(A, "", "corrupt", "cannot be read"))
    assert ledger.unseen([A]) == [A]


def test_a_restored_ledger_knows_what_it_knew_when_the_version_was_made(ledger: Ledger) -> None:
    record(ledger, Outcome(A, "x", "processed"), number=1)
    record(ledger, Outcome(B, "y", "processed"), number=2)
    ledger.restore(1, {"number": 3})
    assert ledger.unseen([A, B]) == [B]
    ledger.restore(2, {"number": 4})
    assert ledger.unseen([A, B]) == []


def test_a_pruned_ledger_forgets_no_file(ledger: Ledger) -> None:
    record(ledger, Outcome(A, "x", "processed"), number=1)
    record(ledger, Outcome(B, "y", "processed"), number=2)
    ledger.prune()
    assert ledger.unseen([A, B]) == []
    assert ledger.newest()["number"] == 2


def test_a_source_is_told_of_as_it_was_known_at_a_version(ledger: Ledger) -> None:
    record(ledger, Outcome(A, "x", "corrupt", "empty"), number=1)
    record(ledger, Outcome(dataclasses.replace(A, size=11), "z", "processed", "", 1), number=2)
    record(ledger, Outcome(B, "y", "processed", "", 9), number=2)
    assert ledger.about("a.jpg", 0).num_rows == 0
    assert ledger.about("a.jpg", 1)["reason"].to_pylist() == ["empty"]
    assert sorted(ledger.about("a.jpg", 2)["status"].to_pylist()) == ["corrupt", "processed"]
    assert ledger.about("b.mp4", 2)["samples"].to_pylist() == [9]
    assert ledger.about("b.mp4", 7)["samples"].to_pylist() == [9]
    ledger.restore(1, {"number": 3})
    assert ledger.about("b.mp4", 3).num_rows == 0
