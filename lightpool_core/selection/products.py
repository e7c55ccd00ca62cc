"""Which pairs of unit vectors can be close: matrix products on the fastest device at hand, never the judge.

What products say is off by at most a margin that is known beforehand, so what they leave out is certainly out;
what they leave in is decided in float64 (`exact`). The error of a dot product of D terms is at most D·u·|a||b|
to first order, u the unit roundoff: Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1.
Q: queries. M: rows. P: pairs. D: dimension.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lightpool_core.arrays import Distances, Embeddings, ExactDistances, Rows
from lightpool_core.device import has_matrix_bfloat16, torch_device

if TYPE_CHECKING:
    import torch

_LENGTHS = 2.1e-6
"""How far from 1 the squared length of a unit row may be."""
_QUERIES_AT_ONCE = 2048
_ROWS_AT_ONCE = 4096
_NONE = np.empty(0, dtype=np.int64)
_FEW = 4
"""Pairs per query that are cheaper in float64 than another product."""


@dataclass(frozen=True, slots=True)
class Contenders:
    """Pairs (P,), sorted by query, and their dot products, which may be off by `margin`."""

    queries: Rows
    rows: Rows
    dots: Distances
    margin: float


class Products:
    """Products on one device, in float32, or first in bfloat16 where that is many times faster."""

    def __init__(self, device: str = "auto", *, coarse: bool | None = None) -> None:
        """Raises SettingsError for a device that is not there; `coarse` tells whether bfloat16 comes first."""
        self.device = torch_device(device)
        self.coarse = has_matrix_bfloat16(self.device) if coarse is None else coarse
        self._rounds = _multiplies_rounded()
        self._scratch = threading.local()  # searches multiply side by side

    def margin(self, dim: int, *, coarse: bool = False) -> float:
        """How far a dot product of two unit rows may be off, and 1 minus it from half their squared distance."""
        rounded = 3.1 * 2.0**-8 if coarse or self._rounds else 0.0  # two factors, and the result
        return rounded + float32_margin(dim)

    def load(self, rows: Embeddings) -> torch.Tensor:
        """`rows` (M, D) on the device."""
        import torch

        return torch.from_numpy(np.require(rows, np.float32, ["C", "W"])).to(self.device)

    def contenders(self, queries: Embeddings, rows: torch.Tensor, bounds: ExactDistances) -> Contenders:
        """The pairs of `queries` (Q, D) and `rows` (M, D), from `load`, that can be nearest and within `bounds`.

        `bounds` (Q,) are squared distances. Where any row is closer to a query than its bound, the nearest
        row is among the query's pairs.
        """
        found = [Contenders(_NONE, _NONE, _NONE.astype(np.float32), 0.0)]
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            part = slice(start, start + _QUERIES_AT_ONCE)
            few = self._among(self.load(queries[part]), rows, bounds[part], coarse=self.coarse)
            found.append(Contenders(few.queries + start, few.rows, few.dots, few.margin))
        if len(found) == 2:
            return found[1]
        return Contenders(
            np.concatenate([few.queries for few in found]),
            np.concatenate([few.rows for few in found]),
            np.concatenate([few.dots for few in found]),
            max(few.margin for few in found),
        )

    def within(self, queries: Embeddings, rows: torch.Tensor, bound: float) -> tuple[Rows, Rows]:
        """All pairs of `queries` (Q, D) and `rows` (M, D), from `load`, that can be within `bound`, (P,) each.

        `bound` is a squared distance. Meant for blocks: takes memory for Q times M products.
        """
        return self._within(self.load(queries), rows, bound, coarse=self.coarse)

    def among_themselves(self, rows: Embeddings) -> Distances:
        """(M, M) dot products of `rows` (M, D), each off by at most `margin`."""
        loaded = self.load(rows)
        products: Distances = (loaded @ loaded.T).cpu().numpy()
        return products

    def _among(self, queries: torch.Tensor, rows: torch.Tensor, bounds: ExactDistances, *, coarse: bool) -> Contenders:
        import torch

        margin = self.margin(queries.shape[1], coarse=coarse)
        floor = torch.from_numpy((1.0 - bounds / 2 - margin).astype(np.float32)).to(self.device)
        found = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            products = self._multiplied(queries, rows[start : start + _ROWS_AT_ONCE], coarse=coarse)
            floor, (i, j, dots) = _highest(products, floor, 2 * margin)
            found.append((i, j + start, dots))
        i, j, dots = (torch.cat(column) for column in zip(*found, strict=True))
        if len(found) > 1:  # what an earlier block left in may be out by now
            order = torch.argsort(i, stable=True)
            order = order[dots[order] >= floor[i[order]]]
            i, j, dots = i[order], j[order], dots[order]
        if coarse and len(i) > _FEW * len(queries):
            return self._among(queries, rows, bounds, coarse=False)
        return Contenders(i.cpu().numpy(), j.cpu().numpy(), dots.cpu().numpy(), margin)

    def _within(self, queries: torch.Tensor, rows: torch.Tensor, bound: float, *, coarse: bool) -> tuple[Rows, Rows]:
        floor = 1.0 - bound / 2 - self.margin(queries.shape[1], coarse=coarse)
        pairs = (self._multiplied(queries, rows, coarse=coarse) >= floor).nonzero()
        if coarse and len(pairs) > _FEW * len(queries):
            return self._within(queries, rows, bound, coarse=False)
        i, j = pairs.cpu().numpy().T
        return i, j

    def _multiplied(self, queries: torch.Tensor, rows: torch.Tensor, *, coarse: bool) -> torch.Tensor:
        """(Q, M) dot products, in memory that the next call of this thread uses again."""
        import torch

        if coarse:
            queries, rows = queries.bfloat16(), rows.bfloat16()
        size = len(queries) * len(rows)
        scratch: dict[str, torch.Tensor] = vars(self._scratch)
        held = scratch.get(str(queries.dtype))
        if held is None or len(held) < size:
            held = scratch[str(queries.dtype)] = torch.empty(size, dtype=queries.dtype, device=self.device)
        return torch.mm(queries, rows.T, out=held[:size].view(len(queries), len(rows)))


def float32_margin(dim: int) -> float:
    """How far a dot product of two unit rows may be off that were multiplied in float32."""
    return (dim + 8) * 2.0**-24 + _LENGTHS


def _multiplies_rounded() -> bool:
    """True where somebody in this process has allowed torch to multiply float32 as bfloat16 or TF32."""
    import torch

    try:
        return torch.get_float32_matmul_precision() != "highest"
    except RuntimeError:  # allowed for one kind of device only, which the old question cannot express
        return True


def _highest(
    products: torch.Tensor, floor: torch.Tensor, spread: float
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The entries of each row that are at least `floor` and within `spread` of the row's highest.

    Returns the floor, raised accordingly, and the entries: row, column, value. Overwrites `products`.
    """
    import torch

    columns = _argmax(products)
    top = products.gather(1, columns[:, None])[:, 0].float()
    near = (top >= floor).nonzero()[:, 0]
    floor = torch.maximum(floor, top - spread)
    products.scatter_(1, columns[:, None], -2.0)
    more = (products.amax(dim=1).float() >= floor).nonzero()[:, 0]
    others = products[more]
    i, j = (others >= floor[more, None]).nonzero(as_tuple=True)
    rows = torch.cat([near, more[i]])
    order = torch.argsort(rows, stable=True)
    entries = (rows, torch.cat([columns[near], j]), torch.cat([top[near], others[i, j].float()]))
    return floor, tuple(entry[order] for entry in entries)


def _argmax(products: torch.Tensor) -> torch.Tensor:
    import torch

    if products.device.type == "cpu" and products.dtype == torch.float32:
        return torch.from_numpy(products.numpy().argmax(axis=1))  # three times as fast
    return products.argmax(dim=1)
