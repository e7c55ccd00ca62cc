from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from lightpool_core.arrays import Embeddings
from lightpool_core.embedding import journal as journal_module
from lightpool_core.embedding.journal import SCRATCH_NAME, Entries, Journal, Maker, keys_in
from lightpool_core.embedding.pictures import Ending, Picture
from lightpool_core.media.quality import MEASURED

MAKER = Maker("touchy-1", "float32 on cpu", 3)
WELL = [Ending(1, 1), Ending(300, 12), Ending(300, 10, key_frames_only=True), Ending(0)]
NOT_WELL = [
    Ending(120, 0, "it has no frame to decode"),
    Ending(300, 12, "the file »ends« early", key_frames_only=True),
    Ending(8, 8, "its decoder was killed", readable=False),
]


def picture(number: int, index: int | None = None, measured: Mapping[str, float] | None = None) -> Picture:
    return Picture(f"digest {number}", 640 + number, 480, index, None if index is None else index / 10, measured or {})


def looks(number: int) -> dict[str, float]:
    """Made up, and not to be written with few digits."""
    return {name: number + 1 / (3 + place) for place, name in enumerate(MEASURED)}


def rows(*numbers: int) -> Embeddings:
    return np.array([[number, number + 0.25, -number] for number in numbers], dtype=np.float32).reshape(-1, 3)


def embeddings_of(journal: Journal, entries: Entries) -> Embeddings:
    return journal.embeddings(entries.pictures["part"].to_numpy(), entries.pictures["row"].to_numpy())


