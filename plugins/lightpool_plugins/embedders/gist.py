"""Gist: a picture's layout in one vector, without weights and without a download.

Follows Oliva & Torralba, "Modeling the Shape of the Scene: A Holistic Representation of the Spatial
Envelope", IJCV 42(3), 2001: how strong the edges of each orientation and scale are in each cell of a 4 x 4
grid, here joined by a layout of light and colour on the same grid.

Letters in shapes: B batch, D dimension, N side of the padded thumbnail, O orientations, M side of one band's
spectrum, G side of the grid.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lightpool_core.arrays import Array, Embeddings, Pixels
from lightpool_core.embedding.lanes import n_cores, torch_cores

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 64  # pixels of the thumbnail; 128 separated scenes no better and cost four times as much
MARGIN = 8  # mirrored pixels around it, so that the borders make no edges of their own
GRID = 4
ORIENTATIONS = 6
SCALES = (0.25, 0.135, 0.073, 0.0395)  # cycles per pixel, a factor of 1.85 apart as in the paper
RADIAL, ANGULAR = 0.35, 16 * (ORIENTATIONS / 32) ** 2  # widths of a filter, as in the paper's code
BAND = 0.62  # half a band's side relative to its frequency; a filter is below 1 % of its peak beyond
PREFILTER = 4.0  # cycles per picture that the prefilter removes, as in the paper
CONTRAST_FLOOR = 0.1  # local contrast under this (0 to 1) is not amplified: noise would pass for edges
ENERGY_UNIT = 0.02  # edge strength at which the logarithm turns from linear to compressing
LIGHT, COLOUR, BRIGHTNESS, CONSTANT = 1.5, 0.5, 0.2, 0.1  # weights beside the edges
"""Brightness counts little: it is what a cloud changes. The constant gives flat pictures a direction, too."""

_AT_ONCE = 64  # pictures at once: fewer cost more calls, more do not fit into the caches
_CORES_SLICE = 4
_BATCH = 2 * _AT_ONCE


@dataclass(frozen=True)
class Gist:
    """Layout of edges, light and colour (GIST); fixed filters, no weights, fast on any CPU."""

    @property
    def dim(self) -> int:
        """D: edges per scale, orientation, cell; light and two colours per cell; brightness; a constant."""
        return (len(SCALES) * ORIENTATIONS + 3) * GRID**2 + 2

    @property
    def fingerprint(self) -> str:
        """Version of the algorithm and digest of its constants."""
        filters = (SIDE, MARGIN, GRID, ORIENTATIONS, SCALES, RADIAL, ANGULAR, BAND)
        levels = (PREFILTER, CONTRAST_FLOOR, ENERGY_UNIT, LIGHT, COLOUR, BRIGHTNESS, CONSTANT)
        return f"gist-1-{hashlib.blake2b(repr(filters + levels).encode(), digest_size=6).hexdigest()}"

    @property
    def input_size(self) -> int:
        """Pixels on the shorter side: twice the thumbnail, so that shrinking early leaves room to average."""
        return 2 * SIDE

    @property
    def near_duplicate(self) -> float:
        """0.25: resized, re-compressed, brightened, slightly cropped copies lie closer; other scenes do not.

        Measured by `tests/benchmarks/near_duplicate.py`: 99 % of resized, re-compressed or brightened copies
        lie within 0.08 and 95 % of those cropped by 2 % within 0.21; 99.9 % of the pairs of different photos
        lie beyond 0.55.
        """
        return 0.25

    def prepare(self, pixels: Pixels) -> Array:
        """The whole picture (H, W, 3), squashed to (64, 64, 3) uint8."""
        picture = Image.fromarray(pixels)
        return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0))

    @property
    def batch_size(self) -> int:
        """B"""
        return _BATCH

    @property
    def lanes(self) -> int:
        """A quarter of the cores are enough: decoding takes the others."""
        return max(1, n_cores() // _CORES_SLICE)

    def embed(self, batch: Array) -> Embeddings:
        """Thumbnails (B, 64, 64, 3) uint8 → (B, D); a row depends on its own thumbnail only."""
        with torch_cores(1):  # the transforms are so small that the threads of one would mostly wait for each other
            return _embedded(batch)


def _embedded(batch: Array) -> Embeddings:
    import torch

    with torch.inference_mode():
        starts = range(0, len(batch), _AT_ONCE)
        parts = [_rows(torch.tensor(batch[start : start + _AT_ONCE])) for start in starts]
        embeddings: Embeddings = torch.cat(parts).numpy()
    return embeddings


def _rows(thumbnails: Tensor) -> Tensor:
    import torch

    colours = thumbnails.permute(0, 3, 1, 2).float() / 255
    parts = [_edges(colours.mean(1)), *_layout(colours), torch.full((len(thumbnails), 1), CONSTANT)]
    return torch.cat(parts, 1)


def _edges(grey: Tensor) -> Tensor:
    """Strength of edges per scale, orientation and cell, relative to the picture's mean strength."""
    import torch

    spectrum = torch.fft.fft2(_even_contrast(grey)).flatten(1)
    strengths = []
    for where, gains, pooling in _bands():
        band = spectrum[:, where.flatten()].unflatten(1, where.shape) * gains
        response = torch.fft.ifft2(band).abs() * (gains[0].numel() / spectrum.shape[1])
        strengths.append(torch.log1p(pooling @ response @ pooling.T / ENERGY_UNIT).flatten(1))
    edges = torch.cat(strengths, 1)
    # All strengths are positive, which alone would put all pictures into one corner of the sphere.
    return (edges - edges.mean(1, keepdim=True)) / math.sqrt(edges.shape[1])


