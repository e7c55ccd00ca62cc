"""OpenClip: what a picture shows, as a vector, by any image tower that OpenCLIP can load.

CLIP: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
OpenCLIP: https://github.com/mlfoundations/open_clip.

Preprocessing differs from OpenCLIP's own in one point: the whole picture is squashed to a square. OpenCLIP
crops the centre for most models, and what stands at the borders of a wide frame would not count.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from lightpool_core.arrays import Array, Embeddings, Pixels
from lightpool_core.device import has_fast_bfloat16, torch_device
from lightpool_core.errors import PluginUnavailable, SettingsError
from lightpool_plugins.embedders.open_clip_model import (
    Recipe,
    guarded,
    one_line,
    pretrained_tower,
    recipe_of_folder,
    recipe_of_model,
    stored_tower,
    weights_file,
)

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_LOADING = threading.Lock()  # two threads that need the same model at once load it once


@dataclass(frozen=True)
class OpenClip:
    """An OpenCLIP image tower: `model` and `pretrained`, a tag, a weights file or a folder.

    Tags that were trained with QuickGELU get it, whether or not the model is named `…-quickgelu`. A bare
    weights file does not say how it was trained: it gets the activation that `model` names and the mean,
    deviation and interpolation of most published weights of that model. A folder must hold an
    `open_clip_config.json`, which says all of this, `model` included.
    """

    model: str = "ViT-B-32"
    pretrained: str = "datacomp_xl_s13b_b90k"
    device: str = field(default="auto", metadata={"runtime": True})
    precision: Precision = field(default="auto", metadata={"runtime": True})
    state: Mapping[str, Any] | None = field(
        default=None, repr=False, compare=False, kw_only=True, metadata={"option": False}
    )

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise SettingsError(f"precision={self.precision}: choose one of {', '.join(get_args(Precision))}")

    @property
    def dim(self) -> int:
        """D; known without loading weights."""
        return self._recipe.embed_dim

    @property
    def fingerprint(self) -> str:
        """Digest of architecture, preprocessing and float32 weights; no matter which device or precision."""
        return self._tower.fingerprint

    @property
    def input_size(self) -> int:
        """Pixels on the shorter side of a model input; known without loading weights."""
        return min(self._recipe.size)

    @property
    def near_duplicate(self) -> float:
        """0.2, a cosine of 0.98: an estimate for CLIP models, not calibrated on any particular one.

        Resized and mildly re-compressed copies usually lie closer, other scenes several times as far.
        `tests/benchmarks/near_duplicate.py --embedder open-clip` measures it for a model at hand.
        """
        return 0.2

    def prepare(self, pixels: Pixels) -> Array:
        """The whole picture (H, W, 3), squashed to (3, S, S) uint8; normalised later, on the device."""
        height, width = self._recipe.size
        bilinear = self._recipe.interpolation == "bilinear"
        by = Image.Resampling.BILINEAR if bilinear else Image.Resampling.BICUBIC
        squashed = Image.fromarray(pixels).resize((width, height), by, reducing_gap=3.0)
        return np.ascontiguousarray(np.asarray(squashed).transpose(2, 0, 1))

    def embed(self, batch: Array) -> Embeddings:
        """Squashed pictures (B, 3, S, S) uint8 → (B, D), not normalised."""
        import torch

        tower, recipe = self._tower, self._recipe
        with torch.inference_mode():
            pixels = torch.tensor(batch).to(tower.device).float() / 255
            mean, std = (torch.tensor(three, device=tower.device) for three in (recipe.mean, recipe.std))
            inputs = (pixels - mean[:, None, None]) / std[:, None, None]
            features = tower.module(inputs.to(tower.dtype))
            # CoCa towers answer with the pooled features and one per patch.
            pooled = features[0] if isinstance(features, tuple) else features
            embeddings: Embeddings = pooled.float().cpu().numpy()
        return embeddings

    def weights(self) -> dict[str, Any]:
        """`visual`, float32 tensors by name, and `recipe`, a JSON text: architecture and preprocessing.

        Reads the weights again when the model in use holds them rounded to a lower precision.
        """
        if self.state is not None:
            return dict(self.state)
        return {"visual": _state(self._build()), "recipe": json.dumps(asdict(self._recipe), sort_keys=True)}

    def with_weights(self, weights: Mapping[str, Any]) -> OpenClip:
        """The same embedder on `weights`; reads no file and no network."""
        return replace(self, state=weights)

    @cached_property
    def _recipe(self) -> Recipe:
        if self.state is not None:
            return Recipe(**json.loads(self.state["recipe"]))
        folder = Path(self.pretrained).expanduser()
        return recipe_of_folder(folder) if folder.is_dir() else recipe_of_model(self.model, self.pretrained)

    @property
    def _tower(self) -> _Tower:
        with _LOADING:
            return self._loaded

    @cached_property
    def _loaded(self) -> _Tower:

        module = self._build()
        fingerprint = _fingerprint(self._recipe, _state(module))
        try:
            device = torch_device(self.device)
            dtype = _dtype(self.precision, device)
            return _Tower(module.to(device, dtype), device, dtype, fingerprint)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise PluginUnavailable(f"open-clip cannot use device={self.device}: {one_line(error)}") from error

    def _build(self) -> torch.nn.Module:
        """The image tower in float32 on the CPU."""
        recipe, state = self._recipe, self.state
        if state is not None:
            return guarded("its stored weights", lambda: stored_tower(recipe, state))
        source = Path(self.pretrained).expanduser()
        if source.is_dir():
            return guarded(str(source), lambda: pretrained_tower(f"local-dir:{source}", None, recipe))
        path = weights_file(self.model, self.pretrained)
        return guarded(path, lambda: pretrained_tower(self.model, path, recipe))


@dataclass(frozen=True)
class _Tower:
    module: torch.nn.Module
    device: torch.device
    dtype: torch.dtype
    fingerprint: str


def _state(tower: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in tower.state_dict().items()}


def _fingerprint(recipe: Recipe, state: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.blake2b(json.dumps([asdict(recipe), "squash"], sort_keys=True).encode(), digest_size=12)
    for name in sorted(state):
        tensor = state[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().data)
    return f"open-clip-{digest.hexdigest()}"


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Where the hardware computes in bfloat16, twice to five times as fast as float32; else float32."""
    import torch

    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
