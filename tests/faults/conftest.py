"""What the tests of crashes share: commands that can be cut, and pools before and after each of them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.cutting import Commands, built
from tests.faults.stories import STORIES, Story, Told, told_by


@pytest.fixture(scope="session")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    if sys.platform != "linux":
        pytest.skip("commands are cut by a preloaded library, as Linux has it")
    if shutil.which("cc") is None:
        pytest.skip("commands are cut by a library that has to be compiled, and there is no cc")
    folder = tmp_path_factory.mktemp("cuts")
    with Commands(built(folder), folder) as made:
        yield made


@pytest.fixture(scope="session")
def deliveries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Three folders with three pictures each."""
    folders = tuple(tmp_path_factory.mktemp("delivery") for _ in range(3))
    for number, folder in enumerate(folders):
        for seed in range(3 * number, 3 * number + 3):
            patches = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
            Image.fromarray(patches).resize((64, 48), Image.Resampling.NEAREST).save(folder / f"{seed}.png")
    return folders


@pytest.fixture(scope="session")
def tell(
    commands: Commands, deliveries: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Told]:
    """What becomes of a story that nothing interrupts; made once each."""
    made: dict[str, Told] = {}

    def told(name: str) -> Told:
        if name not in made:
            story: Story = STORIES[name]
            made[name] = told_by(story, commands, deliveries, tmp_path_factory.mktemp(name.replace(" ", "-")))
        return made[name]

    return told
