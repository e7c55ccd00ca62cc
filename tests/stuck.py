"""An embedder and a sampler that come to a point and stay there; named as `tests/stuck.py:Embedder`.

`STUCK` in the environment says where: at `import`, `decode` (in a worker), `embed` or `select`. `STUCK_LOG` is a file
that appears once it is so. `STUCK_DEEP` makes it a step inside a library, which no signal interrupts. Without torch.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from lightpool_core.arrays import Array, Embeddings, Pixels
from lightpool_core.candidates import Candidates
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop


def _stick(where: str) -> None:
    if os.environ.get("STUCK") != where:
        return
    Path(os.environ["STUCK_LOG"]).touch()
    if os.environ.get("STUCK_DEEP"):
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    time.sleep(3600)


_stick("import")


@dataclass(frozen=True)
class Embedder:
    """Colours of 2 x 2 pixels."""

    fingerprint = "stuck-1"
    batch_size = 2
    dim = 13
    input_size = 16
    near_duplicate = 0.01

    def prepare(self, pixels: Pixels) -> Array:
        """(H, W, 3) → (2, 2, 3)."""
        if pixels.any():  # not the picture that is prepared beforehand, to see what becomes of it
            _stick("decode")
        rows, columns = (np.linspace(0, n - 1, 2).astype(int) for n in pixels.shape[:2])
        return np.ascontiguousarray(pixels[rows][:, columns])

    def embed(self, batch: Array) -> Embeddings:
        """(B, 2, 2, 3) → (B, 13)."""
        _stick("embed")
        flat = batch.reshape(len(batch), -1).astype(np.float32) / 255
        return np.concatenate([flat, np.full((len(batch), 1), 0.5, np.float32)], axis=1)


@dataclass(frozen=True)
class Sampler:
    """Everything."""

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: Generator) -> Selection:
        """All, in their order."""
        _stick("select")
        n = len(candidates)
        return Selection(np.arange(n), np.full(n, np.inf, np.float32))
