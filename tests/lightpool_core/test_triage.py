from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lightpool_core.media.inputs import list_sources
from lightpool_core.media.reader import file_digest
from lightpool_core.pool.ledger import Record
from lightpool_core.triage import Fresh, nothing_known, triage, with_distinct_names


def touched(root: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = root / f"{name.replace('__', '/')}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_new_bytes_are_fresh_and_copies_among_them_duplicates(tmp_path: Path) -> None:
    sources = list_sources([touched(tmp_path, a="1", b="2", c="1")])
    found = triage(sources, nothing_known)
    assert [entry.source.name for entry in found.fresh] == ["a.jpg", "b.jpg"]
    assert found.fresh[0].digest == file_digest(tmp_path / "a.jpg")
    (copy,) = found.settled
    assert (copy.source.name, copy.status, copy.reason) == ("c.jpg", "duplicate", "same bytes as a.jpg")
    assert found.unchanged == ()


def test_known_bytes_are_told_apart_by_what_is_recorded(tmp_path: Path) -> None:
    sources = list_sources([touched(tmp_path, same="1", copy="2", bad="3", new="4")])
    digest = {source.name: file_digest(source.file) for source in sources}
    records = {
        digest["same.jpg"]: Record("same.jpg", frozenset({str(tmp_path / "same.jpg")}), "image", "processed", ""),
        digest["copy.jpg"]: Record("old.jpg", frozenset({"/else/old.jpg"}), "image", "processed", ""),
        digest["bad.jpg"]: Record("ill.jpg", frozenset({"/else/ill.jpg"}), "image", "corrupt", "truncated"),
    }

    def known(digests: Iterable[str]) -> dict[str, Record]:
        return {d: records[d] for d in digests if d in records}

    found = triage(sources, known)
    assert [entry.source.name for entry in found.fresh] == ["new.jpg"]
    assert [(o.source.name, o.status, o.reason) for o in found.settled] == [
        ("bad.jpg", "corrupt", "truncated"),
        ("copy.jpg", "duplicate", "same bytes as old.jpg"),
    ]
    assert [(o.source.name, o.status) for o in found.unchanged] == [("same.jpg", "processed")]


def test_a_file_that_cannot_be_read_is_corrupt_and_without_digest(tmp_path: Path) -> None:
    sources = list_sources([touched(tmp_path, a="1", b="2")])
    (tmp_path / "a.jpg").unlink()
    found = triage(sources, nothing_known)
    (gone,) = found.settled
    assert (gone.source.name, gone.status, gone.digest) == ("a.jpg", "corrupt", "")
    assert gone.reason.startswith("cannot be read: ")
    assert [entry.source.name for entry in found.fresh] == ["b.jpg"]


def test_nothing_to_do_is_no_work() -> None:
    found = triage([], nothing_known)
    assert (found.fresh, found.settled, found.unchanged) == ((), (), ())


def fresh(*inputs: Path) -> tuple[Fresh, ...]:
    return triage(list_sources(inputs), nothing_known).fresh


def test_names_that_are_free_stay_as_they_are(tmp_path: Path) -> None:
    entries = fresh(touched(tmp_path, a="1", sub__a="2"))
    assert with_distinct_names(entries, {}) == entries


def test_equal_names_from_two_inputs_are_led_by_as_much_path_as_is_needed(tmp_path: Path) -> None:
    touched(tmp_path, x__raw__a="1", y__raw__a="2", z__raw__a="3")
    entries = with_distinct_names(fresh(*(tmp_path / folder / "raw" for folder in "xyz")), {})
    assert [entry.source.name for entry in entries] == ["a.jpg", "raw/a.jpg", "z/raw/a.jpg"]


def test_a_name_in_the_pool_with_other_bytes_is_taken(tmp_path: Path) -> None:
    (entry,) = fresh(touched(tmp_path / "raw", a="1"))
    (other,) = with_distinct_names([entry], {"a.jpg": "other bytes"})
    (same,) = with_distinct_names([entry], {"a.jpg": entry.digest})
    assert (other.source.name, same.source.name) == ("raw/a.jpg", "a.jpg")


def test_in_the_end_the_digest_makes_a_name_distinct(tmp_path: Path) -> None:
    (entry,) = fresh(touched(tmp_path / "raw", a="1"))
    parts = [part for part in (tmp_path / "raw").parts if part != tmp_path.anchor]
    taken = {"/".join([*parts[len(parts) - n :], "a.jpg"]): "other" for n in range(len(parts) + 1)}
    (named,) = with_distinct_names([entry], taken)
    assert named.source.name == f"a-{entry.digest[:8]}.jpg"
    (longer,) = with_distinct_names([entry], {**taken, named.source.name: "other"})
    assert longer.source.name == f"a-{entry.digest}.jpg"
