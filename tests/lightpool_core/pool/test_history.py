from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lightpool_core.errors import VersionNotFound
from lightpool_core.pool.clock import now
from lightpool_core.pool.history import History, Version, schema
from tests.strategies import unit_vectors

FIRST = Version(0, now(), 0, 0, "init", 3, "mean-1")


def test_a_version_survives_being_a_note() -> None:
    version = Version(4, now(), 10, -2, "restore", 3, "f", "run", 2, {"samples": {"selected": 1}})
    assert Version.from_note(json.loads(json.dumps(version.to_note()))) == version


def test_a_new_history_has_one_empty_version(tmp_path: Path) -> None:
    history = History(tmp_path, 3)
    history.create(FIRST)
    assert history.versions() == [FIRST]
    assert history.embeddings(0, 0).shape == (0, 3)
    assert history.columns(0, ["filename"]).num_rows == 0


def test_an_unknown_version_is_named(tmp_path: Path) -> None:
    history = History(tmp_path, 3)
    history.create(FIRST)
    with pytest.raises(VersionNotFound, match=r"version 1 is not in .*; it keeps 0"):
        history.embeddings(1, 0)


def committed(history: History, *counts: int) -> History:
    """A history with so many samples more in each version."""
    history.create(FIRST)
    for number, n in enumerate(counts, start=1):
        added(history, number, sum(counts[: number - 1]), n)
    return history


def added(history: History, number: int, start: int, n: int) -> None:
    vectors = unit_vectors(n, 3, seed=number)
    given = {"position": list(range(start, start + n)), "embedding": vectors.tolist()}
    columns = [pa.array(given.get(field.name, [None] * n), field.type) for field in schema(3)]
    history.append(pa.table(columns, schema=schema(3)), Version(number, now(), start + n, n, "append", 3, "mean-1"))


def test_pieces_are_files_in_the_order_of_positions_and_keep_their_names(tmp_path: Path) -> None:
    history = committed(History(tmp_path, 3), 5, 2, 7)
    pieces = history.pieces(3)
    assert [n for _, n in pieces] == [5, 2, 7]
    assert len({name for name, _ in pieces}) == 3
    assert [history.pieces(number) for number in range(4)] == [pieces[:number] for number in range(4)]
    added(history, 4, 14, 3)
    assert history.pieces(4)[:3] == pieces
    assert history.pieces(2) == pieces[:2]


def test_pieces_come_back_with_a_restore_and_never_belong_to_other_samples(tmp_path: Path) -> None:
    history = committed(History(tmp_path, 3), 5, 2)
    pieces = history.pieces(2)
    history.restore(1, Version(3, now(), 5, -2, "restore", 3, "mean-1", restored=1))
    assert history.pieces(3) == pieces[:1]
    added(history, 4, 5, 2)
    assert history.pieces(4)[0] == pieces[0]
    assert history.pieces(4)[1] not in pieces
    history.restore(2, Version(5, now(), 7, 0, "restore", 3, "mean-1", restored=2))
    assert history.pieces(5) == pieces


def test_pieces_stay_when_older_versions_are_forgotten(tmp_path: Path) -> None:
    history = committed(History(tmp_path, 3), 5, 2)
    pieces = history.pieces(2)
    history.prune(Version(2, now(), 7, 2, "append", 3, "mean-1"))
    assert history.pieces(2) == pieces
    added(history, 3, 7, 4)
    assert history.pieces(3)[:2] == pieces


def test_a_commit_of_nothing_changes_no_other_piece(tmp_path: Path) -> None:
    history = committed(History(tmp_path, 3), 5, 0, 2)
    assert sum(n for _, n in history.pieces(2)) == 5
    assert [n for _, n in history.pieces(3) if n] == [5, 2]


@pytest.mark.parametrize("start", [0, 5, 7, 14])
def test_embeddings_are_read_from_a_position_on(start: int, tmp_path: Path) -> None:
    history = committed(History(tmp_path, 3), 5, 2, 7)
    whole = history.embeddings(3, 14)
    given = [unit_vectors(n, 3, seed=number) for number, n in ((1, 5), (2, 2), (3, 7))]
    np.testing.assert_array_equal(whole, np.concatenate(given))
    blocks = list(history.embeddings_from(3, start))
    positions = np.concatenate([positions for positions, _ in blocks] or [np.arange(0)])
    assert sorted(positions.tolist()) == list(range(start, 14))
    for block, rows in blocks:
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, whole[block])
