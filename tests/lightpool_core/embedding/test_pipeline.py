from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lightpool_core.arrays import Array, Embeddings, Pixels, pixel_digest
from lightpool_core.embedding.pipeline import Embedded, Picture, embed_sources
from lightpool_core.errors import ContractViolation
from lightpool_core.media.image import read_image
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.source import Source
from lightpool_plugins.embedders.gist import Gist


@dataclass(frozen=True)
class MeanColour:
    dim: int = 4
    fingerprint: str = "mean-1"
    input_size: int = 1
    near_duplicate: float = 0.1

    def prepare(self, pixels: Pixels) -> Array:
        return np.append(pixels.mean(axis=(0, 1)) / 255, 1).astype(np.float32)

    def embed(self, batch: Array) -> Embeddings:
        return batch


class Failing(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        raise RuntimeError("out of memory")


class Wide(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return batch.astype(np.float64)


class Zero(MeanColour):
    def embed(self, batch: Array) -> Embeddings:
        return batch * (batch[:, :1] > 0)


class OwnShape(MeanColour):
    def prepare(self, pixels: Pixels) -> Array:
        return pixels


def pictures(folder: Path, n: int) -> list[Source]:
    for i in range(n):
        Image.new("RGB", (8 + i % 3, 6), (i % 256, 100, 255 - i % 256)).save(folder / f"{i:03}.png")
    return list_sources([folder])


def keep_all(source: Source, picture: Picture) -> bool:
    return True


def embedded(sources: list[Source], embedder: Any = MeanColour(), **how: Any) -> Embedded:  # immutable
    return embed_sources(sources, embedder, **{"fps": 1.0, "keep": keep_all, **how})


def test_pictures_come_in_the_order_of_sources_with_unit_rows(tmp_path: Path) -> None:
    sources = pictures(tmp_path, 70)
    found = embedded(sources)
    assert [decoded.source for decoded in found.sources] == sources
    assert found.embeddings.shape == (70, 4)
    assert found.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-6)
    ratio = found.embeddings[:, 0] / found.embeddings[:, 3]
    np.testing.assert_allclose(ratio, np.arange(70) / 255, atol=1e-6)


def test_a_picture_is_remembered_by_digest_and_size(tmp_path: Path) -> None:
    (source,) = pictures(tmp_path, 1)
    (decoded,) = embedded([source]).sources
    pixels = read_image(source.file)
    assert decoded.pictures == (Picture(pixel_digest(pixels), 8, 6, None, None),)
    assert (decoded.n_decoded, decoded.ending.n_frames, decoded.ending.reason) == (1, 1, "")


def test_a_broken_file_hurts_nothing_else(tmp_path: Path) -> None:
    sources = pictures(tmp_path, 5)
    sources[2].file.write_text("no picture")
    sources[4].file.unlink()
    found = embedded(sources)
    assert [len(decoded.pictures) for decoded in found.sources] == [1, 1, 0, 1, 0]
    assert found.sources[2].ending.reason == "not an image in a known format"
    assert found.sources[4].ending.reason
    assert len(found.embeddings) == 3


def test_what_keep_refuses_is_counted_and_not_embedded(tmp_path: Path) -> None:
    sources = pictures(tmp_path, 6)
    asked: list[str] = []

    def keep(source: Source, picture: Picture) -> bool:
        asked.append(source.name)
        return len(asked) % 2 == 0

    found = embedded(sources, keep=keep)
    assert asked == [source.name for source in sources]
    assert [len(decoded.pictures) for decoded in found.sources] == [0, 1] * 3
    assert [decoded.n_decoded for decoded in found.sources] == [1] * 6
    assert len(found.embeddings) == 3


def test_without_sources_there_are_no_rows() -> None:
    found = embedded([], Gist())
    assert found.embeddings.shape == (0, Gist().dim)
    assert found.embeddings.dtype == np.float32


@pytest.mark.parametrize(
    ("embedder", "said"), [(Wide(), "float64"), (MeanColour(dim=5), r"\(1?2, 5\)"), (Zero(), r"zero .*000\.png")]
)
def test_a_bad_embedder_is_blamed_by_name(embedder: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ContractViolation, match=said) as caught:
        embedded(pictures(tmp_path, 2), embedder)
    assert f"embedder {type(embedder).__name__}" in str(caught.value)


def test_pictures_prepared_to_different_shapes_are_blamed_on_the_embedder(tmp_path: Path) -> None:
    with pytest.raises(ContractViolation, match="different shapes"):
        embedded(pictures(tmp_path, 3), OwnShape())


def test_after_an_error_no_worker_is_left_while_the_error_is_still_held(tmp_path: Path) -> None:
    sources, before = pictures(tmp_path, 90), workers()
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        embedded(sources, Failing())
    deadline = time.monotonic() + 2
    while workers() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert workers() == before
    assert caught.value.__traceback__ is not None


def workers() -> int:
    return sum(thread.name.startswith("lightpool-decode") for thread in threading.enumerate())
