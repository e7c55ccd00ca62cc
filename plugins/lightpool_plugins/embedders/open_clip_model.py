"""Where OpenClip's architecture, preprocessing and weights come from: tags, files, folders, a checkpoint."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightpool_core.embedding.weights import cached_file, check_reachable, guarded, one_line
from lightpool_core.errors import SettingsError

if TYPE_CHECKING:
    import torch

ADVICE = "check pretrained, and that it fits model"
WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")


@dataclass(frozen=True)
class Recipe:
    """What embeds, but for the weights. Plain values, so that it survives JSON."""

    embed_dim: int
    vision_cfg: dict[str, Any]
    quick_gelu: bool
    mean: list[float]
    std: list[float]
    interpolation: str

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a model input in pixels."""
        size = self.vision_cfg.get("image_size", 224)  # 224 is OpenCLIP's own default
        return (size, size) if isinstance(size, int) else (size[0], size[1])


def recipe_of_model(model: str, pretrained: str) -> Recipe:
    """For a tag or a weights file. Raises SettingsError for an unknown model, tag or file."""
    import open_clip

    if model not in open_clip.list_models():
        close = difflib.get_close_matches(model, open_clip.list_models(), cutoff=0.3)
        raise SettingsError(f"open-clip knows no model={model}; close to it: {', '.join(close) or 'nothing'}")
    tags = open_clip.list_pretrained_tags_by_model(model)
    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag and not Path(pretrained).expanduser().is_file():
        if "/" in pretrained or pretrained.endswith(WEIGHT_SUFFIXES):
            raise SettingsError(f"pretrained={pretrained}: no such file or folder")
        known = f"known tags: {', '.join(tags)}" if tags else "it has none: name a weights file or a folder"
        raise SettingsError(f"pretrained={pretrained} is no tag of {model}; {known}")
    usual = [_preprocessing(open_clip.get_pretrained_cfg(model, name)) for name in tags]
    most = Counter(json.dumps(each) for each in usual).most_common(1)
    preprocessing = _preprocessing(tag) if tag or not most else json.loads(most[0][0])
    return _recipe(open_clip.get_model_config(model), preprocessing, bool(tag.get("quick_gelu", False)))


def recipe_of_folder(folder: Path) -> Recipe:
    """For a folder as OpenCLIP's `local-dir:` reads it. Raises SettingsError if it says too little."""
    path = folder / "open_clip_config.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return _recipe(stored["model_cfg"], _preprocessing(stored.get("preprocess_cfg", {})), False)
    except FileNotFoundError as error:
        raise SettingsError(f"{folder} has no {path.name}; name the weights file in it instead") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{path} is not an OpenCLIP configuration: {one_line(error)}") from error


def _recipe(config: Mapping[str, Any], preprocessing: Mapping[str, Any], quick_gelu: bool) -> Recipe:
    vision = {**config["vision_cfg"], "timm_model_pretrained": False}  # else building it would download
    quick = quick_gelu or bool(config.get("quick_gelu", False))
    return Recipe(config["embed_dim"], vision, quick, **preprocessing)


def _preprocessing(stored: Mapping[str, Any]) -> dict[str, Any]:
    from open_clip.constants import (
        OPENAI_DATASET_MEAN,
        OPENAI_DATASET_STD,
    )

    mean, std = stored.get("mean") or OPENAI_DATASET_MEAN, stored.get("std") or OPENAI_DATASET_STD
    return {"mean": list(mean), "std": list(std), "interpolation": stored.get("interpolation") or "bicubic"}


def weights_file(model: str, pretrained: str) -> str:
    """A local path: the file itself, or a tag's from the cache or the network."""
    import open_clip

    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag:
        return str(Path(pretrained).expanduser())
    cached = _cached(tag)
    if cached is not None:
        return cached
    home = None if tag.get("hf_hub") else tag["url"]
    check_reachable(f"the weights {pretrained} of {model}", home, "-e pretrained=/path/to/file-or-folder")
    what = f"open-clip cannot load {model} {pretrained}"
    return guarded(what, lambda: str(open_clip.download_pretrained(tag)), advice=ADVICE)


def _cached(tag: Mapping[str, Any]) -> str | None:
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    if not tag.get("hf_hub"):
        downloaded = Path("~/.cache/clip").expanduser() / Path(tag["url"]).name
        return str(downloaded) if downloaded.is_file() else None
    repository, _, name = tag["hf_hub"].rpartition("/")
    names = [str(Path(name).with_suffix(".safetensors")), name] if name else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    return cached_file(repository, names)


def pretrained_model(name: str, path: str | None, recipe: Recipe) -> Any:
    """Model `name`, both towers, with the weights in the file at `path`, or in the folder that `name` means."""
    import open_clip

    whole = open_clip.create_model(name, path, force_quick_gelu=recipe.quick_gelu, require_pretrained=True)
    return whole.eval().requires_grad_(False)


def stored_tower(recipe: Recipe, state: Mapping[str, Any]) -> torch.nn.Module:
    """The image tower that `recipe` describes, with the weights that a checkpoint kept in `state`."""
    import open_clip

    # OpenCLIP builds towers in pairs only; this text tower is as small as it gets, and goes at once.
    text = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
    pair = open_clip.CustomTextCLIP(recipe.embed_dim, recipe.vision_cfg, text, quick_gelu=recipe.quick_gelu)
    tower: torch.nn.Module = pair.visual
    tower.load_state_dict(state["visual"], assign=True)
    return tower.eval().requires_grad_(False)
