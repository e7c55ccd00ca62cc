"""Timm: what a picture looks like, as a vector, by any of the networks of timm (PyTorch Image Models).

timm: https://github.com/huggingface/pytorch-image-models. DINOv2, the default: Oquab et al., "DINOv2: Learning
Robust Visual Features without Supervision", TMLR 2024.

As with OpenClip, the whole picture is squashed to the size of the model's input, and nothing is cropped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lightpool_core.arrays import Array, Embeddings, Pixels
from lightpool_core.embedding.tower import (
    Precision,
    Squash,
    Tower,
    batch_size,
    check_precision,
    decoded_size,
    n_lanes,
)
from lightpool_core.embedding.weights import fingerprint_of, float32_state, guarded
from lightpool_core.errors import PluginUnavailable, SettingsError
from lightpool_plugins.embedders.timm_network import (
    ADVICE,
    Recipe,
    loaded_network,
    parsed_arguments,
    recipe_of,
    stored_network,
    three,
    weights_file,
)

if TYPE_CHECKING:
    import torch

_LOADING = threading.Lock()  # two threads that need the same model at once load it once


@dataclass(frozen=True)
class Timm:
    """A timm network without its classifier: `model` by name, `pretrained` a weights file or as timm has them.

    The default, DINOv2 ViT-S/14, is licensed under Apache 2.0; other weights have licences of their own. A file
    (.safetensors, or .pth and .bin without code in them) must fit `model` exactly, classifier included. What the
    network needs to be created as it was, `arguments` says, such as `num_classes=10,pad_type=same`. `size` in
    pixels, and `mean` and `std`, one number or three of 0 to 1, are the model's own where they are not given.
    """

    model: str = "vit_small_patch14_dinov2.lvd142m"
    pretrained: str = ""
    size: int = 0
    mean: str = ""
    std: str = ""
    arguments: str = ""
    device: str = field(default="auto", metadata={"runtime": True})
    precision: Precision = field(default="auto", metadata={"runtime": True})
    compile: bool = field(default=False, metadata={"runtime": True})
    state: Mapping[str, Any] | None = field(
        default=None, repr=False, compare=False, kw_only=True, metadata={"option": False}
    )

    def __post_init__(self) -> None:
        check_precision(self.precision)
        parsed_arguments(self.arguments)
        if self.size < 0:
            raise SettingsError(f"size={self.size} is negative; give pixels, or 0 for the model's own size")
        for name in ("mean", "std"):
            if getattr(self, name):
                three(name, getattr(self, name))

    @property
    def dim(self) -> int:
        """D, found by embedding a black picture."""
        return self._loaded.dim

    @property
    def fingerprint(self) -> str:
        """Digest of architecture, preprocessing and float32 weights; no matter which device or precision."""
        return self._loaded.fingerprint

    @property
    def input_size(self) -> int:
        """Twice the pixels on the shorter side of a model input; known without loading weights."""
        return decoded_size(self.preparer())

    @property
    def near_duplicate(self) -> float:
        """0.42, a cosine of 0.91: calibrated on MobileNetV2, not on any other network.

        There, 99 % of resized, re-compressed, brightened, blurred or slightly cropped copies lie within it, and no
        two different photos. `tests/benchmarks/near_duplicate.py --embedder timm` measures it for others.
        """
        return 0.42

    @property
    def batch_size(self) -> int:
        """B: 16 on a CPU, 128 on a GPU."""
        return batch_size(self.device)

    @property
    def lanes(self) -> int:
        """One per GPU, or up to 8 that share the cores of a CPU."""
        return n_lanes(self.device)

    @property
    def computes_in(self) -> str:
        """Precision and kind of device."""
        return self._loaded.tower.computes_in

    @property
    def get_ready(self) -> Callable[[], None] | None:
        """Compiles the network; None where that is not asked for."""
        return partial(self._loaded.tower.get_ready, self._recipe.size) if self.compile else None

    def preparer(self) -> Squash:
        """What worker processes need."""
        height, width = self._recipe.size
        return Squash(height, width, self._recipe.interpolation == "bilinear")

    def prepare(self, pixels: Pixels) -> Array:
        """The whole picture (H, W, 3), squashed to (S, S, 3) uint8; normalised later, on the device."""
        return self.preparer().prepare(pixels)

    def embed(self, batch: Array) -> Embeddings:
        """Squashed pictures (B, S, S, 3) uint8 → (B, D), not normalised."""
        return self._loaded.tower.embed(batch)

    def weights(self) -> dict[str, Any]:
        """`network`, float32 tensors by name, and `recipe`, a JSON text: architecture and preprocessing.

        Reads the weights again when the model in use holds them rounded to a lower precision.
        """
        if self.state is not None:
            return dict(self.state)
        return {"network": float32_state(self._build()), "recipe": json.dumps(asdict(self._recipe), sort_keys=True)}

    def with_weights(self, weights: Mapping[str, Any]) -> Timm:
        """The same embedder on `weights`; reads no file and no network."""
        return replace(self, state=weights)

    @cached_property
    def _recipe(self) -> Recipe:
        if self.state is not None:
            return Recipe(**json.loads(self.state["recipe"]))
        return recipe_of(self.model, size=self.size, mean=self.mean, std=self.std, arguments=self.arguments)

    @property
    def _loaded(self) -> _Loaded:
        with _LOADING:
            return self._load

    @cached_property
    def _load(self) -> _Loaded:
        network, recipe = self._build(), self._recipe
        fingerprint = fingerprint_of("timm", [asdict(recipe), "squash"], float32_state(network))
        tower = Tower.on(
            self.device, self.precision, network, recipe.mean, recipe.std, recipe.size, compiled=self.compile
        )
        return _Loaded(tower, fingerprint, _dim(tower, recipe))

    def _build(self) -> torch.nn.Module:
        """The network in float32 on the CPU."""
        recipe, state = self._recipe, self.state
        if state is not None:
            return guarded(
                "timm cannot load its stored weights",
                lambda: stored_network(recipe, state),
                advice="was timm updated? Install the version that made the pool",
            )
        path = weights_file(self.model, self.pretrained)
        return guarded(
            f"timm cannot load {path} into {self.model}",
            lambda: loaded_network(self.model, recipe, path),
            advice=ADVICE,
        )


@dataclass(frozen=True)
class _Loaded:
    tower: Tower
    fingerprint: str
    """Of the weights in float32."""
    dim: int
    """D"""


def _dim(tower: Tower, recipe: Recipe) -> int:
    """D; tells at once whether the network takes pictures of that size, and answers with a vector for each."""
    black = np.zeros((1, *recipe.size, 3), np.uint8)
    what = f"timm's {recipe.model} cannot embed pictures of {recipe.size[1]} x {recipe.size[0]}"
    answer = guarded(what, lambda: tower.embed(black), advice=ADVICE)
    if answer.ndim != 2:
        raise PluginUnavailable(f"{what}: it answers with {answer.shape[1:]} numbers for each; {ADVICE}")
    return int(answer.shape[1])
