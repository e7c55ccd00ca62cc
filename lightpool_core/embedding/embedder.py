"""The Embedder protocol: image → vector."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeGuard

from lightpool_core.arrays import Array, Embeddings, Pixels
from lightpool_core.progress import Progress

_BATCH = 32


class Preparer(Protocol):
    """What worker processes do to pictures; it travels there by pickle."""

    def prepare(self, pixels: Pixels) -> Array:
        """One picture (H, W, 3) uint8 → one model input of any fixed shape S."""


class Embedder(Preparer, Protocol):
    """Turns pictures into vectors whose distance says how different they look.

    An embedder is a frozen dataclass: its fields are its options, its docstring is its description.
    Making one is cheap; models are loaded at the first use of `dim`, `fingerprint` or `embed`. `prepare` is
    called in worker processes, on a copy made from the fields alone, or on the answer of `preparer()` where
    the embedder has that method. A batch has `batch_size` pictures where it has that attribute, otherwise 32. Where
    it has `lanes`, `embed` is called in so many threads at once; it is one that computes with torch. Where it has
    `get_ready` that is not None, that is called once before batches that may be full, while nothing is embedded.
    One that has a method `embed_text`, see TextEmbedder, can be asked for pictures by what they show.
    """

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""

    @property
    def fingerprint(self) -> str:
        """Identity of model, weights and preprocessing: same fingerprint, same embeddings."""

    @property
    def input_size(self) -> int:
        """Pixels on the shorter side that `prepare` needs; decoding may shrink to it."""

    @property
    def near_duplicate(self) -> float:
        """Euclidean distance below which two pictures show the same thing; the default min_distance."""

    def embed(self, batch: Array) -> Embeddings:
        """Model inputs (B, *S) → (B, D) float32, finite, of any length but zero."""


class WeightedEmbedder(Embedder, Protocol):
    """An embedder with weights that `checkpoint_latest.ckpt` must keep."""

    def weights(self) -> Mapping[str, Any]:
        """All that `with_weights` needs: torch tensors, numbers and strings by name."""

    def with_weights(self, weights: Mapping[str, Any]) -> WeightedEmbedder:
        """The same embedder, using `weights` instead of loading its own."""


class TextEmbedder(Embedder, Protocol):
    """An embedder that puts texts where the pictures lie that they describe."""

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """T texts, taken as they are → (T, D) float32, finite, of any length but zero."""


def preparer_of(embedder: Embedder) -> Preparer:
    """What worker processes need of `embedder`: a copy of its fields, without what it has loaded."""
    own = getattr(embedder, "preparer", None)
    preparer: Preparer = own() if own else dataclasses.replace(embedder)  # type: ignore[type-var]
    return preparer


def precision_of(embedder: Embedder) -> str:
    """In which precision, and where, `embedder` computes; '' where it does not say."""
    return str(getattr(embedder, "computes_in", ""))


def batch_size_of(embedder: Embedder) -> int:
    """B, how many pictures `embedder` takes at once."""
    return int(getattr(embedder, "batch_size", _BATCH))


def lanes_of(embedder: Embedder) -> int:
    """How many batches `embedder` takes at once, each in a thread of its own."""
    return max(1, int(getattr(embedder, "lanes", 1)))


def get_ready(embedder: Embedder, progress: Progress) -> None:
    """Have `embedder` do what takes long before a first batch, if it says that there is something."""
    own = getattr(embedder, "get_ready", None)
    if own is not None:
        with progress.stage("getting ready"):
            own()


def embeds_text(embedder: Embedder) -> TypeGuard[TextEmbedder]:
    """True if `embedder` is a TextEmbedder."""
    return hasattr(type(embedder), "embed_text")


def has_weights(embedder: Embedder) -> TypeGuard[WeightedEmbedder]:
    """True if `embedder` is a WeightedEmbedder; asks the class, so that no model is loaded by the question."""
    return hasattr(type(embedder), "weights") and hasattr(type(embedder), "with_weights")
