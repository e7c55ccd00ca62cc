"""Networks that torch compiles for the device at hand: a start that takes long, and faster batches after it.

torch.compile: Ansel et al., "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and
Graph Compilation", ASPLOS 2024.
"""

from __future__ import annotations

import getpass
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightpool_core.embedding.weights import guarded

if TYPE_CHECKING:
    import torch

_PLACE = "TORCHINDUCTOR_CACHE_DIR"
_ADVICE = "leave out compile=true, or mend that (on a CPU, torch needs a C++ compiler such as g++)"


def compiled(module: torch.nn.Module, embed: Callable[[Callable[..., Any]], object]) -> Callable[..., Any]:
    """`module`, compiled for what `embed` calls it with, and to be called with nothing else.

    torch is at it in the whole process: nothing else may be computed meanwhile. It keeps what it compiled beside
    the weights that it downloads, or where TORCHINDUCTOR_CACHE_DIR says, which is set. Raises PluginUnavailable.
    """
    return guarded("the model cannot be compiled", lambda: _compiled(module, embed), advice=_ADVICE)


def _compiled(module: torch.nn.Module, embed: Callable[[Callable[..., Any]], object]) -> Callable[..., Any]:
    import torch

    _keep_to_the_user()
    fast: Callable[..., Any] = torch.compile(module, dynamic=False)
    embed(fast)
    return fast


def _keep_to_the_user() -> None:
    """Have torch trust nobody else.

    By itself it takes a folder of a well-known name among temporary files, and runs what it finds there. Headers it
    keeps there in any case. Raises PermissionError where that folder is somebody else's.
    """
    import torch

    usual = Path(tempfile.gettempdir()) / f"torchinductor_{_user()}"
    usual.mkdir(mode=0o700, exist_ok=True)
    if usual.lstat().st_uid != os.getuid():
        raise PermissionError(
            f"{usual}, which torch would trust, is another user's: set TMPDIR to a folder of your own"
        )
    if os.environ.get(_PLACE, str(usual)) == str(usual):
        os.environ[_PLACE] = str(Path(torch.hub.get_dir()).parent / "inductor")


def _user() -> str:
    """As torch calls whoever runs this; in a container, users may have no names."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid_{os.getuid()}"
