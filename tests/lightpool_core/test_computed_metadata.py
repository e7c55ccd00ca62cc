"""Metadata measured on the way from a picture to its embedding: with the candidates, in the pool, in its view."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lightpool_core import Candidates, Datapool, Overrides, PoolView, Selection, Stop, append, select
from lightpool_core.arrays import Pixels
from lightpool_core.errors import SettingsError
from lightpool_core.media.quality import MEASURED, measured
from lightpool_core.media.video import VideoStream
from lightpool_core.selection.in_order import in_order
from tests.touchy import film, scene

SHARPNESS = "lightly.sharpness"


@dataclass(frozen=True)
class Keyed:
    """All of them; wants metadata, and writes down what it was given."""

    keys: str = ""
    log: str = ""

    @property
    def metadata_keys(self) -> frozenset[str]:
        return frozenset(self.keys.split())

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        seen = {
            "candidates": {key: column.tolist() for key, column in candidates.annotations.metadata.items()},
            "pool": {key: column.tolist() for key, column in pool.annotations.metadata.items()},
            "members": [[ref.filename, ref.source, ref.frame, ref.time] for ref in pool.refs],
        }
        Path(self.log).write_text(json.dumps(seen))
        return in_order(candidates.embeddings, np.arange(len(candidates)), pool, stop)


def photo(seed: int, blur: float = 0) -> Image.Image:
    """So large that a JPEG of it is made smaller while it is decoded, unless somebody wants all of it."""
    patches = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    large = Image.fromarray(patches).resize((1200, 900), Image.Resampling.NEAREST)
    return large.filter(ImageFilter.GaussianBlur(blur)) if blur else large


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A sharp JPEG and a blurred one, and a video of three frames."""
    folder = tmp_path / "in"
    folder.mkdir()
    photo(1).save(folder / "a.jpg")
    photo(2, blur=6).save(folder / "b.jpg")
    film(folder / "c.mkv", [scene(seed) for seed in range(20, 23)])
    return folder


def settings(inbox: Path, **how: object) -> Overrides:
    given = {"inputs": (inbox,), "embedder": "gist", "n_samples": 1.0, "fps": "all", **how}
    return Overrides(**given)  # type: ignore[arg-type]


def keyed(log: Path, keys: str) -> dict[str, object]:
    return {"sampler": f"{__file__}:Keyed", "sampler_options": {"keys": keys, "log": str(log)}}


def pictures(inbox: Path) -> list[Pixels]:
    images = [np.asarray(Image.open(inbox / name)) for name in ("a.jpg", "b.jpg")]
    with VideoStream(inbox / "c.mkv", fps=None) as stream:
        return images + [frame.pixels for frame in stream]


def kept(pool: Path) -> dict[str, dict[str, float]]:
    """The metadata column by filename."""
    table = Datapool.open(pool).columns("filename", "metadata")
    return dict(zip(table["filename"].to_pylist(), map(json.loads, table["metadata"].to_pylist()), strict=True))


def test_what_was_measured_of_whole_pictures_joins_the_pool_with_them(inbox: Path, tmp_path: Path) -> None:
    append(tmp_path / "pool", settings(inbox, compute_metadata=True))
    wanted = [measured(pixels) for pixels in pictures(inbox)]
    sizes = [(inbox / name).stat().st_size for name in ("a.jpg", "b.jpg", *["c.mkv"] * 3)]
    found = kept(tmp_path / "pool")
    assert sorted(found) == ["a.jpg", "b.jpg", "c-0-mkv.png", "c-1-mkv.png", "c-2-mkv.png"]
    for name, looks, size in zip(sorted(found), wanted, sizes, strict=True):
        assert found[name] == {**looks, "lightly.sizeInBytes": size}
    assert found["a.jpg"][SHARPNESS] > 2 * found["b.jpg"][SHARPNESS]


def test_without_being_asked_for_only_what_costs_nothing_is_known(inbox: Path, tmp_path: Path) -> None:
    append(tmp_path / "pool", settings(inbox))
    assert {key for known in kept(tmp_path / "pool").values() for key in known} == {"lightly.sizeInBytes"}
    metadata = Datapool.open(tmp_path / "pool").annotations.metadata
    free = [
        "height",
        "lightly.height",
        "lightly.sizeInBytes",
        "lightly.width",
        "weak_label",
        "weak_label_name",
        "width",
    ]
    assert sorted(metadata) == free
    assert sorted(metadata["lightly.width"]) == sorted(metadata["width"]) == [24, 24, 24, 1200, 1200]


