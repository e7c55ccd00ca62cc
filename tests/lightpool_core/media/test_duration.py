from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lightpool_core.media import video
from lightpool_core.media.duration import duration
from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.media.video import VideoStream

H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def film(file: Path, seconds: float = 2.5) -> Path:
    pattern = f"testsrc2=size=64x48:rate=10:duration={seconds}"
    made = [ffmpeg_command(), "-y", "-loglevel", "error", "-f", "lavfi", "-i", pattern, *H264, str(file)]
    subprocess.run(made, check=True)
    return file


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "avi", "ts"])
def test_it_is_what_the_container_claims(suffix: str, tmp_path: Path) -> None:
    claimed = duration(film(tmp_path / f"film.{suffix}"))
    assert claimed is not None
    assert abs(claimed - 2.5) < 0.11


def test_an_hour_counts(tmp_path: Path) -> None:
    pattern = "color=size=16x16:rate=1/600"
    made = [ffmpeg_command(), "-y", "-loglevel", "error", "-f", "lavfi", "-i", pattern, "-frames:v", "7", *H264]
    subprocess.run([*made, str(tmp_path / "long.mkv")], check=True)
    assert duration(tmp_path / "long.mkv") == 7 * 600


def test_what_says_nothing_has_none(tmp_path: Path) -> None:
    assert duration(film(tmp_path / "film.h264")) is None
    (tmp_path / "text.mp4").write_text("Duration: 00:00:07.00")
    assert duration(tmp_path / "text.mp4") is None


@pytest.mark.parametrize("fps", [None, 2.0])
def test_a_long_video_tells_how_much_of_it_is_decoded(
    fps: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = film(tmp_path / "film.mp4")
    monkeypatch.setattr(video, "_LONG", 1)
    with VideoStream(file, fps=fps) as stream:
        assert stream.share == 0
        shares = [stream.share for _ in stream]
    assert shares == pytest.approx([n / 25 if fps is None else n / 5 for n in range(len(shares))], abs=0.02)
    assert len(shares) == (25 if fps is None else 5)


def test_a_short_one_is_not_asked(tmp_path: Path) -> None:
    with VideoStream(film(tmp_path / "film.mp4"), fps=None) as stream:
        assert {stream.share for _ in stream} == {0.0}
