"""Networks that torch compiles for the device at hand: a start that takes long, and faster batches after it.

torch.compile: Ansel et al., "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and
Graph Compilation", ASPLOS 2024.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightpool_core.embedding.weights import guarded

if TYPE_CHECKING:
    import torch

_PLACE = "TORCHINDUCTOR_CACHE_DIR"
_ADVICE = "install a C++ compiler, such as g++, or leave out compile=true"


class Compiled:
    """`module`, compiled when it is called first, for batches of that shape and any that several threads bring."""

    def __init__(self, module: torch.nn.Module) -> None:
        import torch

        _keep_to_the_user()
        self._compiled = torch.compile(module, dynamic=False)
        self._first = threading.Lock()
        self._is_ready = False

    def __call__(self, pixels: torch.Tensor) -> Any:
        """What `module` answers. Raises PluginUnavailable where it cannot be compiled."""
        if self._is_ready:
            return self._compiled(pixels)
        with self._first:  # one thread compiles; the others would do it again
            answer = guarded("the model cannot be compiled", lambda: self._compiled(pixels), advice=_ADVICE)
            self._is_ready = True
        return answer


def _keep_to_the_user() -> None:
    """Have torch keep what it compiled beside the weights that it downloads.

    Where nobody says where, it takes a folder of a well-known name among temporary files, and runs what it finds there.
    """
    import torch

    if Path(os.environ.get(_PLACE, "torchinductor_")).name.startswith("torchinductor_"):
        os.environ[_PLACE] = str(Path(torch.hub.get_dir()).parent / "inductor")
