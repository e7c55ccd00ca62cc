"""`checkpoint_latest.ckpt`: all that is needed to embed again exactly as the pool was embedded."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightpool_core.embedding.embedder import Embedder, has_weights
from lightpool_core.errors import CorruptPool, EmbedderMismatch, PoolError
from lightpool_core.replacing import replacing

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An embedder by name and options, its fingerprint, and its weights where it has any."""

    embedder: str
    options: Mapping[str, Any]
    fingerprint: str
    dim: int
    weights: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any], embedder: Embedder) -> Checkpoint:
        """The checkpoint of `embedder`, which was made as plugin `name` with `options`."""
        weights = embedder.weights() if has_weights(embedder) else {}
        return cls(name, dict(options), embedder.fingerprint, embedder.dim, dict(weights))

    def restored(self, embedder: Embedder) -> Embedder:
        """`embedder`, freshly made from this name and these options, with these weights; verified.

        Raises EmbedderMismatch where it no longer is what made the pool.
        """
        if has_weights(embedder):
            embedder = embedder.with_weights(self.weights)
        if embedder.fingerprint != self.fingerprint:
            raise EmbedderMismatch(
                f"embedder {self.embedder} has fingerprint {embedder.fingerprint}, the pool was made with"
                f" {self.fingerprint}: another version of the plugin? Install the one that made the pool"
            )
        return embedder

    def write(self, path: Path) -> None:
        """Replace the file at `path` by this checkpoint, atomically."""
        import torch

        content = {
            "format": _FORMAT,
            "embedder": self.embedder,
            "options": dict(self.options),
            "fingerprint": self.fingerprint,
            "dim": self.dim,
            "weights": dict(self.weights),
        }
        with replacing(path) as new, new.open("wb") as stream:  # of a path torch does not say what went wrong
            torch.save(content, stream)

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """The checkpoint at `path`, loaded without running anything in it.

        Raises CorruptPool where it is missing or damaged, PoolError where it is of a newer format.
        """
        import torch

        try:
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            if content.pop("format") != _FORMAT:
                raise PoolError(f"{path} was written by a newer lightpool; update lightpool")
            return cls(**content)._checked()
        except PoolError:
            raise
        # Unpickling damaged bytes raises nearly every type there is.
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise CorruptPool(
                f"{path} cannot be read ({reason}); delete it and the next append makes it anew"
            ) from error

    def _checked(self) -> Checkpoint:
        """This, if its values are of the types that they are to be. Raises TypeError."""
        tables = (self.options, self.weights)
        if not all(isinstance(table, dict) and all(isinstance(key, str) for key in table) for table in tables):
            raise TypeError("its options or weights are no table")
        if not isinstance(self.embedder, str) or not isinstance(self.fingerprint, str) or type(self.dim) is not int:
            raise TypeError("embedder, fingerprint or dim is of another type")
        return self


def is_intact(path: Path) -> bool:
    """True if the checkpoint at `path` holds the bytes that were written; told without torch, whose import is slow."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # damaged bytes raise nearly every type there is
        return False
