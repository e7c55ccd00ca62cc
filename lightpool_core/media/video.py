"""Frames of a video, each with its exact index and time, decoded one after the other by ffmpeg."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from pathlib import Path

from lightpool_core.errors import DecodeError, SourceError
from lightpool_core.media.decoder import Decoder, Wanted
from lightpool_core.media.duration import duration
from lightpool_core.media.ffmpeg import KILLED, meaning
from lightpool_core.media.keyframes import KeyFrames, key_frames
from lightpool_core.media.lines import Moment
from lightpool_core.media.reading import opened
from lightpool_core.media.sampling import MICROSECONDS, every_frame, listed, per_second
from lightpool_core.media.source import Frame

_LONG = 16 << 20
"""Bytes of a file from which on it is worth a tenth of a second to know how long it is."""


class VideoStream:
    """Iterates over frames of a video in presentation order, upright, RGB.

    A context manager: leaving it ends ffmpeg, however many frames were taken. Memory holds a frame or so,
    whatever the length. `fps=None` takes every frame; `fps=x` the first frame and then the first of every
    further 1/x second; `indices` exactly those frames (`fps` is ignored, indices past the end are passed
    over). Times are seconds since the first frame. ffmpeg shrinks frames to `short_side` pixels on their
    shorter side; None keeps the full resolution. Where the resolution changes midway, later frames are
    scaled to the first. ffmpeg has `threads` threads, None for as many as there are cores. Only `file` is
    read; of several video streams the first counts, cover art is none.

    Raises DecodeError, one line without the path, when not a single frame can be decoded: one of more than
    `max_pixels` is not. Raises OSError where the file cannot be read.
    """

    n_frames: int
    """Of the video, picked or not; known after the iteration, unless `indices` let it end early."""
    reason: str | None
    """After the iteration: why the tail is missing or what ffmpeg complained about, in one short line."""
    key_frames_only: bool
    """True where nothing but key frames is decoded, because all that are to be taken are key frames."""

    def __init__(
        self,
        file: Path,
        *,
        fps: float | None = 1.0,
        indices: Collection[int] | None = None,
        short_side: int | None = None,
        max_pixels: int | None = None,
        threads: int | None = None,
    ) -> None:
        if fps is not None and not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps is {fps}, and has to be above 0")
        self.n_frames = 0
        self.reason = None
        self.key_frames_only = False
        self._file = file
        self._fps = None if fps is None else float(fps)
        self._indices = None if indices is None else frozenset(indices)
        self._last = None if indices is None else max(indices, default=-1)
        self._short_side = short_side
        self._max_pixels = max_pixels
        self._threads = threads
        self._decoder: Decoder | None = None
        self._keys: KeyFrames | None = None
        self._n_listed = 0
        self._n_taken = 0
        self._newest = -1
        self._seconds: float | None = None
        self._time = 0.0

    @property
    def n_read(self) -> int:
        """Frames listed or decoded so far, picked or not."""
        decoder = self._decoder  # another thread may ask
        return self._n_listed + (decoder.n_frames if decoder else self.n_frames)

    @property
    def share(self) -> float:
        """About how much of a long video the frames so far are, from 0 to 1; 0 where nobody knows."""
        return min(1.0, self._time / self._seconds) if self._seconds else 0.0

    def __enter__(self) -> VideoStream:
        if self._indices is None and self._fps is not None:
            self._keys = key_frames(self._file, self._fps, self._hear)
            self.key_frames_only = self._keys is not None
        if self._indices is None and self._file.stat().st_size >= _LONG:
            self._seconds = duration(self._file)
        if self._indices is None or self._indices:
            self._decoder = self._started()
        return self

    def __exit__(self, *_: object) -> None:
        if self._decoder is not None:
            self._close(self._decoder, kill=True)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        while self._decoder is not None:
            answer = self._decoder.read()
            if answer is None:
                self._conclude(self._decoder)
                continue
            pixels, moment = answer
            index = self._index(moment, self._decoder)
            if index is None:
                self._close(self._decoder, kill=True)
                self._start_over()
                continue
            width, height = self._decoder.size
            if index == self._last:
                self._close(self._decoder, kill=True)
            if index > self._newest and (self._indices is None or index in self._indices):
                self._newest, self._time = index, moment.micros / MICROSECONDS
                return Frame(pixels, width, height, index, self._time)
        raise StopIteration

    def _hear(self, n_listed: int) -> None:
        self._n_listed = n_listed

    def _started(self) -> Decoder:
        if self._indices is not None:
            rule = listed(self._indices)
        else:
            rule = every_frame() if self._fps is None else per_second(self._fps)
        return Decoder(
            self._file, Wanted(rule, self._short_side, self._max_pixels, self.key_frames_only, self._threads)
        )

    def _index(self, moment: Moment, decoder: Decoder) -> int | None:
        """Which frame of the video it is; None where it is not the very one that the container has there.

        Decoders show the key frames of an open GOP, for one, in another order, or leave some out.
        """
        if not self._keys:
            return moment.index
        sampled = self._keys.sampled
        index, micros = sampled[self._n_taken] if self._n_taken < len(sampled) else (-1, -1)
        self._n_taken += 1
        return index if (decoder.start, moment.micros) == (self._keys.start, micros) else None

    def _start_over(self) -> None:
        """Decode everything after all; what has been taken so far was right, and is not taken again."""
        self._keys, self.key_frames_only = None, False
        self._decoder = self._started()

    def _close(self, decoder: Decoder, *, kill: bool = False) -> int:
        self._decoder = None
        code = decoder.end(kill=kill)
        self.n_frames = self._keys.n_frames if self._keys else decoder.n_frames
        return code

    def _is_whole(self, keys: KeyFrames, decoder: Decoder, code: int) -> bool:
        """True if decoding showed all key frames, and nothing was wrong."""
        complete = (decoder.n_frames, self._n_taken) == (keys.n_keys, len(keys.sampled))
        return complete and not code and not decoder.complaints

    def _conclude(self, decoder: Decoder) -> None:
        code = self._close(decoder)
        if self._keys and not self._is_whole(self._keys, decoder, code):
            self._start_over()
            return
        self.reason = meaning(decoder.complaints, self._file)
        if code in KILLED:
            raise SourceError(f"ffmpeg was killed while it read {self._file}; nothing was changed, run it again")
        if code != 0 and self.reason is None:
            self.reason = f"ffmpeg ended with code {code}"
        if self.n_frames == 0:
            with opened(self._file) as stream:
                empty = not stream.read(1)
            raise DecodeError("it is empty" if empty else self.reason or "it has no frame to decode")
