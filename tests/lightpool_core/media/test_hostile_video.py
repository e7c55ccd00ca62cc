"""Files with the extension of a video that would have ffmpeg open something else, or fill the memory."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lightpool_core.errors import DecodeError
from lightpool_core.media.ffmpeg import ffmpeg_command
from lightpool_core.media.video import VideoStream

HLS = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n"
DASH = (
    '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1" width="64" height="48">'
    "<BaseURL>{to}</BaseURL></Representation></AdaptationSet></Period></MPD>"
)
PLAYLISTS = {
    "concat": "ffconcat version 1.0\nfile '{to}'\n",
    "concat with options": "ffconcat version 1.0\nfile '{to}'\noption protocol_whitelist file,http,tcp,crypto\n",
    "hls": HLS + "#EXTINF:2,\n{to}\n#EXT-X-ENDLIST\n",
    "hls key": HLS + '#EXT-X-KEY:METHOD=AES-128,URI="{to}"\n#EXTINF:2,\nx.ts\n#EXT-X-ENDLIST\n',
    "hls map": HLS + '#EXT-X-MAP:URI="{to}"\n#EXTINF:2,\nx.mp4\n#EXT-X-ENDLIST\n',
    "hls variants": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{to}\n",
    "dash": DASH,
    "asx": '<asx version="3.0"><entry><ref href="{to}"/></entry></asx>',
    "asf reference": "[Reference]\nRef1={to}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 33\n",
    "rtsp text": "rtsptext\n{to}\n",
    "avisynth": 'FFVideoSource("{to}")\n',
    "smil": '<smil><body><video src="{to}"/></body></smil>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{to}"/></svg>',
}
EXTENSIONS = ["mp4", "mkv", "avi", "ts", "wmv", "hevc", "mpg"]


def clip(file: Path, colour: str) -> Path:
    """Two seconds of one colour."""
    quiet = [ffmpeg_command(), "-nostdin", "-y", "-loglevel", "error"]
    coded = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-frames:v", "20"]
    subprocess.run([*quiet, "-f", "lavfi", "-i", f"color={colour}:size=64x48:rate=10", *coded, file], check=True)
    return file


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that is red all over: if it shows up, somebody opened it."""
    return clip(tmp_path_factory.mktemp("marker") / "marker.mp4", "red")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listens on a port of this machine, and answers nobody."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def was_called(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}/x.ts"


def read(file: Path, fps: float | None) -> list[np.ndarray]:
    with VideoStream(file, fps=fps) as stream:
        return [frame.pixels for frame in stream]


def changed(data: bytes, change: Callable[[bytes, bytes], bytes]) -> bytes:
    """An MP4 whose boxes, but for those that hold others, have the contents that `change` makes of kind and content."""
    out, at = b"", 0
    while at + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + size]
        inner = kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"stbl")
        body = changed(body, change) if inner else change(kind, body)
        out += struct.pack(">I4s", len(body) + 8, kind) + body
        at += size
    return out


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_opens_nothing(kind: str, tmp_path: Path, marker: Path, listener: socket.socket) -> None:
    shutil.copy(marker, tmp_path / "x.ts")
    os.mkfifo(tmp_path / "pipe.ts")  # who opens it waits for ever
    port = listener.getsockname()[1]
    targets = [url(listener), str(marker), "x.ts", "pipe.ts", f"file:{marker}", f"tcp://127.0.0.1:{port}", "/dev/zero"]
    for to, extension in zip(targets, EXTENSIONS, strict=True):
        file = tmp_path / f"list.{extension}"
        file.write_text(PLAYLISTS[kind].format(to=to, port=port))
        with pytest.raises(DecodeError) as caught:
            read(file, None)
        assert "\n" not in str(caught.value)
    assert not was_called(listener)


@pytest.mark.parametrize("kind", ["hls", "concat"])
def test_a_large_playlist_is_not_followed_when_key_frames_are_looked_for(
    kind: str, tmp_path: Path, marker: Path, listener: socket.socket
) -> None:
    for to in (url(listener), str(marker)):
        (tmp_path / "list.mp4").write_text(PLAYLISTS[kind].format(to=to) + "#" * (2 << 20))
        with pytest.raises(DecodeError):
            read(tmp_path / "list.mp4", 1.0)
    assert not was_called(listener)


