"""What the pipeline is compared with: a plain open_clip loop, and a torch DataLoader."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lightpool_core.embedding.lanes import n_cores

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
