"""In which precision a network is computed: as the hardware does, unless its embeddings would move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lightpool_core.embedding import tower as towers
from lightpool_core.embedding.tower import Precision, Tower
from lightpool_core.embedding.trial import agree, made_up

DATA = Path(__file__).parents[3].parent / "shared" / "data"
MOBILENET = DATA / "weights" / "mobilenetv2_100.timm.safetensors"


class Robust(torch.nn.Module):
    """Sums of many pixels: rounding hardly shows."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = torch.nn.Conv2d(3, 16, 8, 8)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.patches(pictures).mean((2, 3)) + 1


class Delicate(Robust):
    """The small difference of large numbers."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        large = super().forward(pictures) + 100
        return large - 100


def tower(module: torch.nn.Module, precision: Precision = "auto") -> Tower:
    return Tower.on("cpu", precision, module, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (32, 48))


@pytest.fixture
def fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "has_fast_bfloat16", lambda device: True)


@pytest.mark.usefixtures("fast_bfloat16")
def test_what_bears_it_is_computed_in_bfloat16() -> None:
    found = tower(Robust())
    assert (found.dtype, found.computes_in) == (torch.bfloat16, "bfloat16 on cpu")
    assert {parameter.dtype for parameter in found.modules[0].parameters()} == {torch.bfloat16}


@pytest.mark.usefixtures("fast_bfloat16")
def test_what_would_move_is_computed_in_float32_as_if_nothing_had_been_tried() -> None:
    pictures = made_up((32, 48))
    found, plain = tower(Delicate()), tower(Delicate(), "fp32")
    assert (found.dtype, found.computes_in) == (torch.float32, "float32 on cpu")
    assert np.array_equal(found.embed(pictures), plain.embed(pictures))


@pytest.mark.usefixtures("fast_bfloat16")
@pytest.mark.parametrize(("precision", "said"), [("bf16", "bfloat16"), ("fp16", "float16"), ("fp32", "float32")])
def test_who_names_a_precision_gets_it(precision: Precision, said: str) -> None:
    assert tower(Delicate(), precision).computes_in == f"{said} on cpu"


def test_without_the_hardware_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(towers, "has_fast_bfloat16", lambda device: False)
    monkeypatch.setattr(towers, "agree", lambda *_: pytest.fail("was tried"))
    assert tower(Robust()).computes_in == "float32 on cpu"


def test_numbers_that_are_not_finite_agree_with_nothing() -> None:
    ones = np.ones((8, 4), np.float32)
    broken = np.where(np.arange(8)[:, None] == 3, np.nan, ones)
    assert agree(lambda _: ones, lambda _: ones, (8, 8))
    assert not agree(lambda _: ones, lambda _: broken, (8, 8))
    assert not agree(lambda _: broken, lambda _: broken, (8, 8))


def test_the_pictures_differ_and_are_the_same_each_time() -> None:
    pictures = made_up((20, 30))
    assert (pictures.shape, pictures.dtype) == ((8, 20, 30, 3), np.uint8)
    assert np.array_equal(pictures, made_up((20, 30)))
    assert len({picture.tobytes() for picture in pictures}) == 8


@pytest.mark.usefixtures("fast_bfloat16")
@pytest.mark.skipif(not MOBILENET.is_file(), reason="needs the shared weights")
def test_a_real_network_whose_embeddings_move_is_told() -> None:
    from lightpool_plugins.embedders.timm_models import Timm

    embedder = Timm(
        "mobilenetv2_100", str(MOBILENET), device="cpu", mean="0.5", std="0.5",
        arguments="num_classes=1001,pad_type=same",
    )  # fmt: skip
    assert embedder.computes_in == "float32 on cpu"
