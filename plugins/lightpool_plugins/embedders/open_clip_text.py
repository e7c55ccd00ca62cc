"""OpenClip's other half: texts as vectors in the space of its pictures, on the CPU in float32."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lightpool_core.arrays import Embeddings
from lightpool_core.embedding.weights import cached_file, check_reachable, guarded
from lightpool_core.errors import PluginUnavailable

if TYPE_CHECKING:
    import torch

_INSTEAD = "query by images or samples instead"
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json")


def embedded_texts(model: Any, name: str, texts: Sequence[str]) -> Embeddings:
    """T texts → (T, D), not normalised, by the text tower of the OpenCLIP model `model`, which is called `name`.

    Each is a prompt as it is; what is longer than the tower's context is cut off. Raises PluginUnavailable.
    """
    import torch

    tokens = _tokenizer(name)(list(texts))
    with torch.inference_mode():
        features = guarded(
            f"open-clip cannot embed text with {name}", lambda: model.encode_text(tokens), advice=_INSTEAD
        )
    embeddings: Embeddings = features.float().cpu().numpy()
    return embeddings


def _tokenizer(name: str) -> Callable[[list[str]], torch.Tensor]:
    """That of the model `name`: OpenCLIP brings its own; for some models it is one of Hugging Face's."""
    import open_clip

    if not name.startswith("local-dir:"):  # such a folder holds its tokenizer
        _check_tokenizer(name)
    what = f"open-clip cannot load the tokenizer of {name}"
    tokenizer: Callable[[list[str]], torch.Tensor] = guarded(
        what, lambda: open_clip.get_tokenizer(name), advice=_INSTEAD
    )
    return tokenizer


def _check_tokenizer(name: str) -> None:
    """Raise PluginUnavailable where the tokenizer of the model `name` is out of reach."""
    import open_clip

    repository = (open_clip.get_model_config(name) or {}).get("text_cfg", {}).get("hf_tokenizer_name")
    if not repository:
        return
    what = f"the tokenizer of {name}, {repository},"
    if importlib.util.find_spec("transformers") is None:
        raise PluginUnavailable(f"{what} needs the package transformers; pip install transformers, or {_INSTEAD}")
    if cached_file(repository, _TOKENIZER_FILES) is not None:
        return
    try:
        check_reachable(what, None, "")
    except PluginUnavailable as error:
        raise PluginUnavailable(f"{what} is neither cached nor reachable; download it once, or {_INSTEAD}") from error