def test_without_precautions_ffmpeg_would_follow_them(tmp_path: Path, marker: Path, listener: socket.socket) -> None:
    def careless(kind: str, to: str, *options: str) -> int:
        (tmp_path / "list.mp4").write_text(PLAYLISTS[kind].format(to=to))
        command = [ffmpeg_command(), "-nostdin", *options, "-f", kind, "-i", tmp_path / "list.mp4", "-f", "null", "-"]
        return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode

    assert careless("concat", str(marker), "-safe", "0") == 0
    careless("hls", url(listener), "-rw_timeout", "100000", "-protocol_whitelist", "file,http,tcp,crypto")
    assert was_called(listener)


@pytest.mark.parametrize("form", ["url", "alias"])
def test_a_reference_of_a_mov_to_another_file_is_not_opened(
    form: str, tmp_path: Path, marker: Path, listener: socket.socket
) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    own = clip(tmp_path / "own.mp4", "blue").read_bytes()
    for to in (url(listener), str(marker), str(tmp_path / "pipe.mp4")):
        target = to.encode()
        if form == "url":
            entry = struct.pack(">I4sI", 12 + len(target) + 1, b"url ", 0) + target + b"\0"
        else:  # the alias record of old Macs, with an absolute path
            record = (
                bytes(10) + bytes([4]) + b"disk".ljust(27, b"\0") + bytes(12) + bytes([4]) + b"file".ljust(63, b"\0")
            )
            record += bytes(16) + struct.pack(">hh", 2, 2) + bytes(16)
            padded = target + b"\0" * (len(target) % 2)
            record += struct.pack(">HH", 2, len(target)) + padded + struct.pack(">HH", 0xFFFF, 0)
            entry = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
        dref = struct.pack(">II", 0, 1) + entry
        file = tmp_path / "refers.mov"
        file.write_bytes(changed(own, lambda kind, body, dref=dref: dref if kind == b"dref" else body))
        try:
            shown = read(file, None)
        except DecodeError:  # it has nothing to show but what it refers to
            shown = []
        assert all(picture[..., 2].mean() > 200 > 50 > picture[..., 0].mean() for picture in shown)
    assert not was_called(listener)


@pytest.mark.parametrize(
    "name",
    [
        "-i.mp4",
        "concat:a|b.mp4",
        "pipe:0.mp4",
        "http:..mp4",
        "%03d.mp4",
        "file.mp4:x.mp4",
        "fd:.mp4",
        "two\nlines.mp4",
        "subfile,,start,0,end,9,,:x.mp4",
        "\u202egnp.mp4",
        "data:,x.mp4",
        "$(touch x).mp4",
        "a'b\"c.mp4",
    ],
)
def test_a_name_is_that_very_file(name: str, tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(marker, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    (shown,) = read(Path(name), 0.1)
    assert shown[..., 0].mean() > 200
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("claimed", [80_000_000, 1_000_000_000, 2**32 - 1])
def test_an_index_that_claims_any_number_of_frames_is_refused_at_once(
    claimed: int, tmp_path: Path, marker: Path
) -> None:
    def claim(kind: bytes, body: bytes) -> bytes:
        tables = {
            b"stsz": struct.pack(">III", 0, 1, claimed),
            b"stts": struct.pack(">IIII", 0, 1, claimed, 1),
            b"stsc": struct.pack(">IIIII", 0, 1, 1, claimed, 1),
        }
        return tables.get(kind, body)

    (tmp_path / "many.mp4").write_bytes(changed(marker.read_bytes(), claim))
    with pytest.raises(DecodeError):
        read(tmp_path / "many.mp4", 1.0)


def test_a_picture_of_144_megapixels_in_a_small_video_is_refused(tmp_path: Path) -> None:
    raw = ["-f", "rawvideo", "-pix_fmt", "monob", "-video_size", "12000x12000", "-i", "/dev/zero"]
    quiet = [ffmpeg_command(), "-nostdin", "-y", "-loglevel", "error"]
    file = tmp_path / "large.mov"
    subprocess.run([*quiet, *raw, "-frames:v", "1", "-c:v", "png", file], check=True)
    assert file.stat().st_size < 200_000
    with pytest.raises(DecodeError, match="max_megapixels"), VideoStream(file, max_pixels=90_000_000) as stream:
        next(stream)
