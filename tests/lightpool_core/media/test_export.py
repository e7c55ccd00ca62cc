from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightpool_core.errors import SourceError
from lightpool_core.media import export
from lightpool_core.media.export import Picked, write_samples
from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.media.image import read_image
from lightpool_core.media.video import VideoStream


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("raw") / "clip.avi"
    pattern = ["-f", "lavfi", "-i", "testsrc2=size=48x32:rate=5:duration=2", "-c:v", "mjpeg"]
    subprocess.run([ffmpeg_command(), "-nostdin", "-loglevel", "error", *pattern, file], check=True)
    return file


def test_exported_frames_are_the_frames_that_were_decoded(clip: Path, tmp_path: Path) -> None:
    with VideoStream(clip, fps=None) as stream:
        decoded = {frame.index: frame.pixels for frame in stream}
    picks = [Picked(f"sub/clip-{index:02}-avi.png", clip, index) for index in (7, 0, 3)]
    write_samples(picks, tmp_path / "out")
    for pick in picks:
        np.testing.assert_array_equal(read_image(tmp_path / "out" / pick.filename).pixels, decoded[pick.frame])
    assert len(list((tmp_path / "out" / "sub").iterdir())) == 3


def test_images_are_copied_byte_for_byte(tmp_path: Path) -> None:
    files = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for file, grey in zip(files, (10, 200), strict=True):
        Image.new("RGB", (5, 4), (grey,) * 3).save(file)
    write_samples([Picked(f"cats/{file.name}", file, None) for file in files], tmp_path / "new" / "out")
    for file in files:
        assert (tmp_path / "new" / "out" / "cats" / file.name).read_bytes() == file.read_bytes()


def test_nothing_to_write_makes_the_folder(tmp_path: Path) -> None:
    write_samples([], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


OUTSIDE = ["../a.jpg", "sub/../../a.jpg", "{absolute}/a.jpg", "link/a.jpg", "b.jpg", ".", "", ".."]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "raw.jpg").write_bytes(b"raw")
    (tmp_path / "out").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "else")
    (tmp_path / "out" / "b.jpg").symlink_to(tmp_path / "a.jpg")
    name = name.format(absolute=tmp_path)
    with pytest.raises(SourceError, match="outside of"):
        write_samples([Picked(name, tmp_path / "raw.jpg", None)], tmp_path / "out")
    assert not (tmp_path / "a.jpg").exists()
    assert list((tmp_path / "else").iterdir()) == []


def test_a_raw_file_that_has_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"gone\.jpg"):
        write_samples([Picked("a.jpg", tmp_path / "gone.jpg", None)], tmp_path / "out")


def test_a_video_that_has_gone_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        write_samples([Picked("a.png", tmp_path / "gone.avi", 0)], tmp_path / "out")


def test_a_frame_that_is_not_there_any_more_is_a_source_error(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        write_samples([Picked("a.png", clip, 3), Picked("b.png", clip, 999)], tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SourceError, match="cannot be written"):
        write_samples([], tmp_path / "out")


def test_every_file_and_folder_is_brought_to_the_disk_and_none_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(export, "sync", lambda *paths: synced.extend(paths))
    files = {"cats/small/a.jpg": tmp_path / "1.jpg", "b.jpg": tmp_path / "2.jpg"}
    for file in files.values():
        file.write_bytes(b"raw")
    root = tmp_path / "new" / "out"
    write_samples([Picked(name, file, None) for name, file in files.items()], root)
    assert set(synced) == {root, root / "cats", root / "cats/small", root / "cats/small/a.jpg", root / "b.jpg"}
