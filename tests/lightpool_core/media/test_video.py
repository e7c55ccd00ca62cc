from __future__ import annotations

import math
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio_ffmpeg  # type: ignore[import-untyped]  # has no annotations
import numpy as np
import pytest
from PIL import Image

from lightpool_core.errors import DecodeError
from lightpool_core.media import ffmpeg
from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.media.reading import opened
from lightpool_core.media.source import Frame
from lightpool_core.media.video import VideoStream

H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p"]
REAL_VIDEOS = sorted((Path(__file__).parents[3] / "../shared/data/videos").resolve().glob("*.mp4"))


def call_ffmpeg(*arguments: str | Path, command: str | None = None) -> str:
    quiet = ["-nostdin", "-y", "-loglevel", "error"]
    done = subprocess.run([command or ffmpeg_command(), *quiet, *arguments], check=True, capture_output=True, text=True)
    return done.stdout


def clip(file: Path, *options: str, rate: str = "10", seconds: float = 2, size: str = "64x48") -> Path:
    """A test pattern that differs in every frame."""
    pattern = f"testsrc2=size={size}:rate={rate}:duration={seconds}"
    call_ffmpeg("-f", "lavfi", "-i", pattern, *(options or H264), file)
    return file


def frames(
    file: Path, fps: float | None = None, indices: list[int] | None = None, **how: int
) -> tuple[list[Frame], VideoStream]:
    with VideoStream(file, fps=fps, indices=indices, **how) as stream:
        return list(stream), stream


def times_told_by_ffmpeg(file: Path) -> list[float]:
    """Seconds of every frame since the first, asked for in another way than VideoStream does."""
    show = ["-map", "0:v:0", "-vf", "showinfo", "-fps_mode", "passthrough", "-f", "null", "-"]
    command = [ffmpeg_command(), "-nostdin", "-hide_banner", "-i", str(file), *show]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    times = [float(part.split()[0]) for part in shown.split("pts_time:")[1:]]
    return [time - times[0] for time in times]


def first_of_each_slot(times: list[float], fps: float) -> list[int]:
    slots = [math.floor((time + 0.0005) * fps) for time in times]
    return [index for index, slot in enumerate(slots) if index == 0 or slot > max(slots[:index])]


def assert_pick_is_right(file: Path, fps: float) -> None:
    times = times_told_by_ffmpeg(file)
    every, _ = frames(file)
    picked, stream = frames(file, fps)
    assert [frame.index for frame in every] == list(range(len(times)))
    assert [frame.time for frame in every] == pytest.approx(times, abs=1e-4)
    assert [frame.index for frame in picked] == first_of_each_slot(times, fps)
    assert stream.n_frames == len(times)
    for frame in picked:
        assert frame.index is not None
        assert frame.time == every[frame.index].time
        np.testing.assert_array_equal(frame.pixels, every[frame.index].pixels)


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    """20 frames, 10 a second."""
    return clip(folder / "plain.mp4")


