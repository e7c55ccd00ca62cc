from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightpool_core.media import keyframes, video
from lightpool_core.media.keyframes import KeyFrames, key_frames
from lightpool_core.media.source import Frame
from lightpool_core.media.video import VideoStream
from tests.lightpool_core.media.test_video import call_ffmpeg

NOISE = "testsrc2=size=320x240:rate=25:duration={},noise=alls=60:allf=t"
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-sc_threshold", "0"]
EVERY_SECOND = [*X264, "-g", "25", "-keyint_min", "25"]
B_FRAMES = ["-c:v", "libx264", "-preset", "fast", "-bf", "3", "-sc_threshold", "0", "-g", "25", "-keyint_min", "25"]


def film(file: Path, *options: str, seconds: float = 5) -> Path:
    call_ffmpeg("-f", "lavfi", "-i", NOISE.format(seconds), *options, file)
    assert file.stat().st_size > keyframes._SMALL
    return file


def read(file: Path, fps: float, **how: Any) -> tuple[list[Frame], VideoStream, bool]:
    """Frames, the stream, and whether it began with nothing but key frames."""
    with VideoStream(file, fps=fps, **how) as stream:
        began = stream.key_frames_only
        return list(stream), stream, began


def read_in_full(file: Path, fps: float, **how: Any) -> tuple[list[Frame], VideoStream]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video, "key_frames", lambda *_: None)
        frames, stream, began = read(file, fps, **how)
    assert not began
    return frames, stream


def assert_same_answers(file: Path, fps: float, *, by_key_frames: bool, **how: Any) -> None:
    found, stream, _ = read(file, fps, **how)
    expected, full = read_in_full(file, fps, **how)
    assert [(frame.index, frame.time) for frame in found] == [(frame.index, frame.time) for frame in expected]
    assert [(frame.width, frame.height) for frame in found] == [(frame.width, frame.height) for frame in expected]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
    assert (stream.n_frames, stream.reason) == (full.n_frames, full.reason)
    assert stream.key_frames_only == by_key_frames
    assert len(found) >= 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("films")


@pytest.fixture(scope="module")
def every_second(folder: Path) -> Path:
    """125 frames, 25 a second, a key frame each second."""
    return film(folder / "every-second.mp4", *EVERY_SECOND)


@pytest.fixture(scope="module")
def reordered(folder: Path) -> Path:
    """The same with B-frames, which are stored in another order than shown."""
    return film(folder / "reordered.mp4", *B_FRAMES)


@pytest.mark.parametrize("fps", [1, 3.3, 25])
def test_where_all_frames_are_key_frames_they_are_enough_at_any_rate(folder: Path, fps: float) -> None:
    assert_same_answers(film(folder / "all.mp4", *X264, "-g", "1", seconds=3), fps, by_key_frames=True)


@pytest.mark.parametrize("fps", [0.5, 1])
def test_key_frames_at_the_sampled_times_are_enough(every_second: Path, fps: float) -> None:
    assert_same_answers(every_second, fps, by_key_frames=True)


def test_frames_between_key_frames_have_everything_decoded(every_second: Path) -> None:
    assert_same_answers(every_second, 2, by_key_frames=False)


@pytest.mark.parametrize("suffix", ["mkv", "mov"])
def test_containers_that_list_frames_are_asked(folder: Path, every_second: Path, suffix: str) -> None:
    file = folder / f"asked.{suffix}"
    call_ffmpeg("-i", every_second, "-c", "copy", file)
    assert_same_answers(file, 1, by_key_frames=True)


@pytest.mark.parametrize("suffix", ["ts", "avi"])
def test_other_containers_are_decoded(folder: Path, every_second: Path, suffix: str) -> None:
    file = folder / f"decoded.{suffix}"
    call_ffmpeg("-i", every_second, "-c", "copy", file)
    assert_same_answers(file, 1, by_key_frames=False)


def test_motion_jpeg_is_all_key_frames(folder: Path) -> None:
    assert_same_answers(film(folder / "jpeg.mkv", "-c:v", "mjpeg", "-q:v", "5"), 1, by_key_frames=True)


def test_a_rate_that_is_no_whole_number_is_no_hindrance(folder: Path) -> None:
    file = folder / "ntsc.mp4"
    noise = NOISE.format(5).replace("rate=25", "rate=30000/1001")
    call_ffmpeg("-f", "lavfi", "-i", noise, *X264, "-force_key_frames", "expr:gte(t,n_forced*1.0)", file)
    assert_same_answers(file, 1, by_key_frames=True)


def test_shrunk_frames_are_the_same_as_well(every_second: Path) -> None:
    assert_same_answers(every_second, 1, by_key_frames=True, short_side=100)


def test_b_frames_are_put_in_order(reordered: Path) -> None:
    assert_same_answers(reordered, 1, by_key_frames=True)
    assert_same_answers(reordered, 2, by_key_frames=False)


