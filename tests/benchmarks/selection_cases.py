"""The kinds of cases: picking farthest-first, rejecting what is near the pool, peak memory.

Each makes its data, lets ours and the peers take turns, checks the answers, and returns rows of the table.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import selection_ours
from selection_checks import CLOSE, is_greedy, radii, same, shortfall, truly_closer, wrong
from selection_contest import Contest, Peer, Row, Settings, Trials, contest
from selection_data import data_file, newcomers
from selection_ours import ours_index, ours_picks, ours_rejects
from selection_peers import (
    Hnsw,
    Mundig,
    apricot_picks,
    highest_products,
    into_cache,
    seconds_per_pass,
    seconds_per_product,
    sklearn_rejects,
    synchronised,
    torch_greedy,
    undecided_products,
)

from lightpool_core.arrays import Embeddings, Mask, Rows

MUNDIG, GREEDY, APRICOT = "lightly-mundig", "torch greedy", "apricot"
PRODUCTS, UNDECIDED, SKLEARN, HNSWLIB = "torch products", "torch, of the undecided", "scikit-learn", "hnswlib"
WARM_UP = 2000
GIB = 1 << 30
ALLOWED = 3.0
"""GiB in all while selecting from a file on disk."""


@dataclass(frozen=True)
class Picking:
    """`k` of `n` candidates, farthest first, from an empty pool; `on_disk`: from a memory map."""

    kind: str
    n: int
    dim: int
    k: int
    peers: tuple[str, ...] = (MUNDIG, GREEDY)
    on_disk: bool = False

    def __str__(self) -> str:
        place = " on disk" if self.on_disk else ""
        return f"farthest-first, {self.kind} {self.n:,} × {self.dim}{place}, k {self.k:,}"

    def rows(self, settings: Settings) -> list[Row]:
        """One against each peer; against the bare product where there is none."""
        path = data_file(settings.work, self.kind, self.n, self.dim)
        into_cache(path)
        embeddings = np.load(path, mmap_mode="c" if self.on_disk else None)
        own = np.load(path, mmap_mode="r") if self.on_disk else embeddings
        few = np.array(embeddings[:WARM_UP])
        self._contest(few, few, min(self.k, 50), dataclasses.replace(settings, runs=1))
        result = self._contest(own, embeddings, self.k, settings)
        return self._judged(embeddings, result, settings)

    def _contest(self, own: Embeddings, embeddings: Embeddings, k: int, settings: Settings) -> Contest:
        mundig = Mundig(embeddings)
        peers = {
            MUNDIG: Peer(MUNDIG, lambda ours: mundig.picks(k, int(ours.indices[0])), mundig.prepare),
            GREEDY: Peer(GREEDY, lambda ours: torch_greedy(embeddings, k, int(ours.indices[0]), settings.device)),
            APRICOT: Peer(APRICOT, lambda _: apricot_picks(embeddings, k)),
        }
        return contest(lambda: ours_picks(own, k, settings.device), [peers[name] for name in self.peers], settings)

    def _judged(self, embeddings: Embeddings, result: Contest, settings: Settings) -> list[Row]:
        device, picks = settings.device, result.ours.answer
        of_product = _fastest(seconds_per_product, embeddings, self.k, device)
        bare, seconds = of_product * self.n * self.k, result.ours.median
        limits = {
            "product": seconds / bare,
            "own_product": picks.products and seconds / (of_product * picks.products),
            "passed": seconds / _fastest(seconds_per_pass, embeddings, device),
        }
        if not self.peers:
            result.peers["bare product"] = Trials([bare])
        greedy = len(picks.indices) == self.k and is_greedy(embeddings, picks, device)
        radius = radii(embeddings, picks.indices, [len(picks.indices)], device)[0]
        rows = []
        for name, trials in result.peers.items():
            ok, check = greedy, f"greedy, radius {radius:.6g}" if greedy else "NOT GREEDY"
            if trials.answer is not None:
                agrees, comparison = self._compared(name, radius, embeddings, trials.answer, device)
                shared = np.intersect1d(picks.indices, trials.answer).size / self.k
                ok, check = greedy and agrees, f"{check}; {comparison}, {shared:.1%} the same picks"
            rows.append(result.row(str(self), name, ok, check, **limits))
        return rows

    @staticmethod
    def _compared(name: str, radius: float, embeddings: Embeddings, chosen: Rows, device: str) -> tuple[bool, str]:
        theirs = radii(embeddings, chosen, [len(chosen)], device)[0]
        if name == APRICOT:  # another objective; but Gonzalez proved that no k picks have less than half the radius
            return radius <= 2 * theirs * (1 + CLOSE), f"theirs {theirs:.6g} by another objective"
        if same(radius, theirs):
            return True, f"theirs {theirs:.6g}"
        short = shortfall(embeddings, chosen, device)
        reason = f"its picks are up to {short:.1e} nearer than the farthest" if short else "FOR NO REASON"
        return short > 0, f"theirs {theirs:.6g} DIFFERS, {reason}"


@dataclass(frozen=True)
class Nearest:
    """`q` newcomers, about half of them closer than `min_distance` to one of `m` pooled rows on disk."""

    kind: str
    m: int
    dim: int
    q: int
    peers: tuple[str, ...] = ()
    min_distance: float = 0.2

    def __str__(self) -> str:
        return f"nearest, {self.q:,} to a pool of {self.kind} {self.m:,} × {self.dim}, within {self.min_distance}"

    def rows(self, settings: Settings) -> list[Row]:
        """One against exact products in torch, and one against each of the peers."""
        path = data_file(settings.work, self.kind, self.m, self.dim)
        into_cache(path)
        pool = np.load(path, mmap_mode="c")
        queries = newcomers(pool, self.q, self.min_distance)
        built = {"ours": _building(settings, f"{path.stem}.ours", partial(ours_index, path))}
        if HNSWLIB in self.peers:
            hnsw = Hnsw(path, settings.work)
            built[HNSWLIB] = _building(settings, f"{path.stem}.hnswlib", lambda _: hnsw.build())
        self._contest(path, pool[:WARM_UP], queries[:100], dataclasses.replace(settings, runs=1))
        result = self._contest(path, pool, queries, settings)
        highest = result.peers[PRODUCTS].answer
        truth = truly_closer(queries, pool, highest, self.min_distance, settings.device)
        result.peers[PRODUCTS].answer = highest > self._threshold
        bare = _fastest(seconds_per_product, pool, self.q, settings.device) * self.m * self.q
        limits = {
            "product": result.ours.median / bare,
            "passed": result.ours.median / _fastest(seconds_per_pass, pool, settings.device),
        }
        return [
            result.row(str(self), name, *self._verdict(result, name, truth, built), **limits) for name in result.peers
        ]

    @property
    def _threshold(self) -> float:
        return 1 - self.min_distance**2 / 2

    def _contest(self, path: Path, pool: Embeddings, queries: Embeddings, settings: Settings) -> Contest:
        folder, distance, device = settings.work / f"{path.stem}.ours", self.min_distance, settings.device
        peers = {
            PRODUCTS: lambda _: highest_products(queries, pool, device),
            UNDECIDED: lambda _: undecided_products(queries, pool, self._threshold, device),
            SKLEARN: lambda _: sklearn_rejects(queries, pool, distance),
            HNSWLIB: lambda _: Hnsw(path, settings.work).rejects(queries, distance),
        }
        names = (PRODUCTS, *self.peers)
        return contest(
            lambda: ours_rejects(queries, path, folder, distance, device),
            [Peer(name, peers[name]) for name in names],
            settings,
        )

    def _verdict(self, result: Contest, name: str, truth: Mask, built: dict[str, str]) -> tuple[bool, str]:
        accepts, rejects = wrong(result.ours.answer, truth)
        theirs = wrong(result.peers[name].answer, truth)
        index = "; ".join(f"index of {owner} {how}" for owner, how in built.items() if owner in ("ours", name))
        return accepts + rejects == 0, (
            f"{truth.mean():.0%} rejected; wrongly accepted {accepts}, rejected {rejects};"
            f" theirs {theirs[0]}, {theirs[1]}; {index}"
        )


@dataclass(frozen=True)
class Memory:
    """Peak memory of a process of its own that selects `k` of `n` candidates in a file."""

    kind: str
    n: int
    dim: int
    k: int

    def __str__(self) -> str:
        return f"memory, {self.kind} {self.n:,} × {self.dim} on disk, k {self.k:,}"

    def rows(self, settings: Settings) -> list[Row]:
        """Against what is allowed."""
        path = data_file(settings.work, self.kind, self.n, self.dim)
        command = [sys.executable, selection_ours.__file__, str(path), str(self.k), "--device", settings.device]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            return [
                Row(str(self), np.nan, "allowed", ALLOWED, *[np.nan] * 3, "1", False, run.stderr[-200:], unit="GiB")
            ]
        told = json.loads(run.stdout)
        peak = told["peak"] / GIB
        check = (
            f"{told['imports'] / GIB:.2f} GiB of it are imports; the file has {path.stat().st_size / GIB:.2f} GiB;"
            f" {told['seconds']:.1f} s"
        )
        ok = peak <= ALLOWED and told["distinct"] == self.k
        return [Row(str(self), peak, "allowed", ALLOWED, *[ALLOWED / peak] * 3, "1", ok, check, unit="GiB")]


def _fastest(limit: Callable[..., float], *arguments: object) -> float:
    """A limit is what the machine does at its best."""
    return min(limit(*arguments) for _ in range(3))


def _building(settings: Settings, name: str, build: Callable[[Path], object]) -> str:
    """How long building the index took, now or when it was built; the time is kept beside the index."""
    folder, note = settings.work / name, settings.work / f"{name}.seconds"
    if not note.exists():
        started = synchronised(settings.device)
        build(folder)
        note.write_text(f"{synchronised(settings.device) - started:.1f}")
    return f"built in {note.read_text()} s"