@pytest.fixture(scope="module")
def large(folder: Path) -> Path:
    """More pixels than the pipe holds, and more than a picture to a packet."""
    noise = "testsrc2=size=320x240:rate=10:duration=3,noise=alls=40:allf=t"
    call_ffmpeg("-f", "lavfi", "-i", noise, *H264, folder / "large.mkv")
    return folder / "large.mkv"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Every process that is started, to see afterwards what became of it."""
    processes: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return processes


def assert_nothing_is_left(started: list[subprocess.Popen[bytes]], files_before: int, threads_before: int) -> None:
    assert started
    assert all(process.returncode is not None for process in started)
    assert open_files() == files_before
    assert threading.active_count() == threads_before


@pytest.fixture
def _command_cache() -> Iterator[None]:
    ffmpeg_command.cache_clear()
    yield
    ffmpeg_command.cache_clear()


@pytest.mark.parametrize(
    ("rate", "name"), [("12.5", "even.mp4"), ("30000/1001", "ntsc.mp4"), ("30000/1001", "ntsc.mkv")]
)
def test_one_frame_per_second_is_the_first_of_each_second(folder: Path, rate: str, name: str) -> None:
    assert_pick_is_right(clip(folder / name, rate=rate, seconds=3.2), fps=1)


def test_one_frame_per_second_of_a_plain_clip_in_plain_numbers(folder: Path) -> None:
    picked, stream = frames(clip(folder / "plain-numbers.mp4", rate="12.5", seconds=3.2), fps=1)
    assert [(frame.index, frame.time) for frame in picked] == [(0, 0.0), (13, 1.04), (25, 2.0), (38, 3.04)]
    assert stream.n_frames == 40
    assert stream.reason is None


@pytest.mark.parametrize("fps", [0.4, 3.3, 1000])
def test_any_rate_picks_the_first_of_each_slot(large: Path, fps: float) -> None:
    assert_pick_is_right(large, fps)


@pytest.mark.parametrize("name", ["thirty.mp4", "thirty.mkv"])
def test_asking_for_the_rate_of_the_video_takes_every_frame(folder: Path, name: str) -> None:
    picked, stream = frames(clip(folder / name, rate="30", seconds=1), fps=30)
    assert len(picked) == stream.n_frames == 30


@pytest.mark.parametrize("fps", [0, -1.0, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(plain: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        VideoStream(plain, fps=fps)


def test_a_variable_frame_rate_keeps_its_times(folder: Path) -> None:
    file = folder / "variable.mkv"
    stretched = "settb=1/1000,setpts='(N*40+if(gt(N,12),(N-12)*310,0))/1000/TB'"
    clip(file, "-vf", stretched, "-fps_mode", "vfr", "-enc_time_base", "1:1000", *H264, rate="25", seconds=1)
    every, _ = frames(file)
    expected = [n * 0.04 + max(0, n - 12) * 0.31 for n in range(25)]
    assert [frame.time for frame in every] == pytest.approx(expected, abs=2e-3)
    assert all(a.time < b.time for a, b in pairwise(every) if a.time is not None and b.time is not None)
    assert_pick_is_right(file, fps=1)
    assert_pick_is_right(file, fps=5)


def test_times_count_from_the_first_frame_wherever_it_stands(folder: Path, plain: Path) -> None:
    call_ffmpeg("-i", plain, "-c", "copy", "-output_ts_offset", "7.3", folder / "late.ts")
    every, _ = frames(folder / "late.ts")
    assert [frame.time for frame in every] == pytest.approx([n / 10 for n in range(20)], abs=1e-4)


def test_listed_indices_are_exactly_those_frames(plain: Path) -> None:
    every, _ = frames(plain)
    listed, _ = frames(plain, indices=[17, 3, 4, 5, 0, 3])
    assert [frame.index for frame in listed] == [0, 3, 4, 5, 17]
    for frame in listed:
        assert frame.index is not None
        np.testing.assert_array_equal(frame.pixels, every[frame.index].pixels)


def test_listed_indices_past_the_end_are_passed_over(plain: Path) -> None:
    listed, stream = frames(plain, indices=[2, 500])
    assert [frame.index for frame in listed] == [2]
    assert stream.n_frames == 20


def test_no_indices_are_no_frames(plain: Path) -> None:
    assert frames(plain, indices=[])[0] == []


def test_more_indices_than_an_expression_holds(folder: Path) -> None:
    file = clip(folder / "many.mp4", rate="100", seconds=6, size="16x16")
    listed, _ = frames(file, indices=list(range(1, 600, 2)))
    assert [frame.index for frame in listed] == list(range(1, 600, 2))


def turned(plain: Path, file: Path) -> Path:
    """`plain`, to be shown upright by a quarter turn."""
    # Only newer versions can write a rotation: the one in the wheel.
    wheel = str(imageio_ffmpeg.get_ffmpeg_exe())
    call_ffmpeg("-display_rotation", "90", "-i", plain, "-c", "copy", file, command=wheel)
    return file


def test_a_rotated_video_comes_upright(folder: Path, plain: Path) -> None:
    rotated = turned(plain, folder / "rotated.mp4")
    before, after = frames(plain)[0][0].pixels, frames(rotated)[0][0].pixels
    assert before.shape == (48, 64, 3)
    assert after.shape == (64, 48, 3)
    assert np.abs(np.rot90(before).astype(int) - after).mean() < 3
    assert np.abs(np.rot90(before, -1).astype(int) - after).mean() > 30


@pytest.mark.parametrize(
    ("size", "short_side", "shrunk"),
    [
        ("64x48", 24, (32, 24)),
        ("64x48", 47, (63, 47)),
        ("64x48", 48, (64, 48)),
        ("64x48", 500, (64, 48)),
        ("48x64", 24, (24, 32)),
        ("320x64", 24, (120, 24)),
        ("64x48", 1, (1, 1)),
    ],
)
def test_frames_come_as_small_as_is_enough(folder: Path, size: str, short_side: int, shrunk: tuple[int, int]) -> None:
    file = clip(folder / f"{size}.mkv", "-c:v", "ffv1", "-pix_fmt", "yuv444p", size=size, seconds=0.5)
    every, _ = frames(file)
    small, stream = frames(file, short_side=short_side)
    assert {frame.pixels.shape for frame in small} == {(shrunk[1], shrunk[0], 3)}
    assert {f"{frame.width}x{frame.height}" for frame in small + every} == {size}
    assert [(frame.index, frame.time) for frame in small] == [(frame.index, frame.time) for frame in every]
    assert stream.n_frames == 5
    for one, whole in zip(small, every, strict=True):
        expected = Image.fromarray(whole.pixels).resize(shrunk, Image.Resampling.BOX)
        assert np.abs(one.pixels.astype(int) - np.asarray(expected)).mean() < 10


def test_a_rotated_video_is_measured_and_shrunk_upright(folder: Path, plain: Path) -> None:
    rotated = turned(plain, folder / "rotated-small.mp4")
    small, _ = frames(rotated, short_side=24)
    assert {(frame.width, frame.height) for frame in frames(rotated)[0] + small} == {(48, 64)}
    assert {frame.pixels.shape for frame in small} == {(32, 24, 3)}
    lying = frames(plain, short_side=24)[0][0].pixels
    assert np.abs(small[0].pixels.astype(int) - np.rot90(lying)).mean() < 20
    assert np.abs(small[0].pixels.astype(int) - np.rot90(lying, -1)).mean() > 60


def test_a_change_of_resolution_keeps_the_first_size_shrunk(folder: Path) -> None:
    small, wide = clip(folder / "narrow.ts"), clip(folder / "broad.ts", size="96x80")
    file = folder / "changing-small.ts"
    file.write_bytes(small.read_bytes() + wide.read_bytes())
    every, _ = frames(file, short_side=24)
    assert [frame.index for frame in every] == list(range(40))
    assert {frame.pixels.shape for frame in every} == {(24, 32, 3)}


def test_frames_of_more_pixels_than_allowed_are_refused(plain: Path) -> None:
    assert frames(plain, max_pixels=64 * 48)[1].n_frames == 20
    for short_side in (48, 8):
        with pytest.raises(DecodeError, match="max_megapixels"):
            frames(plain, max_pixels=64 * 48 - 1, short_side=short_side)


def test_colours_are_in_the_order_red_green_blue(folder: Path) -> None:
    call_ffmpeg("-f", "lavfi", "-i", "color=red:size=64x48:duration=0.2", *H264, folder / "red.mp4")
    red, green, blue = frames(folder / "red.mp4")[0][0].pixels.reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("odd.mkv", "63x47", ["-vf", "format=rgb24,scale=63:47", "-c:v", "ffv1", "-pix_fmt", "yuv444p"]),
        ("deep.mkv", "64x48", ["-c:v", "ffv1", "-pix_fmt", "yuv420p10le"]),
        ("grey.mkv", "64x48", ["-c:v", "ffv1", "-pix_fmt", "gray"]),
        ("clear.mkv", "64x48", ["-c:v", "ffv1", "-pix_fmt", "bgra"]),
        ("old.avi", "64x48", ["-c:v", "mjpeg", "-pix_fmt", "yuvj420p"]),
        ("flow.mpg", "64x48", ["-c:v", "mpeg2video", "-r", "25"]),
    ],
)
def test_every_kind_of_pixel_comes_as_rgb(folder: Path, name: str, size: str, options: list[str]) -> None:
    width, height = map(int, size.split("x"))
    every, stream = frames(clip(folder / name, *options, rate="25", seconds=0.4, size=size))
    assert {frame.pixels.shape for frame in every} == {(height, width, 3)}
    assert len(every) == stream.n_frames == 10
    assert every[0].pixels.std() > 20


def test_a_change_of_resolution_keeps_indices_and_the_first_size(folder: Path) -> None:
    small, wide = clip(folder / "small.ts"), clip(folder / "wide.ts", size="96x80")
    file = folder / "changing.ts"
    file.write_bytes(small.read_bytes() + wide.read_bytes())
    every, _ = frames(file)
    assert [frame.index for frame in every] == list(range(40))
    assert {frame.pixels.shape for frame in every} == {(48, 64, 3)}
    for chosen in (frames(file, fps=2)[0], frames(file, indices=[0, 19, 20, 21, 39])[0]):
        assert len(chosen) >= 4
        for frame in chosen:
            assert frame.index is not None
            np.testing.assert_array_equal(frame.pixels, every[frame.index].pixels)


def test_of_several_streams_the_first_video_counts_and_cover_art_is_none(folder: Path, plain: Path) -> None:
    second = clip(folder / "second.mp4", size="32x32")
    cover = ["-map", "0", "-map", "1", "-c", "copy", "-disposition:v:1", "attached_pic"]
    clip(folder / "cover.png", "-frames:v", "1")
    call_ffmpeg("-i", plain, "-i", folder / "cover.png", *cover, folder / "covered.mp4")
    call_ffmpeg("-i", plain, "-i", second, "-map", "0", "-map", "1", "-c", "copy", folder / "two.mp4")
    for name in ("covered.mp4", "two.mp4"):
        every, stream = frames(folder / name)
        assert {frame.pixels.shape for frame in every} == {(48, 64, 3)}
        assert stream.n_frames == 20


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_a_truncated_file_gives_what_it_has_and_says_so(folder: Path, large: Path, suffix: str) -> None:
    whole, cut = folder / f"whole.{suffix}", folder / f"cut.{suffix}"
    call_ffmpeg("-i", large, "-c", "copy", whole)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    every, _ = frames(whole)
    kept, stream = frames(cut)
    assert 10 < len(kept) < 20
    assert stream.n_frames == len(kept)
    np.testing.assert_array_equal(kept[9].pixels, every[9].pixels)
    assert stream.reason is not None
    assert "\n" not in stream.reason
    assert str(folder) not in stream.reason
    assert frames(cut, fps=1)[1].n_frames == len(kept)


def write_broken(kind: str, file: Path, plain: Path) -> None:
    if kind == "text":
        file.write_text("This is not a video at all.\n" * 50)
    elif kind == "empty":
        file.touch()
    elif kind == "audio":
        call_ffmpeg("-f", "lavfi", "-i", "sine=duration=1", file)
    elif kind == "cut header":
        file.write_bytes(plain.read_bytes()[: plain.stat().st_size // 2])
    elif kind == "picture":
        clip(file.with_suffix(".png"), "-frames:v", "1").rename(file)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text", "not a video"),
        ("empty", "is empty"),
        ("audio", "no video stream"),
        ("cut header", "cut off"),
        ("picture", "not a video container"),
    ],
)
def test_what_is_no_video_is_one_line(tmp_path: Path, plain: Path, kind: str, message: str) -> None:
    file = tmp_path / "broken.mp4"
    write_broken(kind, file, plain)
    with pytest.raises(DecodeError, match=message) as caught:
        frames(file)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert 0 < len(str(caught.value)) < 200


def test_a_file_that_cannot_be_read_is_not_called_broken(tmp_path: Path) -> None:
    for name in ("gone.mp4", "gone.avi"):
        with pytest.raises(FileNotFoundError):
            frames(tmp_path / name, fps=1)
    os.mkfifo(tmp_path / "pipe.avi")
    (tmp_path / "folder.avi").mkdir()
    for name in ("pipe.avi", "folder.avi"):
        with pytest.raises(OSError, match="no file any more"):
            opened(tmp_path / name)
    with pytest.raises(OSError, match="no file any more"):
        frames(tmp_path / "folder.avi")


@pytest.mark.parametrize(
    "playlist",
    [
        "ffconcat version 1.0\nfile plain.mp4\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nplain.mp4\n#EXT-X-ENDLIST\n",
    ],
)
def test_a_playlist_is_refused_rather_than_followed(tmp_path: Path, plain: Path, playlist: str) -> None:
    shutil.copy(plain, tmp_path / "plain.mp4")
    (tmp_path / "list.mp4").write_text(playlist)
    with pytest.raises(DecodeError, match="not a video"):
        frames(tmp_path / "list.mp4")


@pytest.mark.parametrize("fps", [None, 1.0])
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_stopping_early_leaves_nothing_behind(
    large: Path, started: list[subprocess.Popen[bytes]], fps: float | None, taken: int
) -> None:
    before = open_files(), threading.active_count()
    with VideoStream(large, fps=fps) as stream:
        for _ in range(taken):
            next(stream)
        assert open_files() > before[0]
    assert_nothing_is_left(started, *before)
    assert list(stream) == []


def test_reading_to_the_end_leaves_nothing_behind(large: Path, started: list[subprocess.Popen[bytes]]) -> None:
    before = open_files(), threading.active_count()
    with VideoStream(large) as stream:
        assert len(list(stream)) == 3
        assert_nothing_is_left(started, *before)
    with VideoStream(large, indices=[1]) as stream:
        assert next(stream).index == 1
        assert_nothing_is_left(started, *before)
    # Packets listed, frames decoded, frames decoded as far as needed.
    assert [process.returncode for process in started] == [0, 0, -9]


def test_failing_leaves_nothing_behind(large: Path, tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    before = open_files(), threading.active_count()
    with pytest.raises(FileNotFoundError):
        frames(tmp_path / "missing.mp4")
    with pytest.raises(KeyError), VideoStream(large, fps=None) as stream:
        raise KeyError(next(stream).index)
    assert_nothing_is_left(started, *before)


def test_a_command_that_cannot_start_leaves_nothing_behind(
    plain: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = open_files()
    monkeypatch.setattr(ffmpeg, "ffmpeg_command", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError):
        frames(plain)
    assert open_files() == before


@pytest.mark.parametrize(
    "name",
    [
        "-i.mp4",
        "two words.mp4",
        'it\'s "quoted".mp4',
        "a,b;c=[d].mp4",
        "http:colon.mp4",
        "frame-%03d.mp4",
        "*?.mp4",
        "back\\slash.mp4",
        "été-視頻.mp4",
        os.fsdecode(b"not-utf8-\xff.mp4"),
    ],
)
def test_any_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: Path, name: str) -> None:
    shutil.copy(plain, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert frames(Path(name))[1].n_frames == 20
    assert frames(tmp_path / name, fps=1)[1].n_frames == 20


@pytest.mark.usefixtures("_command_cache")
def test_without_a_system_ffmpeg_the_one_in_the_wheel_decodes_the_same(
    plain: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = [(frame.index, frame.time) for file in (plain, large) for frame in frames(file, fps=3)[0]]
    ffmpeg_command.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert ffmpeg_command() == imageio_ffmpeg.get_ffmpeg_exe()
    after = [(frame.index, frame.time) for file in (plain, large) for frame in frames(file, fps=3)[0]]
    assert before == after


@pytest.mark.usefixtures("_command_cache")
def test_a_system_ffmpeg_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert ffmpeg_command() == imageio_ffmpeg.get_ffmpeg_exe()


def test_an_ffmpeg_that_dies_midway_is_a_reason_and_no_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: Path
) -> None:
    dying = tmp_path / "ffmpeg"
    dying.write_text(f'#!/bin/sh\n"{ffmpeg_command()}" "$@" | head -c 500000\nexit 9\n')
    dying.chmod(0o755)
    monkeypatch.setattr(ffmpeg, "ffmpeg_command", lambda: str(dying))
    kept, stream = frames(large)
    assert len(kept) == 2
    assert stream.reason


@pytest.mark.skipif(not REAL_VIDEOS, reason="the shared videos are not here")
@pytest.mark.parametrize("file", REAL_VIDEOS, ids=lambda file: file.stem)
def test_real_videos_are_counted_and_picked_exactly(file: Path) -> None:
    lines = call_ffmpeg("-i", file, "-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "-")
    n_frames = sum(not line.startswith("#") for line in lines.splitlines())
    picked, stream = frames(file, fps=1)
    assert stream.n_frames == n_frames
    assert stream.reason is None
    wanted = {frame.index: frame for frame in picked}
    times: list[float] = []
    with VideoStream(file, fps=None) as every:
        for frame in every:
            assert frame.time is not None
            times.append(frame.time)
            if frame.index in wanted:
                np.testing.assert_array_equal(frame.pixels, wanted[frame.index].pixels)
                assert frame.time == wanted[frame.index].time
    assert every.n_frames == len(times) == n_frames
    assert list(wanted) == first_of_each_slot(times, 1)
