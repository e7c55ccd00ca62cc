"""The embedder `mean-colour`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


@dataclass(frozen=True)
class MeanColour:
    """Mean colour of each cell of a grid: where a picture is dark, bright, red, green or blue."""

    grid: int = 8

    @property
    def dim(self) -> int:
        """Three colours per cell, and a constant that gives black pictures a direction."""
        return 3 * self.grid**2 + 1

    @property
    def fingerprint(self) -> str:
        """Raise the number whenever the same picture would get another embedding."""
        return f"mean-colour-1-{self.grid}"

    @property
    def input_size(self) -> int:
        """Four pixels per cell are plenty."""
        return 4 * self.grid

    @property
    def near_duplicate(self) -> float:
        """An estimate, not calibrated."""
        return 0.05

    def prepare(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """(H, W, 3) uint8 → (grid, grid, 3) uint8: a box filter is a mean."""
        small = Image.fromarray(pixels).resize((self.grid, self.grid), Image.Resampling.BOX)
        return np.asarray(small)

    def embed(self, batch: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """(B, grid, grid, 3) uint8 → (B, D)."""
        colours = batch.reshape(len(batch), -1).astype(np.float32) / 255 - 0.5
        return np.concatenate([colours, np.full((len(batch), 1), 0.1, np.float32)], axis=1)