def test_key_frames_that_come_too_late_or_too_rarely_are_not_enough(folder: Path) -> None:
    assert_same_answers(film(folder / "rare.mp4", *X264, "-g", "37"), 1, by_key_frames=False)
    forced = [*X264, "-g", "250", "-force_key_frames", "0,1,2,3.5,4"]
    assert_same_answers(film(folder / "forced.mp4", *forced), 1, by_key_frames=False)


def test_only_the_end_may_show_that_key_frames_are_not_enough(folder: Path) -> None:
    seconds = ",".join(map(str, [*range(11), 11.5]))
    file = film(folder / "end.mp4", *X264, "-g", "999", "-force_key_frames", seconds, seconds=13)
    assert_same_answers(file, 1, by_key_frames=False)


@pytest.mark.parametrize("name", ["every_second", "reordered"])
def test_what_an_edit_list_cuts_off_is_decoded(folder: Path, request: pytest.FixtureRequest, name: str) -> None:
    file = folder / f"edited-{name}.mp4"
    call_ffmpeg("-ss", "0.5", "-i", request.getfixturevalue(name), "-c", "copy", file)
    assert_same_answers(file, 1, by_key_frames=False)


def test_a_variable_rate_keeps_its_times(folder: Path) -> None:
    stretched = ["-vf", "setpts='N*40/1000/TB+floor(N/25)*0.33/TB'", "-fps_mode", "vfr", "-enc_time_base", "1:1000"]
    file = film(folder / "variable.mkv", *stretched, *EVERY_SECOND)
    assert_same_answers(file, 1, by_key_frames=False)


def test_key_frames_of_an_open_gop_come_out_of_order_and_are_told_in_time(folder: Path) -> None:
    file = film(folder / "open.mp4", *B_FRAMES, "-x264-params", "open-gop=1")
    assert read(file, 1)[2]
    assert_same_answers(file, 1, by_key_frames=False)


def test_a_small_file_is_not_listed(tmp_path: Path, every_second: Path) -> None:
    small = tmp_path / "small.mp4"
    call_ffmpeg("-f", "lavfi", "-i", "color=red:size=64x48:rate=25:duration=3", *EVERY_SECOND, small)
    assert key_frames(small, 1) is None
    assert key_frames(every_second, 1) is not None


def test_the_list_says_which_frames_are_sampled(every_second: Path) -> None:
    listed = key_frames(every_second, 1)
    assert listed == KeyFrames(0, tuple((25 * n, 1_000_000 * n) for n in range(5)), 5, 125)


def test_listing_shows_that_it_goes_on(every_second: Path) -> None:
    seen: list[int] = []
    key_frames(every_second, 1, seen.append)
    assert seen == list(range(1, 126))
    with VideoStream(every_second, fps=1) as stream:
        assert stream.n_read >= 125


def test_what_is_cut_off_is_decoded_to_its_end(folder: Path, every_second: Path) -> None:
    whole, cut = folder / "whole.mkv", folder / "cut.mkv"
    call_ffmpeg("-i", every_second, "-c", "copy", whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 4 // 5])
    assert_same_answers(cut, 1, by_key_frames=False)


def test_what_is_no_video_is_said_as_ever(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(bytes(2 * keyframes._SMALL))
    assert key_frames(tmp_path / "a.mp4", 1) is None


WRONG_LISTS = {
    "a frame that is not there": lambda true: dataclasses.replace(true, sampled=(*true.sampled, (124, 4_960_000))),
    "other times": lambda true: dataclasses.replace(true, sampled=tuple((i, t + 40_000) for i, t in true.sampled)),
    "another time in between": lambda true: dataclasses.replace(
        true, sampled=(*true.sampled[:2], (50, 2_000_001), *true.sampled[3:])
    ),
    "one frame too few": lambda true: dataclasses.replace(true, sampled=(*true.sampled[:2], *true.sampled[3:])),
    "another beginning": lambda true: dataclasses.replace(true, start=true.start + 1),
    "more key frames": lambda true: dataclasses.replace(true, n_keys=true.n_keys + 1),
    "fewer key frames": lambda true: dataclasses.replace(true, n_keys=true.n_keys - 1),
}


@pytest.mark.parametrize("wrong", WRONG_LISTS.values(), ids=WRONG_LISTS)
def test_a_list_that_decoding_does_not_bear_out_changes_no_answer(
    every_second: Path, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = key_frames(every_second, 1)
    monkeypatch.setattr(video, "key_frames", lambda *_: wrong(true))
    assert_same_answers(every_second, 1, by_key_frames=False)


def test_a_decoder_that_fails_on_key_frames_is_started_over(
    every_second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Complaining(video.Decoder):
        def __init__(self, file: Path, wanted: video.Wanted) -> None:
            super().__init__(file, wanted)
            if wanted.keys_only:
                self._complaints.kept.append(b"something is wrong")

    monkeypatch.setattr(video, "Decoder", Complaining)
    assert_same_answers(every_second, 1, by_key_frames=False)
