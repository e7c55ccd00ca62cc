"""OpenClip: what a picture shows, as a vector, by any image tower that OpenCLIP can load.

CLIP: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
OpenCLIP: https://github.com/mlfoundations/open_clip.

Preprocessing differs from OpenCLIP's own in one point: the whole picture is squashed to a square. OpenCLIP
crops the centre for most models, and what stands at the borders of a wide frame would not count.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

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
from lightpool_core.errors import EmbedderMismatch, PluginUnavailable
from lightpool_plugins.embedders.open_clip_model import (
    ADVICE,
    Recipe,
    pretrained_model,
    recipe_of_folder,
    recipe_of_model,
    stored_tower,
    weights_file,
)

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
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
    compile: bool = field(default=False, metadata={"runtime": True})
    state: Mapping[str, Any] | None = field(
        default=None, repr=False, compare=False, kw_only=True, metadata={"option": False}
    )

    def __post_init__(self) -> None:
        check_precision(self.precision)

    @property
    def dim(self) -> int:
        """D; known without loading weights."""
        return self._recipe.embed_dim

    @property
    def fingerprint(self) -> str:
        """Digest of architecture, preprocessing and float32 weights; no matter which device or precision."""
        return self._loaded[1]

    @property
    def input_size(self) -> int:
        """Twice the pixels on the shorter side of a model input; known without loading weights."""
        return decoded_size(self.preparer())

    @property
    def near_duplicate(self) -> float:
        """0.2, a cosine of 0.98: an estimate for CLIP models, not calibrated on any particular one.

        Resized and mildly re-compressed copies usually lie closer, other scenes several times as far.
        `tests/benchmarks/near_duplicate.py --embedder open-clip` measures it for a model at hand.
        """
        return 0.2

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
        return self._tower.computes_in

    @property
    def get_ready(self) -> Callable[[], None] | None:
        """Compiles the network; None where that is not asked for."""
        return partial(self._tower.get_ready, self._recipe.size) if self.compile else None

    def preparer(self) -> Squash:
        """What worker processes need."""
        height, width = self._recipe.size
        return Squash(height, width, self._recipe.interpolation == "bilinear")

    def prepare(self, pixels: Pixels) -> Array:
        """The whole picture (H, W, 3), squashed to (S, S, 3) uint8; normalised later, on the device."""
        return self.preparer().prepare(pixels)

    def embed(self, batch: Array) -> Embeddings:
        """Squashed pictures (B, S, S, 3) uint8 → (B, D), not normalised."""
        return self._tower.embed(batch)

    def embed_text(self, texts: Sequence[str]) -> Embeddings:
        """Prompts (T), taken as they are → (T, D), not normalised; float32 on the CPU, whatever the precision.

        Reads the weights again from where they came from: a checkpoint holds the image tower only. Raises
        PluginUnavailable where they are gone, EmbedderMismatch where they are others by now.
        """
        from lightpool_plugins.embedders.open_clip_text import embedded_texts

        model, name = self._text_model()
        return embedded_texts(model, name, texts)

    def _text_model(self) -> tuple[Any, str]:
        """The model whose image tower this is, and its name."""
        try:
            model, name = self._whole()
        except PluginUnavailable as error:
            raise PluginUnavailable(
                f"text needs the weights pretrained={self.pretrained} once more, for a pool keeps the image tower only;"
                f" bring them back, or query by images or samples: {error}"
            ) from error
        if self._fingerprint_of(model.visual) != self.fingerprint:
            raise EmbedderMismatch(
                f"the weights pretrained={self.pretrained} are not those that this pool was made with: a text in their"
                " space means nothing to it; bring the old ones back, or query by images or samples"
            )
        return model, name

    def weights(self) -> dict[str, Any]:
        """`visual`, float32 tensors by name, and `recipe`, a JSON text: architecture and preprocessing.

        Reads the weights again when the model in use holds them rounded to a lower precision.
        """
        if self.state is not None:
            return dict(self.state)
        return {"visual": float32_state(self._build()), "recipe": json.dumps(asdict(self._recipe), sort_keys=True)}

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
    def _tower(self) -> Tower:
        return self._loaded[0]

    @property
    def _loaded(self) -> tuple[Tower, str]:
        """The network, and the fingerprint of its weights in float32."""
        with _LOADING:
            return self._load

    @cached_property
    def _load(self) -> tuple[Tower, str]:
        module, recipe = self._build(), self._recipe
        fingerprint = self._fingerprint_of(module)
        tower = Tower.on(
            self.device, self.precision, module, recipe.mean, recipe.std, recipe.size, compiled=self.compile
        )
        return tower, fingerprint

    def _fingerprint_of(self, module: torch.nn.Module) -> str:
        return fingerprint_of("open-clip", [asdict(self._recipe), "squash"], float32_state(module))

    def _build(self) -> torch.nn.Module:
        """The image tower in float32 on the CPU."""
        recipe, state = self._recipe, self.state
        if state is not None:
            return _guarded("its stored weights", lambda: stored_tower(recipe, state))
        tower: torch.nn.Module = self._whole()[0].visual
        return tower

    def _whole(self) -> tuple[Any, str]:
        """Both towers in float32 on the CPU, from where the weights come from; and what OpenCLIP calls the model."""
        recipe, source = self._recipe, Path(self.pretrained).expanduser()
        if source.is_dir():
            name = f"local-dir:{source}"
            return _guarded(str(source), lambda: pretrained_model(name, None, recipe)), name
        path = weights_file(self.model, self.pretrained)
        return _guarded(path, lambda: pretrained_model(self.model, path, recipe)), self.model


def _guarded(what: str, load: Callable[[], T]) -> T:
    return guarded(f"open-clip cannot load {what}", load, advice=ADVICE)
