"""What can be measured of a picture, under the names of Lightly's metadata: `lightly.sharpness` and others.

Lightly documents the names and not the formulas, but for the uniform rows, which LightlyStudio has published
(`row_uniformity.py` in its examples). H W: pixels.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import numpy as np
from PIL import Image

from lightpool_core.arrays import Array, ExactDistances, Pixels
from lightpool_core.errors import SettingsError

PREFIX = "lightly."
MEASURED = (
    "lightly.contrast",
    "lightly.luminance",
    "lightly.mean.blue",
    "lightly.mean.green",
    "lightly.mean.red",
    "lightly.sharpness",
    "lightly.snr",
    "lightly.uniformRowRatio",
)
"""What `measured` answers."""
KNOWN = ("lightly.height", "lightly.sizeInBytes", "lightly.width")
"""What is known of every decoded picture without measuring anything."""
COMPUTED = tuple(sorted((*MEASURED, *KNOWN)))
"""All of them."""
_BAND = 32
"""Rows that are looked at together: they and what is made of them stay in the cache."""
_TALL = 400
"""Rows above which uniform rows are looked for in a smaller picture."""
_FLAT = 5
"""Grey levels: a pixel that differs from its neighbours by less is like them."""
_ALIKE = 0.97
"""Share of the pixels of a row."""
_DECIMALS = 6


def measured(pixels: Pixels) -> dict[str, float]:
    """What the picture `pixels` (H, W, 3) uint8 looks like, by the names in MEASURED, to 6 decimals.

    - `contrast`: standard deviation of the grey values from 0 to 1 (RMS contrast, Peli 1990).
    - `luminance`: mean lightness, 0 (black) to 100 (white): CIE L* of the grey values.
    - `mean.red`, `mean.green`, `mean.blue`: mean colour, 0 to 1.
    - `sharpness`: standard deviation of the Laplacian (4 neighbours, inner pixels) of the grey values from 0 to
      255, in grey levels; its square is known as variance of the Laplacian (Pech-Pacheco et al. 2000). 0 in
      pictures of fewer than 3 rows or columns.
    - `snr`: mean of the grey values divided by their standard deviation; 0 where all are the same.
    - `uniformRowRatio`: share of the rows, 0 to 1, of which more than 97 % of the pixels differ from the mean of
      their 8 neighbours by less than 5/8 grey levels; of taller pictures in a version 400 pixels high. Stripes of
      a broken frame have some, a black bar has as well. 0 in pictures of fewer than 3 rows or columns.

    Grey values are the luma of ITU-R BT.601.
    """
    grey, counts = _grey(pixels)
    levels = np.arange(256.0)
    n = grey.size
    mean = float(counts @ levels) / n
    deviation = float(np.sqrt(counts @ (levels - mean) ** 2 / n))
    red, green, blue = (pixels.sum(axis=0, dtype=np.uint32).sum(axis=0, dtype=np.uint64) / (n * 255)).tolist()
    found = {
        "contrast": deviation / 255,
        "luminance": float(counts @ _lightness(levels / 255)) / n,
        "mean.blue": blue,
        "mean.green": green,
        "mean.red": red,
        "sharpness": _sharpness(grey),
        "snr": mean / deviation if deviation else 0.0,
        "uniformRowRatio": _uniform_row_ratio(grey),
    }
    return {f"{PREFIX}{name}": round(value, _DECIMALS) for name, value in found.items()}


def has_to_be_measured(keys: Iterable[str]) -> bool:
    """True if metadata of these `keys` asks for more than is known of every picture.

    Raises SettingsError for a name with `lightly.` that means nothing here.
    """
    ours = [key for key in sorted(keys) if key.startswith(PREFIX)]
    for key in ours:
        if key not in COMPUTED:
            raise SettingsError(f"metadata {not_computed(key)}")
    return any(key in MEASURED for key in ours)


def not_computed(key: str) -> str:
    """What to say of a `key` with `lightly.` that is none of COMPUTED."""
    names = {name.removeprefix(PREFIX).lower(): name for name in COMPUTED}
    close = difflib.get_close_matches(key.removeprefix(PREFIX).lower(), names, n=1)
    hint = f"did you mean {names[close[0]]}?" if close else f"take one of {', '.join(COMPUTED)}"
    return f"{key!r} is nothing that is computed; {hint}"


def _grey(pixels: Pixels) -> tuple[Pixels, ExactDistances]:
    """Grey values (H, W), and how often each of the 256 occurs."""
    grey = np.empty(pixels.shape[:2], dtype=np.uint8)
    counts = np.zeros(256)
    for start in range(0, len(grey), _BAND):
        band = Image.fromarray(pixels[start : start + _BAND]).convert("L")
        grey[start : start + _BAND] = np.asarray(band)
        counts += band.histogram()
    return grey, counts


def _lightness(values: ExactDistances) -> ExactDistances:
    """L* of grey values of sRGB from 0 to 1 (CIE 15; IEC 61966-2-1)."""
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.where(linear <= (6 / 29) ** 3, (29 / 3) ** 3 * linear, 116 * np.cbrt(linear) - 16)


def _sharpness(grey: Pixels) -> float:
    height, width = grey.shape
    if min(height, width) < 3:
        return 0.0
    total = squares = 0.0  # of whole numbers: exact, in whatever order they are added
    for start in range(1, height - 1, _BAND):
        rows = grey[start - 1 : min(start + _BAND, height - 1) + 1].astype(np.int16)
        response = rows[1:-1, 1:-1] * np.int16(4)
        for neighbours in (rows[:-2, 1:-1], rows[2:, 1:-1], rows[1:-1, :-2], rows[1:-1, 2:]):
            response -= neighbours
        exact = response.astype(np.float64)
        total += float(exact.sum())
        squares += float(np.einsum("ij,ij->", exact, exact))
    n = (height - 2) * (width - 2)
    return float(np.sqrt(max(0.0, squares / n - (total / n) ** 2)))


def _uniform_row_ratio(grey: Pixels) -> float:
    if min(grey.shape) < 3:
        return 0.0
    values = _at_most_tall(grey)
    rows = values[:-2] + values[1:-1] + values[2:]
    response = 9 * values[1:-1, 1:-1] - (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:])
    alike = (np.abs(response) < _FLAT).mean(axis=1)
    return float((alike > _ALIKE).mean())


def _at_most_tall(grey: Pixels) -> Array:
    """`grey` in float32; where it is tall made smaller, from the four nearest pixels, so that noise stays noise."""
    height, width = grey.shape
    if height <= _TALL:
        return grey.astype(np.float32)
    above, below, along = _between(height, _TALL)
    left, right, across = _between(width, max(3, width * _TALL // height))
    rows = _mixed(np.take(grey, above, 0), np.take(grey, below, 0), along[:, None])
    return _mixed(np.take(rows, left, 1), np.take(rows, right, 1), across)


def _mixed(first: Array, second: Array, share: Array) -> Array:
    """`first`, and of `second` a `share` from 0 to 1."""
    mixed = second.astype(np.float32)
    mixed -= first
    mixed *= share
    mixed += first
    return mixed


def _between(n: int, fewer: int) -> tuple[Array, Array, Array]:
    """For each of `fewer` pixels the two of `n` that its centre lies between, and how near the second is, 0 to 1."""
    centres = np.maximum((np.arange(fewer) + 0.5) * (n / fewer) - 0.5, 0)
    first = centres.astype(np.int64)
    return first, np.minimum(first + 1, n - 1), (centres - first).astype(np.float32)
