"""An embedder that does to its process what the colour of a picture says, and that writes down what it is given.

Tests import it, and name it on the command line as `tests/touchy.py:Touchy`. Nothing here needs torch.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from lightpool_core.arrays import Array, Embeddings, Pixels, array_digest
from lightpool_core.media.ffmpeg import ffmpeg_command

Colour = tuple[int, int, int]

HANG: Colour = (255, 0, 0)
CRASH: Colour = (0, 255, 0)
KILL: Colour = (0, 0, 255)
EXIT: Colour = (255, 255, 0)
RAISE: Colour = (255, 0, 255)
RAISE_SYSTEM: Colour = (0, 255, 255)
BATCH = 4
SIZE = (24, 16)
"""Width and height of the pictures made here."""


class Touched(Exception):
    """What the embedder raises."""


@dataclass(frozen=True)
class Touchy:
    """Colours on a grid of 4 x 4; pictures of some colours hang, end or upset the process that prepares them."""

    log: str = field(default="", metadata={"runtime": True})
    """A folder: digests of prepared pictures go to `prepared` there, of embedded ones to `embedded`."""
    delay: float = field(default=0.0, metadata={"runtime": True})
    """Seconds that a batch takes."""
    stop_after: int = field(default=0, metadata={"runtime": True})
    """Ends the run like Ctrl-C once so many pictures are in the log; 0 for never."""
    fingerprint: str = "touchy-1"
    batch_size = BATCH
    dim = 49
    input_size = 16
    near_duplicate = 0.05

    def prepare(self, pixels: Pixels) -> Array:
        """(H, W, 3) → (4, 4, 3)."""
        _react(tuple(pixels[0, 0].tolist()))
        prepared = np.asarray(Image.fromarray(pixels).resize((4, 4), Image.Resampling.BOX))
        self._note("prepared", [prepared])
        return prepared

    def embed(self, batch: Array) -> Embeddings:
        """(B, 4, 4, 3) → (B, 49); of each row alone, to the last bit."""
        if self.stop_after and len(noted(Path(self.log))) >= self.stop_after:
            raise KeyboardInterrupt
        self._note("embedded", batch)
        time.sleep(self.delay)
        flat = batch.reshape(len(batch), -1).astype(np.float32) / 255
        return np.concatenate([flat, np.full((len(batch), 1), 0.5, np.float32)], axis=1)

    def _note(self, name: str, pictures: Iterable[Array]) -> None:
        if self.log:
            lines = "".join(f"{array_digest(picture)}\n" for picture in pictures)
            with (Path(self.log) / name).open("a") as file:
                file.write(lines)


def _react(colour: Colour) -> None:
    if colour == HANG:
        time.sleep(3600)
    if colour == CRASH:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)
    if colour == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if colour == EXIT:
        os._exit(3)
    if colour == RAISE:
        raise Touched("magenta")
    if colour == RAISE_SYSTEM:
        raise FileNotFoundError(2, "No such file", "cyan.json")


def noted(log: Path, name: str = "embedded") -> list[str]:
    """The digests in a log, complete lines only."""
    try:
        return (log / name).read_text().split("\n")[:-1]
    except FileNotFoundError:
        return []


def scene(seed: int) -> Array:
    """A picture like no other, and of no colour that does anything."""
    patches = np.random.default_rng(seed).integers(10, 246, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(patches).resize(SIZE, Image.Resampling.NEAREST))


def plain(colour: Colour) -> Array:
    """A picture of nothing but `colour`."""
    return np.full((SIZE[1], SIZE[0], 3), colour, dtype=np.uint8)


def image(path: Path, pixels: Array) -> Path:
    """`pixels` as an image, to the last bit where `path` ends in .png."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def film(path: Path, frames: Iterable[Array]) -> Path:
    """`frames` (H, W, 3) as a video without losses, 10 a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "{}x{}".format(*SIZE), "-r", "10", "-i", "-"]
    command = [ffmpeg_command(), "-y", "-loglevel", "error", *raw, "-c:v", "ffv1", "-pix_fmt", "bgr0", str(path)]
    subprocess.run(command, input=b"".join(frame.tobytes() for frame in frames), check=True)
    return path
