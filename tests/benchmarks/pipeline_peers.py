"""What the pipeline is compared with: a plain open_clip loop, a torch DataLoader, and ffmpeg alone."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lightpool_core.embedding.lanes import n_cores
from lightpool_core.media.ffmpeg import ffmpeg_command

_BATCH = 32
_MANY = 100_000
"""Pictures, so many that the loader does not come to their end."""


def plain_loop(embedder: Any, files: Sequence[Path]) -> Iterator[int]:
    """A loop as in open_clip's README: one process, float32, its own preprocessing; pictures in each batch."""
    import torch

    model, preprocess = _plain(embedder)
    yield 0
    with torch.no_grad():
        for some in itertools.cycle(_batches(files)):
            images = torch.stack([preprocess(Image.open(file)) for file in some])
            features = model.encode_image(images)
            features /= features.norm(dim=-1, keepdim=True)
            yield len(some)


def data_loader(embedder: Any, files: Sequence[Path]) -> Iterator[int]:
    """The same with a torch DataLoader that decodes and prepares in one worker per core."""
    import torch
    from torch.utils.data import DataLoader

    model, preprocess = _plain(embedder)
    many = list(itertools.islice(itertools.cycle(files), _MANY))
    loader = DataLoader(_Pictures(many, preprocess), batch_size=_BATCH, num_workers=n_cores())  # type: ignore[arg-type]
    with torch.inference_mode():
        for number, images in enumerate(loader):
            features = model.encode_image(images)
            features /= features.norm(dim=-1, keepdim=True)
            yield len(images) if number else 0


PEERS = {"plain loop": plain_loop, "data loader": data_loader}


def _plain(embedder: Any) -> tuple[Any, Any]:
    import open_clip

    model, _, preprocess = open_clip.create_model_and_transforms(embedder.model)
    return model.eval(), preprocess


def _batches(files: Sequence[Path]) -> list[Sequence[Path]]:
    return [files[start : start + _BATCH] for start in range(0, len(files), _BATCH)]


class _Pictures:
    def __init__(self, files: Sequence[Path], preprocess: Any) -> None:
        self._files = files
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> Any:
        return self._preprocess(Image.open(self._files[number]))


def ffmpeg_alone(file: Path, short_side: int) -> float:
    """Seconds for which ffmpeg decodes and scales all of a video, and throws it away."""
    shrink = f"min(1\\,{short_side}/min(iw\\,ih))"
    graph = f"scale=round(iw*{shrink}):round(ih*{shrink}):flags=area,format=rgb24"
    command = [ffmpeg_command(), "-nostdin", "-loglevel", "error", "-i", str(file), "-map", "0:V:0", "-vf", graph]
    began = time.perf_counter()
    subprocess.run([*command, "-fps_mode", "passthrough", "-f", "null", "-"], check=True)
    return time.perf_counter() - began
