"""Where OpenClip's architecture, preprocessing and weights come from: tags, files, folders, a checkpoint."""

from __future__ import annotations

import difflib
import json
import logging
import urllib.error
import urllib.request
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lightpool_core.errors import PluginUnavailable, SettingsError

if TYPE_CHECKING:
    import torch

REACH_SECONDS = 5.0
T = TypeVar("T")
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
    """A local path: the file itself, or a tag's from the cache or the network.

    Asks once whether the network is there, because the downloader would try again and again for a minute.
    """
    import open_clip
    from huggingface_hub import constants

    tag = open_clip.get_pretrained_cfg(model, pretrained)
    if not tag:
        return str(Path(pretrained).expanduser())
    cached = _cached(tag)
    if cached is not None:
        return cached
    home = constants.ENDPOINT if tag.get("hf_hub") else tag["url"]
    if constants.HF_HUB_OFFLINE or not _reachable(home):
        raise PluginUnavailable(
            f"the weights {pretrained} of {model} are neither cached nor reachable at {home}; "
            "use -e pretrained=/path/to/file-or-folder, or --embedder gist, which needs no weights"
        )
    with _quiet():
        return guarded(f"{model} {pretrained}", lambda: str(open_clip.download_pretrained(tag)))


def _cached(tag: Mapping[str, Any]) -> str | None:
    from huggingface_hub import try_to_load_from_cache
    from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME

    if not tag.get("hf_hub"):
        downloaded = Path("~/.cache/clip").expanduser() / Path(tag["url"]).name
        return str(downloaded) if downloaded.is_file() else None
    repository, _, name = tag["hf_hub"].rpartition("/")
    names = [str(Path(name).with_suffix(".safetensors")), name] if name else [HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME]
    found = (try_to_load_from_cache(repository, each) for each in names)
    return next((path for path in found if isinstance(path, str)), None)


def _reachable(url: str) -> bool:
    """Whether anything answers at `url`, through the proxies that the environment names."""
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # from a constant of the hub, not a user
        with urllib.request.urlopen(request, timeout=REACH_SECONDS):  # noqa: S310  # as above
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False


def pretrained_tower(name: str, path: str | None, recipe: Recipe) -> torch.nn.Module:
    """The image tower of model `name` with the weights in the file at `path`, or in the folder that `name` means."""
    import open_clip

    whole = open_clip.create_model(name, path, force_quick_gelu=recipe.quick_gelu, require_pretrained=True)
    tower: torch.nn.Module = whole.visual
    return tower.eval().requires_grad_(False)


def stored_tower(recipe: Recipe, state: Mapping[str, Any]) -> torch.nn.Module:
    """The image tower that `recipe` describes, with the weights that a checkpoint kept in `state`."""
    import open_clip

    # OpenCLIP builds towers in pairs only; this text tower is as small as it gets, and goes at once.
    text = {"context_length": 1, "vocab_size": 1, "width": 8, "heads": 1, "layers": 1}
    pair = open_clip.CustomTextCLIP(recipe.embed_dim, recipe.vision_cfg, text, quick_gelu=recipe.quick_gelu)
    tower: torch.nn.Module = pair.visual
    tower.load_state_dict(state["visual"], assign=True)
    return tower.eval().requires_grad_(False)


def guarded(what: str, load: Callable[[], T]) -> T:
    """The answer of `load`, quietly; whatever goes wrong in there becomes one line that names `what`."""
    try:
        with _quiet():
            return load()
    except Exception as error:  # three libraries and a file from anywhere: no list of errors is complete
        advice = "check pretrained, and that it fits model"
        raise PluginUnavailable(f"open-clip cannot load {what}: {one_line(error)}; {advice}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps OpenCLIP's and the hub's messages back; our own error says what matters."""
    root, hub = logging.getLogger(), logging.getLogger("huggingface_hub")
    level, mute, silent = hub.level, logging.Filter("no logger"), logging.NullHandler()
    # OpenCLIP logs on the root logger itself, which sets up a handler for good where there is none.
    root.addHandler(silent)
    root.addFilter(mute)
    hub.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hub.setLevel(level)
        root.removeFilter(mute)
        root.removeHandler(silent)


def one_line(error: Exception) -> str:
    """What went wrong, for a message of ours."""
    # The first sentence: torch goes on to advise loading files that may run code.
    return " ".join(str(error).split()).partition(". ")[0][:200] or type(error).__name__
