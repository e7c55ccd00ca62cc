from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from lightpool_core.arrays import Array, Embeddings, Pixels
from lightpool_core.candidates import Candidates, Query
from lightpool_core.errors import ContractViolation
from lightpool_core.selection.neighbours import ArrayView
from lightpool_core.selection.sampler import PoolView, Selection
from lightpool_core.selection.stop import Stop
from lightpool_core.testing import check_embedder, check_sampler
from lightpool_plugins.embedders.gist import Gist
from lightpool_plugins.samplers.diversity import Diversity
from lightpool_plugins.samplers.random import Random


@dataclass(frozen=True)
class MeanColour:
    """A good embedder, and small."""

    dim: Any = 4
    fingerprint: str = "mean-1"
    input_size: int = 1
    near_duplicate: float = 0.1

    def prepare(self, pixels: Pixels) -> Array:
        return np.append(pixels.mean(axis=(0, 1)) / 255, 1).astype(np.float32)

    def embed(self, batch: Array) -> Embeddings:
        return batch


class NewFingerprint(MeanColour):
    counter = itertools.count()

    @property
    def fingerprint(self) -> str:
        return str(next(self.counter))

    def __init__(self) -> None:
        pass


class OwnShape(MeanColour):
    def prepare(self, pixels: Pixels) -> Array:
        return pixels


class LooksAround(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return (batch - batch.mean(axis=0) + np.float32(0.1)).astype(np.float32)


class OneBuffer(MeanColour):
    """Threads that embed at once find each other's pictures in it."""

    lanes = 2
    buffer = np.empty((8, 4), np.float32)

    def embed(self, batch: Array) -> Embeddings:
        self.buffer[: len(batch)] = batch
        time.sleep(0)  # other threads get on, as they do while torch computes
        return self.buffer[: len(batch)].copy()


class FourLanes(MeanColour):
    lanes = 4


class OneThread(MeanColour):
    """As a connection to a database may be."""

    thread = threading.get_ident()

    def embed(self, batch: Array) -> Embeddings:
        assert threading.get_ident() == self.thread
        return batch


class TooShort(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return batch[:, :3]


class TooFew(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return batch[:1]


class Wide(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return batch.astype(np.float64)


class ZeroForBlack(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return batch * (batch[:, :1] > 0)


class NotFinite(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        with np.errstate(all="ignore"):
            return batch / (batch[:, :1] > 0)


class NoDataclass:
    pass


class Talks(MeanColour):
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return np.ones((len(texts), 4), np.float32)


class Mumbles(MeanColour):
    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        return np.ones((len(texts), 3), np.float32)


@pytest.mark.parametrize("embedder", [Gist(), MeanColour(), FourLanes(), OneThread(), Talks()])
def test_good_embedders_pass(embedder: Any) -> None:
    check_embedder(embedder)


@pytest.mark.parametrize(
    ("embedder", "complaint"),
    [
        (NoDataclass(), "is no dataclass"),
        (MeanColour(dim=0), "no dim above 0"),
        (MeanColour(dim=4.0), "no dim above 0"),
        (MeanColour(fingerprint=""), "no fingerprint"),
        (NewFingerprint(), "changes its fingerprint"),
        (MeanColour(input_size=0), "no input_size"),
        (MeanColour(near_duplicate=2.5), "near_duplicate"),
        (MeanColour(near_duplicate=float("nan")), "near_duplicate"),
        (OwnShape(), "different shapes"),
        (LooksAround(), "alone than in a batch"),
        (OneBuffer(), "2 threads call embed at once"),
        (Mumbles(), r"shape \(2, 3\), not \(2, 4\)"),
        (TooShort(), "answers shape"),
        (TooFew(), "answers shape"),
        (Wide(), "float64"),
        (ZeroForBlack(), "zero or not finite"),
        (NotFinite(), "zero or not finite"),
    ],
)
def test_an_embedder_is_told_which_promise_it_breaks(embedder: Any, complaint: str) -> None:
    with pytest.raises(ContractViolation, match=complaint) as caught:
        check_embedder(embedder)
    assert type(embedder).__name__ in str(caught.value)


@dataclass(frozen=True)
class Spoiled:
    """A good sampler whose answer is spoiled; subclasses say how."""

    calls: list[int] = field(default_factory=list)

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        return self.spoiled(Diversity().select(candidates, pool, stop, rng), len(candidates))

    def spoiled(self, good: Selection, n: int) -> Selection:
        return good


class OutOfRange(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        return replace(good, indices=good.indices + n)


class Negative(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        return replace(good, indices=good.indices - 1)


class Twice(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        return Selection(np.repeat(good.indices, 2), np.repeat(good.distances, 2))


class SmallIntegers(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        return replace(good, indices=good.indices.astype(np.int32))


class WideDistances(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        return replace(good, distances=good.distances.astype(np.float64))


class DistancesMissing(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        return replace(good, distances=good.distances[:-1])


class TooMany(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        return Selection(np.arange(n), np.ones(n, np.float32))


class DeafToDistance(Spoiled):
    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        return Diversity().select(candidates, pool, Stop(stop.n_samples), rng)


class BlindToThePool(Spoiled):
    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        nothing = ArrayView(np.empty((0, pool.dim), np.float32))
        return Diversity().select(candidates, nothing, stop, rng)


class Moody(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        self.calls.append(1)
        return Selection(np.roll(good.indices, len(self.calls)), good.distances)


class WrongDistances(Spoiled):
    def spoiled(self, good: Selection, n: int) -> Selection:
        return replace(good, distances=np.full_like(good.distances, 0.123))


class Asks(Spoiled):
    queries = (Query(images="some"), Query(text="fog"))

    def select(self, candidates: Candidates, pool: PoolView, stop: Stop, rng: np.random.Generator) -> Selection:
        assert [candidates.queries[query].shape[1] for query in self.queries] == [pool.dim] * 2
        return super().select(candidates, pool, stop, rng)


@pytest.mark.parametrize("sampler", [Diversity(), Random(), Spoiled(), Asks()])
def test_good_samplers_pass(sampler: Any) -> None:
    check_sampler(sampler)


@pytest.mark.parametrize(
    ("sampler", "complaint"),
    [
        (NoDataclass(), "is no dataclass"),
        (OutOfRange(), "none of the"),
        (Negative(), "none of the"),
        (Twice(), "twice"),
        (SmallIntegers(), "int32"),
        (WideDistances(), "float64"),
        (DistancesMissing(), "distances"),
        (TooMany(), "more than n_samples|distance"),
        (DeafToDistance(), "closer than min_distance"),
        (BlindToThePool(), "distance"),
        (Moody(), "when asked again"),
        (WrongDistances(), "distance"),
    ],
)
def test_a_sampler_is_told_which_promise_it_breaks(sampler: Any, complaint: str) -> None:
    with pytest.raises(ContractViolation, match=complaint) as caught:
        check_sampler(sampler)
    assert type(sampler).__name__ in str(caught.value)
