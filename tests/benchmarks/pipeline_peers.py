"""What the pipeline is compared with: a plain open_clip loop, a torch DataLoader, and ffmpeg alone."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lightpool_core.embedding.lanes import n_cores
from lightpool_core.media.ffmpeg import ffmpeg_command

_BATCH = 32


def plain_loop(model: Any, preprocess: Any, files: Sequence[Path]) -> float:
    """Pictures per second of a loop as in open_clip's README: one process, float32, its own preprocessing."""
    import torch

    began = time.perf_counter()
    with torch.no_grad():
        for start in range(0, len(files), _BATCH):
            images = torch.stack([preprocess(Image.open(file)) for file in files[start : start + _BATCH]])
            features = model.encode_image(images)
            features /= features.norm(dim=-1, keepdim=True)
    return len(files) / (time.perf_counter() - began)


def data_loader(model: Any, preprocess: Any, files: Sequence[Path]) -> float:
    """The same with a torch DataLoader that decodes and prepares in one worker per core."""
    import torch
    from torch.utils.data import DataLoader

    began = time.perf_counter()
    loader = DataLoader(_Pictures(files, preprocess), batch_size=_BATCH, num_workers=n_cores())  # type: ignore[arg-type]
    with torch.inference_mode():
        for images in loader:
            features = model.encode_image(images)
            features /= features.norm(dim=-1, keepdim=True)
    return len(files) / (time.perf_counter() - began)


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
