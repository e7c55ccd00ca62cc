"""The Embedder protocol: image → vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeGuard

from lightpool_core.arrays import Array, Embeddings, Pixels


class Embedder(Protocol):
    """Turns pictures into vectors whose distance says how different they look.

    An embedder is a frozen dataclass: its fields are its options, its docstring is its description.
    Making one is cheap; models are loaded at the first use of `dim`, `fingerprint` or `embed`.
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

    def prepare(self, pixels: Pixels) -> Array:
        """One picture (H, W, 3) uint8 → one model input of any fixed shape S; called in worker threads."""

    def embed(self, batch: Array) -> Embeddings:
        """Model inputs (B, *S) → (B, D) float32, finite, of any length but zero."""


class WeightedEmbedder(Embedder, Protocol):
    """An embedder with weights that `checkpoint_latest.ckpt` must keep."""

    def weights(self) -> Mapping[str, Any]:
        """All that `with_weights` needs: torch tensors, numbers and strings by name."""

    def with_weights(self, weights: Mapping[str, Any]) -> WeightedEmbedder:
        """The same embedder, using `weights` instead of loading its own."""


def has_weights(embedder: Embedder) -> TypeGuard[WeightedEmbedder]:
    """True if `embedder` is a WeightedEmbedder; asks the class, so that no model is loaded by the question."""
    return hasattr(type(embedder), "weights") and hasattr(type(embedder), "with_weights")
