from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightpool_core.media.source import SampleRef, Source, frame_name, is_normal, kind_of, ref_of, video_of


@pytest.mark.parametrize(
    ("name", "index", "n_frames", "expected"),
    [
        ("sub/my_video.mp4", 99, 200, "sub/my_video-099-mp4.png"),
        ("my_video.mov", 0, 9, "my_video-0-mov.png"),
        ("my_video.mov", 9, 10, "my_video-09-mov.png"),
        ("my_video.mov", 5, 100, "my_video-005-mov.png"),
        ("my_video.mov", 5, 99, "my_video-05-mov.png"),
        ("a/b/c.d.mp4", 1, 1000, "a/b/c.d-0001-mp4.png"),
        ("Clip 1.MP4", 12, 12345, "Clip 1-00012-MP4.png"),
    ],
)
def test_frames_are_called_as_lightly_calls_them(name: str, index: int, n_frames: int, expected: str) -> None:
    assert frame_name(name, index, n_frames) == expected
    assert video_of(expected) == name


@pytest.mark.parametrize(
    "name", ["v.mp4", "v-1.png", "v-mp4.png", "v-1-jpg.png", "v-1-mp4.jpg", "-1-mp4.png", "", "a/"]
)
def test_what_is_not_called_like_a_frame_is_of_no_video(name: str) -> None:
    assert video_of(name) is None


PARTS = st.sampled_from([*"/.-_ 0٣²a\n", "v", "12", "-1-mp4.png", "-2-MOV.png", "-x", "mp4", "png", "-jpg.png"])
PATHS = st.lists(PARTS, max_size=8).map("".join)


@settings(deadline=None, max_examples=500)
@given(PATHS)
@example("./a//v.x-٣-Mp4.png")
@example("v-²-mp4.png")
@example("/a/-1-mp4.png")
def test_the_name_of_a_frame_is_what_the_pattern_says(name: str) -> None:
    match = re.fullmatch(r"(.*[^/])-(\d+)-(\w+)\.png", name, re.DOTALL)
    if match and kind_of(video := PurePosixPath(f"{match[1]}.{match[3]}")) == "video":
        assert ref_of(name) == SampleRef(name, str(video), int(match[2]))
    else:
        assert ref_of(name) == SampleRef(name, name)


@settings(deadline=None, max_examples=300)
@given(PATHS)
def test_a_normal_path_is_a_relative_one_that_stays_as_it_is(path: str) -> None:
    assert is_normal(path) == (path != "." and not path.startswith("/") and str(PurePosixPath(path)) == path)


def test_names_of_one_video_sort_in_the_order_of_its_frames() -> None:
    names = [frame_name("v.mp4", index, 120) for index in range(120)]
    assert sorted(names) == names


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((f"a.{extension}", "image") for extension in "jpg jpeg png ppm bmp pgm tif tiff webp gif avif heic".split()),
        *((f"a.{extension}", "video") for extension in "mp4 m4v hevc mpg mpeg avi mov webm mkv flv wmv ts".split()),
        ("A.JPG", "image"),
        ("A.Mp4", "video"),
        ("a.txt", None),
        ("a", None),
        ("jpg", None),
        (".jpg", None),
        ("a.jpg.txt", None),
    ],
)
def test_the_extension_tells_images_from_videos(name: str, kind: str | None) -> None:
    assert kind_of(Path(name)) == kind


def test_an_image_is_labelled_by_its_subfolder_and_a_video_by_itself() -> None:
    image = Source("cats/a.jpg", Path("/in/cats/a.jpg"), "image", Path("/in"), "cats", 1, 1)
    flat = Source("a.jpg", Path("/in/a.jpg"), "image", Path("/in"), "", 1, 1)
    video = Source("cats/a.mp4", Path("/in/cats/a.mp4"), "video", Path("/in"), "cats", 1, 1)
    assert [source.label_name for source in (image, flat, video)] == ["cats", "", "cats/a.mp4"]
