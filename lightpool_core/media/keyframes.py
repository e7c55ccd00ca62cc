"""Whether the sampled frames of a video are all key frames, so that nothing else has to be decoded.

The container lists its packets without decoding: when each is shown, and which hold a key frame. Where every
frame that the rule takes is a key frame, decoding those alone gives the same pictures, several times as fast.
"""

from __future__ import annotations

import os
import subprocess
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from lightpool_core.arrays import Rows
from lightpool_core.media.ffmpeg import command_line, video_input
from lightpool_core.media.sampling import MICROSECONDS, per_second

_CONTAINERS = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm"))
"""Those where a packet is a frame."""
_CODECS = frozenset(b"h264 hevc vp9 av1 mjpeg prores dnxhd ffv1".split())
"""Those of which every packet shows one frame: VP8 has hidden ones, MPEG-4 some that are not coded."""
_SMALL = 1 << 20
"""Bytes of a file that is decoded as fast as it is listed."""
_BEGINNING = 240
"""Packets after which most videos can be told."""
_REORDERED = 32
"""Packets by which the order of decoding may differ from that of showing."""


@dataclass(frozen=True, slots=True)
class KeyFrames:
    """A video whose sampled frames are all key frames."""

    start: int
    """When the first frame is shown, in microseconds."""
    sampled: tuple[tuple[int, int], ...]
    """Index, and microseconds since the first frame, of those that the rule takes."""
    n_keys: int
    n_frames: int
    """Of the video, key frames or not."""


def key_frames(file: Path, fps: float, listed: Callable[[int], None] = lambda _: None) -> KeyFrames | None:
    """The key frames of a video if they hold all that `fps` frames per second take; None where they do not.

    None as well wherever it cannot be told without decoding. `listed` hears how many packets have been seen: a
    file is read to its end, which takes minutes where it is large and far away.
    """
    if file.suffix.lower() not in _CONTAINERS or file.stat().st_size < _SMALL:
        return None
    micros, is_key = _packets(file, fps, listed)
    if not micros:
        return None
    order = np.argsort(micros, kind="stable")
    shown, keys = np.asarray(micros)[order], np.frombuffer(is_key, np.bool_)[order]
    sampled = _sampled(shown, fps)
    if (shown[1:] == shown[:-1]).any() or not keys[sampled].all():  # the first is ambiguous
        return None
    start = int(shown[0])
    times = tuple((index, int(shown[index]) - start) for index in sampled)
    return KeyFrames(start, times, int(keys.sum()), len(shown))


def _sampled(shown: Rows, fps: float) -> list[int]:
    """Which of `shown`, microseconds in ascending order, `per_second` takes."""
    rule, start = per_second(fps), int(shown[0])
    return [index for index, micros in enumerate(map(int, shown)) if rule.takes(index, micros - start)]


def _packets(file: Path, fps: float, listed: Callable[[int], None]) -> tuple[array[int], bytearray]:
    """When the frame of each packet is shown, in microseconds, and whether it is a key frame; in the order of the file.

    None at all where the beginning shows that key frames are not enough.
    """
    copied = video_input().output("pipe:1", vcodec="copy", format="framecrc")
    none = array("q"), bytearray()
    micros, is_key = array("q"), bytearray()  # a long video has millions
    unit = Fraction(0)
    arguments = command_line(copied, file)
    with subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b"#codec_id 0:") and line.split()[2] not in _CODECS:
                process.kill()
                return none
            if line.startswith(b"#tb 0:"):
                unit = Fraction(os.fsdecode(line.split()[2])) * MICROSECONDS
            if line.startswith(b"#"):
                continue
            packet = _packet(line, unit)
            if packet is not None:
                micros.append(packet[0])
                is_key.append(packet[1])
                listed(len(micros))
            if packet is None or (len(micros) == _BEGINNING and not _begins_well(micros, is_key, fps)):
                process.kill()
                return none
    return none if process.returncode else (micros, is_key)


def _begins_well(micros: array[int], is_key: bytearray, fps: float) -> bool:
    """False where key frames are not enough at the beginning, without what a later packet may still come before."""
    order = np.argsort(micros, kind="stable")[:-_REORDERED]
    keys = np.frombuffer(is_key, np.bool_)[order]
    return bool(keys[_sampled(np.asarray(micros)[order], fps)].all())


def _packet(line: bytes, unit: Fraction) -> tuple[int, bool] | None:
    """Of one line of framecrc: when its frame is shown, in microseconds, and whether that is a key frame.

    The line: stream, dts, pts, duration, size, checksum, then flags unless it is just a key frame. None for a packet
    with any other flag: cut away by an edit list, say, or damaged.
    """
    fields = [field.strip() for field in line.split(b",")]
    flags = [field for field in fields[6:] if field.startswith(b"F=")]
    if len(fields) < 6 or flags not in ([], [b"F=0x0"]):
        return None
    try:
        ticks = int(fields[2])
    except ValueError:  # NOPTS
        return None
    return _rescaled(ticks, unit), not flags


def _rescaled(ticks: int, unit: Fraction) -> int:
    """As ffmpeg rounds when it changes the time base: to the nearest, halves away from zero."""
    exact = ticks * unit
    whole = (2 * abs(exact) + 1) // 2
    return int(whole if exact >= 0 else -whole)
