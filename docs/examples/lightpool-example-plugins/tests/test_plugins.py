"""The plugins keep the promises that lightpool asks of them."""

from __future__ import annotations

import numpy as np
import pytest
from lightpool_example_plugins.at_most import AtMost
from lightpool_example_plugins.mean_colour import MeanColour

from lightpool_core.testing import check_embedder, check_sampler


@pytest.mark.parametrize("grid", [1, 4, 8])
def test_mean_colour_is_an_embedder(grid: int) -> None:
    check_embedder(MeanColour(grid))


@pytest.mark.parametrize("k", [0, 1, 100])
def test_at_most_is_a_sampler(k: int) -> None:
    check_sampler(AtMost(k))


def test_pictures_of_other_colours_are_apart() -> None:
    embedder = MeanColour(2)
    red, blue = (np.full((9, 9, 3), colour, dtype=np.uint8) for colour in ((255, 0, 0), (0, 0, 255)))
    first, second = embedder.embed(np.stack([embedder.prepare(red), embedder.prepare(blue)]))
    assert np.linalg.norm(first - second) > 1