def test_a_sampler_that_names_a_key_has_it_computed_and_sees_that_of_the_pool(inbox: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    append(tmp_path / "pool", settings(inbox, **keyed(log, f"{SHARPNESS} weather")))
    first = json.loads(log.read_text())
    assert set(MEASURED) < set(first["candidates"])
    assert first["members"] == []
    photo(3).save(inbox / "d.jpg")
    append(tmp_path / "pool")
    second = json.loads(log.read_text())
    assert second["candidates"][SHARPNESS] == [measured(np.asarray(Image.open(inbox / "d.jpg")))[SHARPNESS]]
    assert second["pool"] == first["candidates"]
    assert second["members"] == [
        ["a.jpg", "a.jpg", None, None],
        ["b.jpg", "b.jpg", None, None],
        ["c-0-mkv.png", "c.mkv", 0, 0.0],
        ["c-1-mkv.png", "c.mkv", 1, 0.1],
        ["c-2-mkv.png", "c.mkv", 2, 0.2],
    ]


def test_samples_that_joined_before_are_unknown_to_what_is_computed_now(inbox: Path, tmp_path: Path) -> None:
    append(tmp_path / "pool", settings(inbox))
    photo(3).save(inbox / "d.jpg")
    append(tmp_path / "pool", Overrides(compute_metadata=True))
    sharpness = Datapool.open(tmp_path / "pool").view().annotations.metadata[SHARPNESS]
    assert np.isnan(sharpness).tolist() == [True] * 5 + [False]


@pytest.mark.parametrize("keys", ["", "lightly.width lightly.sizeInBytes", "weather"])
def test_what_is_known_anyway_is_not_measured(keys: str, inbox: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    append(tmp_path / "pool", settings(inbox, **keyed(log, keys)))
    assert not set(MEASURED) & set(json.loads(log.read_text())["candidates"])


def test_a_key_that_nobody_computes_is_refused_before_any_work(inbox: Path, tmp_path: Path) -> None:
    append(tmp_path / "pool", settings(inbox))
    photo(3).save(inbox / "d.jpg")
    with pytest.raises(SettingsError, match=r"lightly\.blur.* take one of lightly\.contrast, "):
        append(tmp_path / "pool", Overrides(**keyed(tmp_path / "log.json", "lightly.blur")))  # type: ignore[arg-type]
    assert Datapool.open(tmp_path / "pool").version.number == 1
    assert len(list((tmp_path / "pool" / "runs").iterdir())) == 1


def test_select_measures_raw_input_and_knows_what_is_kept_of_members(inbox: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    append(tmp_path / "pool", settings(inbox, compute_metadata=True))
    photo(3).save(inbox / "d.jpg")
    select(tmp_path / "pool", None, settings(inbox, **keyed(log, SHARPNESS)))
    seen = json.loads(log.read_text())
    assert len(seen["candidates"][SHARPNESS]) == 1
    assert len(seen["pool"][SHARPNESS]) == 5
    select(tmp_path / "pool", None, Overrides(**keyed(log, SHARPNESS)))  # type: ignore[arg-type]
    assert json.loads(log.read_text())["candidates"][SHARPNESS] == seen["pool"][SHARPNESS]


def test_the_table_of_a_version_shows_what_is_known(inbox: Path, tmp_path: Path) -> None:
    append(tmp_path / "pool", settings(inbox, compute_metadata=True))
    frame = Datapool.open(tmp_path / "pool").to_frame()
    assert json.loads(frame["metadata"][0])[SHARPNESS] > 0
    header = (tmp_path / "pool" / "datapool_latest.csv").read_text().split("\n")[0]
    assert header.startswith("filenames,embedding_0,")
    assert header.endswith(",labels")


def test_a_view_reads_what_is_known_only_when_it_is_looked_at(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(tmp_path / "pool", settings(inbox))
    view = Datapool.open(tmp_path / "pool").view()
    read: list[str] = []
    plain = Datapool.columns
    monkeypatch.setattr(Datapool, "columns", lambda self, *names: read.extend(names) or plain(self, *names))
    view.nearest(view.rows)
    assert read == []
    assert view.refs[2].source == "c.mkv"
    assert read == ["filename", "source", "frame", "time"]
    assert len(view.annotations.metadata["width"]) == 5
    assert read[4:] == ["width", "height", "label", "label_name", "metadata"]
