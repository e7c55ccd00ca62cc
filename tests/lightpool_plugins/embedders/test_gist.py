"""Gist: copies of a picture stay together, different scenes fall apart."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance

from lightpool_core.arrays import Embeddings, Pixels, unit_rows
from lightpool_core.testing import check_embedder
from lightpool_plugins.embedders.gist import Gist

SIZE = (320, 240)
SCENES = 12


def scene(seed: int) -> Image.Image:
    """Shapes on a shaded ground; another seed, another scene."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    picture = Image.fromarray(corners).resize(SIZE, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for number in range(10):
        x, y, width, height = (int(value) for value in rng.integers(10, 160, 4))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape = draw.ellipse if number % 2 else draw.rectangle
        shape((x, y, x + width, y + height), fill=colour)
    grain = rng.normal(0, 4, (SIZE[1], SIZE[0], 3))
    return Image.fromarray((np.asarray(picture) + grain).clip(0, 255).astype(np.uint8))


def embed(*pictures: Image.Image) -> Embeddings:
    """Unit embeddings."""
    gist = Gist()
    return unit_rows(gist.embed(np.stack([gist.prepare(np.asarray(picture)) for picture in pictures])))


def flat(*rgb: int) -> Pixels:
    """One colour everywhere."""
    return np.full((48, 64, 3), rgb, np.uint8)


def compressed(picture: Image.Image) -> Image.Image:
    """Through JPEG, quality 50."""
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=50)
    return Image.open(stored).convert("RGB")


def test_it_follows_the_protocol_and_keeps_its_promised_shapes() -> None:
    gist = Gist()
    check_embedder(gist)
    batch = np.stack([gist.prepare(np.asarray(scene(seed))) for seed in range(3)])
    embeddings = gist.embed(batch)
    assert embeddings.shape == (3, gist.dim)
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()


def test_its_fingerprint_is_the_same_in_every_process() -> None:
    assert Gist().fingerprint == "gist-1-edb6781771bb"


def test_copies_lie_inside_near_duplicate() -> None:
    for seed in range(SCENES):
        original = scene(seed)
        width, height = SIZE
        copies = [
            original.resize((width // 2, height // 2), Image.Resampling.LANCZOS),
            original.resize((width * 2, height * 2), Image.Resampling.BICUBIC),
            compressed(original),
            ImageEnhance.Brightness(original).enhance(0.9),
            original.crop((3, 2, width - 3, height - 2)),
        ]
        embeddings = embed(original, *copies)
        distances = np.linalg.norm(embeddings[1:] - embeddings[0], axis=1)
        assert (distances < Gist().near_duplicate).all(), (seed, distances)


def test_different_scenes_lie_outside_near_duplicate() -> None:
    embeddings = embed(*(scene(seed) for seed in range(SCENES)))
    distances = np.sqrt(2 - 2 * (embeddings @ embeddings.T)[np.triu_indices(SCENES, 1)])
    assert distances.min() > 2 * Gist().near_duplicate


def test_a_mirrored_picture_is_no_copy() -> None:
    original = scene(1)
    first, second = embed(original, original.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert np.linalg.norm(first - second) > Gist().near_duplicate


def test_an_embedding_does_not_depend_on_its_batch() -> None:
    gist = Gist()
    batch = np.stack([gist.prepare(np.asarray(scene(seed))) for seed in range(33)])
    together = gist.embed(batch)
    assert np.array_equal(together, gist.embed(batch)), "not deterministic"
    for size in (1, 2, 7):
        apart = np.concatenate([gist.embed(batch[start : start + size]) for start in range(0, 33, size)])
        assert np.allclose(together, apart, rtol=0, atol=1e-6)


def test_flat_pictures_have_directions_and_different_ones() -> None:
    colours = [(0, 0, 0), (255, 255, 255), (127, 127, 127), (255, 0, 0), (0, 0, 255)]
    gist = Gist()
    embeddings = unit_rows(gist.embed(np.stack([gist.prepare(flat(*colour)) for colour in colours])))
    distances = np.linalg.norm(embeddings[:, None] - embeddings, axis=2)[np.triu_indices(len(colours), 1)]
    assert distances.min() > gist.near_duplicate


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 500, 3), (700, 3, 3), (64, 64, 3)])
def test_it_takes_any_shape(shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert Gist().prepare(pixels).shape == (64, 64, 3)


def test_it_leaves_the_number_of_threads_as_it_was() -> None:
    import torch

    before = torch.get_num_threads()
    embed(scene(0))
    assert torch.get_num_threads() == before


def test_importing_and_asking_does_not_import_torch() -> None:
    code = (
        "import sys; from lightpool_plugins.embedders.gist import Gist; g = Gist(); "
        "g.dim, g.fingerprint, g.input_size, g.near_duplicate; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
