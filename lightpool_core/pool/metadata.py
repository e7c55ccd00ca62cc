"""The column `metadata` of `history/`: what else is known of samples, one JSON object each.

N: samples.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lightpool_core.arrays import Array
from lightpool_core.media.quality import PREFIX

_SIZE = ("width", "height")
"""Keys that have columns of their own, under these names and with the prefix."""
_LABEL = ("weak_label", "weak_label_name")
"""Keys that have columns of their own."""
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_EXACT = 2**53
"""Whole numbers up to here are what they are in float64."""


def texts_of(metadata: Mapping[str, Array], n: int) -> list[str]:
    """What is known of N = `n` samples, each as a JSON object: keys sorted, without the unknown and the size."""
    apart = {*_SIZE, *_LABEL, *(PREFIX + name for name in _SIZE)}
    columns = {key: _plain(metadata[key]) for key in sorted(metadata) if key not in apart}
    rows = ({key: column[i] for key, column in columns.items() if column[i] is not None} for i in range(n))
    return list(map(_ENCODER.encode, rows))


def columns_of(texts: Iterable[str | None], size: Mapping[str, Array]) -> dict[str, Array]:
    """The columns (N,) in `texts` of N samples, and the columns `size`, under both of their names.

    Numbers are float64 with NaN for unknown; where a key has something else, objects with None for unknown.
    """
    known: dict[str, tuple[list[int], list[Any]]] = {}
    n = 0
    for n, text in enumerate(texts, start=1):  # one after the other: all at once they would fill the memory
        for key, value in json.loads(text or "{}").items():
            rows, values = known.setdefault(key, ([], []))
            rows.append(n - 1)
            values.append(value)
    sizes = {f"{prefix}{name}": column for prefix in ("", PREFIX) for name, column in size.items()}
    return sizes | {key: _column(*known[key], n) for key in sorted(known)}


def _plain(column: Array) -> list[Any]:
    """Values that JSON knows; None for the unknown, and for what JSON has no number for."""
    return [_value(value) for value in column.tolist()]


def _value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < _EXACT else value


def _column(rows: Sequence[int], values: Sequence[Any], n: int) -> Array:
    """(N,) with `values` in `rows`."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    column: Array = np.full(n, math.nan) if numbers else np.full(n, None, dtype=object)
    column[rows] = np.array(values, dtype=column.dtype)
    return column