def filled(folder: Path, maker: Maker = MAKER, numbers: Sequence[int] = (0, 1, 2, 3)) -> Journal:
    """One part per number, each with a picture and its source's ending."""
    journal = Journal(folder, maker)
    for number in numbers:
        journal.add([(f"key {number}", picture(number))], rows(number), [(f"key {number}", Ending(1, 1))])
    return journal


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_batch_is_a_part_that_any_reader_of_parquet_reads(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", MAKER)
    journal.add([("a", picture(0)), ("b", picture(1, 7))], rows(0, 1), [("a", WELL[0])])
    journal.add([], rows(), [("c", NOT_WELL[0])])
    assert parts(tmp_path / "journal") == ["journal.json", "part-000001.parquet", "part-000002.parquet"]
    assert json.loads((tmp_path / "journal" / "journal.json").read_text()) == {
        "fingerprint": "touchy-1", "precision": "float32 on cpu", "dim": 3, "measured": False, "format": 1,
    }  # fmt: skip
    first, second = (parquet.read_table(tmp_path / "journal" / f"part-00000{n}.parquet") for n in (1, 2))
    assert first.to_pylist() == [
        {"source": "a", "frame": None, "time": None, "width": 640, "height": 480, "digest": "digest 0",
         "embedding": [0, 0.25, 0]},
        {"source": "b", "frame": 7, "time": 0.7, "width": 641, "height": 480, "digest": "digest 1",
         "embedding": [1, 1.25, -1]},
    ]  # fmt: skip
    assert second.num_rows == 0
    assert second.schema.equals(first.schema)


def test_what_was_written_is_there_in_this_run_and_in_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", MAKER)
    journal.add([("v", picture(n, n)) for n in range(4)], rows(0, 1, 2, 3), [])
    journal.add([("v", picture(4, 9)), ("i", picture(5))], rows(4, 5), [("v", Ending(11, 6)), ("i", Ending(1, 1))])
    for known in (journal, Journal(tmp_path / "journal", MAKER)):
        entries = known.entries(["v", "i", "unheard of"])
        assert entries.endings == {"v": Ending(11, 6), "i": Ending(1, 1)}
        assert entries.pictures["source"].to_pylist() == ["v"] * 5 + ["i"]
        assert entries.pictures["frame"].to_pylist() == [0, 1, 2, 3, 9, None]
        assert entries.pictures["digest"].to_pylist() == [f"digest {n}" for n in range(6)]
        np.testing.assert_array_equal(embeddings_of(known, entries), rows(0, 1, 2, 3, 4, 5))


def test_what_was_measured_is_there_to_the_last_digit_also_where_it_is_kept(tmp_path: Path) -> None:
    maker = dataclasses.replace(MAKER, measured=True)
    journal = Journal(tmp_path / "journal", maker)
    journal.add([("v", picture(n, n, looks(n))) for n in range(3)], rows(0, 1, 2), [])
    journal.add([("v", picture(3, 9, looks(3)))], rows(3), [("v", Ending(11, 4))])
    journal.keep(tmp_path / "embeddings", ["v"])
    kept = Journal(tmp_path / "next", maker, [tmp_path / "embeddings"])
    for known in (journal, Journal(tmp_path / "journal", maker), kept):
        entries = known.entries(["v"])
        assert entries.pictures.select(MEASURED).to_pylist() == [looks(n) for n in range(4)]
        np.testing.assert_array_equal(embeddings_of(known, entries), rows(0, 1, 2, 3))


def test_only_what_is_asked_for_comes(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal")
    entries = journal.entries(["key 2"])
    assert entries.pictures["source"].to_pylist() == ["key 2"]
    assert entries.endings == {"key 2": Ending(1, 1)}
    assert journal.entries([]).pictures.num_rows == 0


def test_an_empty_journal_answers_with_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", MAKER)
    entries = journal.entries(["a"])
    assert (entries.pictures.num_rows, entries.endings) == (0, {})
    assert embeddings_of(journal, entries).shape == (0, 3)


@pytest.mark.parametrize("ending", WELL, ids=str)
def test_how_a_source_ended_reads_back_as_it_was(ending: Ending, tmp_path: Path) -> None:
    Journal(tmp_path / "journal", MAKER).add([], rows(), [("a", ending)])
    assert Journal(tmp_path / "journal", MAKER).entries(["a"]).endings == {"a": ending}


def test_names_that_are_not_ascii_read_back_as_they_were(tmp_path: Path) -> None:
    key = "Straße 日本 \\xff"
    Journal(tmp_path / "journal", MAKER).add([(key, picture(0))], rows(0), [(key, WELL[0])])
    entries = Journal(tmp_path / "journal", MAKER).entries([key])
    assert (entries.endings, entries.pictures["source"].to_pylist()) == ({key: WELL[0]}, [key])


@pytest.mark.parametrize("ending", NOT_WELL, ids=lambda ending: ending.reason)
def test_what_was_not_well_is_settled_for_this_run_and_tried_again_by_the_next(ending: Ending, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", MAKER)
    journal.add([("v", picture(n, n)) for n in range(2)], rows(0, 1), [])
    journal.add([], rows(), [("v", ending)])
    assert journal.entries(["v"]).endings == {"v": ending}
    entries = Journal(tmp_path / "journal", MAKER).entries(["v"])
    assert entries.endings == {}
    assert entries.pictures["frame"].to_pylist() == [0, 1]


def test_a_journal_is_gone_on_with_behind_its_last_part(tmp_path: Path) -> None:
    filled(tmp_path / "journal", numbers=(0, 1))
    (tmp_path / "journal" / "part-000001.parquet").unlink()
    filled(tmp_path / "journal", numbers=(2,))
    assert parts(tmp_path / "journal") == ["journal.json", "part-000002.parquet", "part-000003.parquet"]


@pytest.mark.parametrize(
    "change", [{"fingerprint": "touchy-2"}, {"precision": "bfloat16 on cuda"}, {"dim": 4}, {"measured": True}]
)
def test_what_was_made_otherwise_is_not_taken(change: dict[str, object], tmp_path: Path) -> None:
    other = dataclasses.replace(MAKER, **change)  # type: ignore[arg-type]
    filled(tmp_path / "journal")
    filled(tmp_path / "other")
    begun = Journal(tmp_path / "journal", other, [tmp_path / "other"])
    assert begun.entries(["key 0"]).pictures.num_rows == 0
    assert parts(tmp_path / "journal") == ["journal.json"]
    assert len(parts(tmp_path / "other")) == 5  # not ours to take away


@pytest.mark.parametrize("header", [None, "", "{", "[]", '{"fingerprint": "touchy-1"}', '{"of": "tomorrow"}'])
def test_a_journal_without_its_header_is_begun_anew(header: str | None, tmp_path: Path) -> None:
    filled(tmp_path / "journal")
    (tmp_path / "journal" / "journal.json").unlink()
    if header is not None:
        (tmp_path / "journal" / "journal.json").write_text(header)
    assert Journal(tmp_path / "journal", MAKER).entries(["key 0"]).pictures.num_rows == 0
    assert Journal(tmp_path / "next", MAKER, [tmp_path / "journal"]).entries(["key 0"]).pictures.num_rows == 0


def damage(part: Path, how: str) -> None:
    good = part.read_bytes()
    if how == "foreign":
        parquet.write_table(pa.table({"a": [1]}), part)
    else:
        part.write_bytes({"empty": b"", "cut": good[: len(good) // 2], "words": b"no parquet at all"}[how])


@pytest.mark.parametrize("how", ["empty", "cut", "words", "foreign"])
def test_a_damaged_part_is_as_good_as_none(how: str, tmp_path: Path) -> None:
    filled(tmp_path / "damaged")
    n_parts = len(parts(tmp_path / "damaged")) - 1
    damage(tmp_path / "damaged" / "part-000002.parquet", how)
    journal = Journal(tmp_path / "journal", MAKER, [tmp_path / "damaged"])
    left = [f"key {n}" for n in range(n_parts) if n != 1]
    assert sorted(journal.entries([f"key {n}" for n in range(n_parts)]).endings) == left
    assert keys_in(tmp_path / "damaged") == set(left)


def test_frames_behind_a_lost_part_are_not_trusted(tmp_path: Path) -> None:
    cut_off = Journal(tmp_path / "cut-off", MAKER)
    for first in (0, 10, 20):
        ending = [("v", Ending(30, 30))] if first == 20 else []
        numbers = range(first, first + 10)
        cut_off.add([("v", picture(n, n)) for n in numbers], rows(*(n % 5 for n in numbers)), ending)
    (tmp_path / "cut-off" / "part-000002.parquet").unlink()
    entries = Journal(tmp_path / "journal", MAKER, [tmp_path / "cut-off"]).entries(["v"])
    assert entries.pictures["frame"].to_pylist() == list(range(10))
    assert entries.endings == {}


def test_a_part_that_was_never_completed_is_no_part(tmp_path: Path) -> None:
    filled(tmp_path / "journal", numbers=(0,))
    (tmp_path / "journal" / "part-000002.parquet.77.tmp").write_bytes(b"PAR1")
    assert filled(tmp_path / "journal", numbers=(1,)).entries(["key 0", "key 1"]).pictures.num_rows == 2
    assert keys_in(tmp_path / "journal") == {"key 0", "key 1"}


def test_journals_are_read_together(tmp_path: Path) -> None:
    filled(tmp_path / "old", numbers=(0, 1))
    filled(tmp_path / "older", numbers=(1, 2))
    filled(tmp_path / "journal", numbers=(3,))
    others = [tmp_path / "old", tmp_path / "journal", tmp_path / "older", tmp_path / "missing"]
    journal = Journal(tmp_path / "journal", MAKER, others)
    entries = journal.entries([f"key {n}" for n in range(4)])
    assert sorted(entries.endings) == ["key 0", "key 1", "key 2", "key 3"]
    assert entries.pictures["source"].to_pylist() == [f"key {n}" for n in (0, 1, 1, 2, 3)]
    np.testing.assert_array_equal(embeddings_of(journal, entries), rows(0, 1, 1, 2, 3))
    assert len(parts(tmp_path / "old")) == 3  # what others wrote stays theirs


@pytest.mark.parametrize("scratch", [0, 1 << 26], ids=["mapped", "in memory"])
def test_embeddings_come_in_the_order_in_which_they_are_asked_for(
    scratch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_SCRATCH", scratch)
    journal = Journal(tmp_path / "journal", MAKER)
    for part in range(5):
        numbers = range(10 * part, 10 * part + 4)
        journal.add([("v", picture(n, n)) for n in numbers], rows(*numbers), [])
    wanted_parts = np.array([4, 0, 2, 0, 4, 4, 1])
    wanted_rows = np.array([0, 3, 1, 0, 0, 2, 3])
    found = journal.embeddings(wanted_parts, wanted_rows)
    np.testing.assert_array_equal(found, rows(*(10 * wanted_parts + wanted_rows)))
    assert isinstance(found, np.memmap) == (tmp_path / SCRATCH_NAME).exists() == (scratch == 0)
    assert found.dtype == np.float32


@pytest.mark.parametrize("group", [1, 3, 8192])
def test_what_is_kept_is_a_journal_of_one_part(group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "_GROUP", group)
    journal = filled(tmp_path / "journal")
    journal.add([("v", picture(n, n)) for n in (5, 6)], rows(5, 6), [("v", WELL[2])])
    keys = ["key 1", "key 3", "v"]
    journal.keep(tmp_path / "embeddings", keys)
    assert parts(tmp_path / "embeddings") == ["journal.json", "part-000001.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["embeddings", "journal"]
    kept = Journal(tmp_path / "next", MAKER, [tmp_path / "embeddings"])
    before, after = journal.entries(keys), kept.entries(["key 0", *keys])
    assert after.endings == before.endings
    columns = ["source", "frame", "time", "width", "height", "digest"]
    assert after.pictures.select(columns).equals(before.pictures.select(columns))
    np.testing.assert_array_equal(embeddings_of(kept, after), rows(1, 3, 5, 6))
    assert keys_in(tmp_path / "embeddings") == set(keys)


def test_what_another_run_may_know_more_of_is_not_kept(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal", numbers=(0,))
    journal.add([(f"v{n}", picture(n, 0)) for n in (1, 2)], rows(1, 2), [])
    journal.add([], rows(), [(f"v{n}", ending) for n, ending in enumerate(NOT_WELL)])
    journal.keep(tmp_path / "embeddings", ["key 0", "v0", "v1", "v2"])
    assert keys_in(tmp_path / "embeddings") == {"key 0", "v1"}  # so that a later run keeps the others