def _layout(colours: Tensor) -> list[Tensor]:
    """Light (B, G * G) and opponent colours (B, 2 * G * G) relative to the brightness, and that (B, 1)."""
    import torch

    red, green, blue = colours.unbind(1)
    opponents = torch.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], 1)
    pooling = torch.from_numpy(_pooling(SIDE, 0))
    cells = (pooling @ opponents @ pooling.T).flatten(2)
    brightness = cells[:, 0].mean(1, keepdim=True)
    relative = 1 / (brightness + 0.1)  # 0.1 keeps the noise of dark pictures small
    light = (cells[:, 0] - brightness) * relative
    colour = cells[:, 1:].flatten(1) * relative
    return [LIGHT / GRID * light, COLOUR / GRID * colour, BRIGHTNESS * (brightness - 0.5)]


def _even_contrast(grey: Tensor) -> Tensor:
    """The paper's prefilter: (B, 64, 64) → (B, N, N) without slow shading, divided by the local contrast."""
    import torch

    padded = torch.nn.functional.pad(grey[:, None], (MARGIN,) * 4, mode="reflect")[:, 0]
    side, low = padded.shape[-1], _low_pass()
    detail = padded - torch.fft.irfft2(torch.fft.rfft2(padded) * low, s=(side, side))
    variance: Tensor = torch.fft.irfft2(torch.fft.rfft2(detail * detail) * low, s=(side, side))
    # Rounding may take the variance of a flat place a little below zero.
    contrast = variance.clamp_min(0).sqrt()
    even: Tensor = detail / (CONTRAST_FLOOR + contrast)
    return even


@lru_cache(maxsize=1)
def _low_pass() -> Tensor:
    """Gains (N, N // 2 + 1) of the prefilter over a half spectrum."""
    import torch

    side = SIDE + 2 * MARGIN
    width = PREFILTER * side / SIDE / math.sqrt(math.log(2))
    rows, columns = np.fft.fftfreq(side, 1 / side), np.fft.rfftfreq(side, 1 / side)
    return torch.from_numpy(np.exp(-(rows[:, None] ** 2 + columns**2) / width**2).astype(np.float32))


@lru_cache(maxsize=1)
def _bands() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Per scale: where its bands lie in the flat spectrum (O, M, M), their gains (O, M, M), pooling (G, M).

    Only a square around a filter's peak is kept and moved to the middle: that changes a response's phase and
    not its strength, and coarse bands need tiny inverse transforms.
    """
    import torch

    bands = []
    side = SIDE + 2 * MARGIN
    for frequency in SCALES:
        half = max(4, math.ceil(BAND * frequency * side))
        filters = [_filter(side, half, frequency, math.pi * o / ORIENTATIONS) for o in range(ORIENTATIONS)]
        where, gains = (np.stack(arrays) for arrays in zip(*filters, strict=True))
        pooling = _pooling(2 * half, MARGIN / side)
        bands.append((torch.from_numpy(where), torch.from_numpy(gains), torch.from_numpy(pooling)))
    return bands


def _filter(side: int, half: int, frequency: float, angle: float) -> tuple[Array, Array]:
    """Positions (M, M) int64 around a filter's peak in a flat (side * side) spectrum, and its gains there."""
    peak = frequency * side
    rows = round(peak * math.sin(angle)) + np.arange(-half, half)[:, None]
    columns = round(peak * math.cos(angle)) + np.arange(-half, half)
    radius = np.hypot(rows, columns) / peak
    turn = (np.arctan2(rows, columns) - angle + math.pi) % (2 * math.pi) - math.pi
    gains = np.exp(-10 * RADIAL * (radius - 1) ** 2 - 2 * math.pi * ANGULAR * turn**2)
    return (rows % side) * side + columns % side, gains.astype(np.float32)


def _pooling(samples: int, margin: float) -> Array:
    """Weights (G, samples) that average a line into cells; soft borders, so that a shift changes little.

    `margin` is the share of the line at either end that belongs to no cell.
    """
    places = ((np.arange(samples) + 0.5) / samples - margin) / (1 - 2 * margin)
    centres = (np.arange(GRID)[:, None] + 0.5) / GRID
    distance = np.abs(places - centres) * GRID
    weights = np.where((distance < 1) & (places > 0) & (places < 1), np.cos(math.pi * distance / 2) ** 2, 0)
    averaging: Array = (weights / weights.sum(1, keepdims=True)).astype(np.float32)
    return averaging
