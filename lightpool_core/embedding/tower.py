"""A network that turns pictures into vectors, on whatever computes here: what embedders with a torch model share.

B: pictures in a batch. D: dimension. H, W: height and width of a model input in pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from PIL import Image

from lightpool_core.arrays import Array, Embeddings, Pixels
from lightpool_core.device import has_fast_bfloat16, torch_device
from lightpool_core.embedding.compiled import compiled as made_fast
from lightpool_core.embedding.lanes import n_cores, torch_cores
from lightpool_core.embedding.trial import agree
from lightpool_core.embedding.weights import one_line
from lightpool_core.errors import PluginUnavailable, SettingsError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]
_MOST_LANES = 8
_ON_CPU = 16
_ON_GPU = 128


@dataclass(frozen=True)
class Squash:
    """The whole picture (H, W, 3), squashed to one size: what worker processes need of an embedder with a network."""

    height: int
    width: int
    bilinear: bool = False

    def prepare(self, pixels: Pixels) -> Array:
        """(H, W, 3) uint8 of any size → (height, width, 3) uint8; normalised later, on the device."""
        by = Image.Resampling.BILINEAR if self.bilinear else Image.Resampling.BICUBIC
        return np.asarray(Image.fromarray(pixels).resize((self.width, self.height), by, reducing_gap=3.0))


@dataclass(frozen=True)
class Tower:
    """A network in inference mode, on one or several devices, and the normalisation of its inputs.

    As many threads as `n_lanes` says may embed at once: one for each GPU, or, on a CPU, one for each lane of cores.
    The embedding of a picture is the same whatever else is in its batch, but for the last bits.
    """

    modules: Sequence[torch.nn.Module]
    """One per lane; on a CPU the same one."""
    dtype: torch.dtype
    mean: Sequence[float]
    """Of red, green and blue in what the network learnt from, 0 to 1."""
    std: Sequence[float]
    compiled: int = 0
    """B of the batches that are embedded by a compiled network, from `get_ready` on; 0 where none are."""
    _free: SimpleQueue[torch.nn.Module] = field(default_factory=SimpleQueue, init=False, repr=False, compare=False)
    _fast: dict[torch.nn.Module, Callable[..., Any]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What `modules` became when they were compiled."""

    def __post_init__(self) -> None:
        for module in self.modules:
            self._free.put(module)

    @classmethod
    def on(
        cls,
        device: str,
        precision: Precision,
        module: torch.nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        size: Sequence[int],
        compiled: bool = False,
    ) -> Tower:
        """`module`, in float32 and for inputs of `size` (H, W), moved to `device` in `precision`.

        `auto` is bfloat16 where the hardware computes in it and this network bears it (see `trial`), float32
        elsewhere. With `compiled`, `get_ready` compiles it for full batches. Raises PluginUnavailable where it cannot
        be moved.
        """
        import torch

        first, dtype = torch_device(device), dtype_of(device, precision)
        with _moving_to(device):
            module = module.to(first).to(memory_format=torch.channels_last).eval().requires_grad_(False)
            rounded = module if dtype == torch.float32 else copy.deepcopy(module).to(dtype)
        tower, other = cls([module], torch.float32, mean, std), cls([rounded], dtype, mean, std)
        if rounded is not module and (precision != "auto" or agree(tower.embed, other.embed, size)):
            tower = other
        with _moving_to(device):
            return replace(
                tower, modules=_copies(tower.modules[0], device), compiled=batch_size(device) if compiled else 0
            )

    @property
    def computes_in(self) -> str:
        """In words: embeddings that were computed in the same way are the same to the last bit."""
        compiled = ", compiled" if self.compiled else ""
        return f"{str(self.dtype).removeprefix('torch.')} on {_device_of(self.modules[0]).type}{compiled}"

    def embed(self, batch: Array) -> Embeddings:
        """Pictures (B, H, W, 3) uint8 → (B, D), not normalised."""
        module = self._free.get()
        try:
            network = self._fast.get(module, module) if len(batch) == self.compiled else module
            with self._share():
                return self._embedded(_device_of(module), batch, network)
        finally:
            self._free.put(module)

    def get_ready(self, size: Sequence[int]) -> None:
        """Compile what is to be compiled, while no other thread embeds; `size` of inputs, H and W.

        Raises PluginUnavailable where it cannot be.
        """
        black = np.zeros((self.compiled, *size, 3), np.uint8)
        wanted = set(self.modules) if self.compiled else set()
        with self._share():
            for module in wanted - self._fast.keys():
                self._fast[module] = made_fast(module, partial(self._embedded, _device_of(module), black))

    def _share(self) -> AbstractContextManager[None]:
        """Of the cores, for one lane."""
        return torch_cores(max(1, n_cores() // len(self.modules)))

    def _embedded(self, device: torch.device, pictures: Array, network: Callable[..., Any]) -> Embeddings:
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(np.require(pictures, requirements="W")).to(device).permute(0, 3, 1, 2).float()
            mean, std = (255 * torch.tensor(three, device=device).view(3, 1, 1) for three in (self.mean, self.std))
            features = network(pixels.sub_(mean).div_(std).to(self.dtype))
            # CoCa towers answer with the pooled features and one per patch.
            pooled = features[0] if isinstance(features, tuple) else features
            embeddings: Embeddings = pooled.float().cpu().numpy()
        return embeddings


def decoded_size(model_input: Squash) -> int:
    """Pixels on the shorter side that decoding should leave of a picture: twice those of the model's input.

    What decoding shrinks, it shrinks a little otherwise than `prepare` does. With half of that still to be shrunk,
    embeddings move little more than by rounding to bfloat16: `tests/benchmarks/drift.py` measures it.
    """
    return 2 * min(model_input.height, model_input.width)


def check_precision(precision: str) -> None:
    """Raise SettingsError for one that there is not."""
    if precision not in get_args(Precision):
        raise SettingsError(f"precision={precision}: choose one of {', '.join(get_args(Precision))}")


def n_lanes(device: str) -> int:
    """How many batches are embedded at once: on each of the GPUs that `device` means, or on some of the cores."""
    import torch

    first = torch_device(device)
    if first.type == "cuda":
        return torch.cuda.device_count() if first.index is None else 1
    return min(n_cores(), _MOST_LANES) if first.type == "cpu" else 1


def batch_size(device: str) -> int:
    """B: as many pictures as keep a lane of `device` busy."""
    return _ON_CPU if torch_device(device).type == "cpu" else _ON_GPU


def dtype_of(device: str, precision: Precision) -> torch.dtype:
    """`precision`; of `auto` bfloat16 where the hardware computes in it, two to five times as fast as in float32."""
    import torch

    if precision != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return torch.bfloat16 if has_fast_bfloat16(torch_device(device)) else torch.float32


def _copies(module: torch.nn.Module, device: str) -> list[torch.nn.Module]:
    """One for each lane: on a CPU the same."""
    import torch

    if torch_device(device).type == "cpu":
        return [module] * n_lanes(device)
    others = [torch.device("cuda", number) for number in range(1, n_lanes(device))]
    return [module, *(copy.deepcopy(module).to(other) for other in others)]


def _device_of(module: torch.nn.Module) -> torch.device:
    return next(module.parameters()).device


@contextmanager
def _moving_to(device: str) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise PluginUnavailable(f"the model cannot be moved to device={device}: {one_line(error)}") from error
