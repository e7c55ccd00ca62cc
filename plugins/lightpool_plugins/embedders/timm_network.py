"""Where Timm's architecture, preprocessing and weights come from: names, files, a checkpoint."""

from __future__ import annotations

import ast
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightpool_core.embedding.weights import cached_file, check_reachable, guarded
from lightpool_core.errors import PluginUnavailable, SettingsError

if TYPE_CHECKING:
    import torch

ADVICE = "check model, pretrained and arguments, and that they fit one another"
_OF_OURS = {
    "img_size": "give size instead",
    "in_chans": "pictures have three channels",
    "features_only": "an embedding is the pooled feature",
} | dict.fromkeys(
    ["cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"],
    "the option pretrained says where weights are",
)
_HUB_NAMES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class Recipe:
    """What embeds, but for the weights. Plain values, so that it survives JSON."""

    model: str
    """A timm architecture, without the tag of its weights."""
    arguments: dict[str, Any]
    """With which it is created."""
    size: list[int]
    """Height and width of a model input in pixels."""
    mean: list[float]
    std: list[float]
    interpolation: str


def recipe_of(model: str, *, size: int, mean: str, std: str, arguments: str) -> Recipe:
    """For the timm model of that name; what is 0 or empty is as its configuration says.

    Raises SettingsError for an unknown model or tag, and for arguments that are none.
    """
    config = _config(model)
    shape = [size, size] if size else list(config.input_size[1:])
    made = parsed_arguments(arguments)
    made.setdefault("num_classes", max(config.num_classes, 0))
    if config.fixed_input_size:
        made["img_size"] = shape
    means = three("mean", mean) if mean else list(config.mean)
    deviations = three("std", std) if std else list(config.std)
    return Recipe(model.partition(".")[0], made, shape, means, deviations, config.interpolation)


def three(name: str, text: str) -> list[float]:
    """One number or three, separated by commas, for red, green and blue; `name` is mean or std.

    Raises SettingsError for anything else, and for a deviation that is not above 0.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise SettingsError(f"{name}={text} is not one number, nor three separated by commas for red, green and blue")
    if name == "std" and min(numbers) <= 0:
        raise SettingsError(f"std={text} is not above 0")
    return numbers * (3 // len(numbers))


def parsed_arguments(text: str) -> dict[str, Any]:
    """`key=value,key=value` as numbers, truth values and words. Raises SettingsError where it is not that."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (equals and value and key.isidentifier()):
            raise SettingsError(f"arguments: {part!r} is not key=value; several are separated by commas")
        if key in _OF_OURS:
            raise SettingsError(f"arguments: {key} cannot be given; {_OF_OURS[key]}")
        found[key] = _value(value)
    return found


def _value(text: str) -> int | float | bool | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, int | float | str) else text


def _config(model: str) -> Any:
    """What timm knows of `model`: size, normalisation, where its weights are."""
    import timm
    from timm.models import PretrainedCfg

    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=6, cutoff=0.5)
        raise SettingsError(f"timm knows no model={model}; close to it: {', '.join(close) or 'nothing'}")
    if tag and model not in timm.list_pretrained(f"{architecture}.*"):
        raise SettingsError(f"{architecture} has no weights {tag!r} in timm; it has {_tags(architecture)}")
    return timm.get_pretrained_cfg(model) or PretrainedCfg()


def _tags(architecture: str) -> str:
    import timm

    names = timm.list_pretrained(f"{architecture}.*")
    return ", ".join(names) or "none: name a file, -e pretrained=/path/to/file"


def weights_file(model: str, pretrained: str) -> str:
    """A local path: `pretrained` itself, or where it is empty what timm has for `model`, from the cache or the network.

    Raises SettingsError where there is no such file, PluginUnavailable where it is out of reach.
    """
    if pretrained:
        path = Path(pretrained).expanduser()
        if not path.is_file():
            raise SettingsError(f"pretrained={pretrained}: no such file")
        return str(path)
    config = _config(model)
    if not (config.hf_hub_id or config.url):
        raise SettingsError(f"timm has no weights for model={model}; it has {_tags(model.partition('.')[0])}")
    cached = _cached(config)
    if cached is not None:
        return cached
    home = None if config.hf_hub_id else config.url
    check_reachable(f"the weights of {model}", home, "-e pretrained=/path/to/file")
    return guarded(f"timm cannot load {model}", lambda: _downloaded(config), advice=ADVICE)


def _cached(config: Any) -> str | None:
    if not config.hf_hub_id:
        path = _beside(config.url)
        return str(path) if path.is_file() else None
    repository, _, revision = config.hf_hub_id.partition("@")
    return cached_file(repository, _names(config), revision or None)


def _downloaded(config: Any) -> str:
    import torch
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if not config.hf_hub_id:
        path = _beside(config.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(config.url, str(path), progress=False)
        return str(path)
    repository, _, revision = config.hf_hub_id.partition("@")
    for name in _names(config):
        try:
            return str(hf_hub_download(repository, name, revision=revision or None))
        except EntryNotFoundError:
            continue
    raise PluginUnavailable(f"{repository} holds none of {', '.join(_names(config))}")


def _names(config: Any) -> tuple[str, ...]:
    return (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_NAMES


def _beside(url: str) -> Path:
    """Where torch keeps what it downloads from `url`."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name


def loaded_network(model: str, recipe: Recipe, path: str) -> torch.nn.Module:
    """The network that `recipe` describes, without its classifier, with the weights in the file at `path`.

    timm itself fits them in, so that other names and sizes of published weights are dealt with; none may be
    missing, and none left over.
    """
    import timm
    from timm.models import load_state_dict

    state = load_state_dict(path, weights_only=True)
    # The number of classes is what the file is to have: otherwise timm lets anything be missing.
    overlay = {"state_dict": state, "custom_load": False, "num_classes": recipe.arguments["num_classes"]}
    network: Any = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay, **recipe.arguments)
    network.pretrained_cfg.pop("state_dict", None)
    return _headless(network)


def stored_network(recipe: Recipe, state: Mapping[str, Any]) -> torch.nn.Module:
    """The network that `recipe` describes, with the weights that a checkpoint kept in `state`."""
    import timm

    network = _headless(timm.create_model(recipe.model, pretrained=False, **recipe.arguments))
    network.load_state_dict(state["network"], assign=True)
    return network.eval().requires_grad_(False)


def _headless(network: Any) -> torch.nn.Module:
    network.reset_classifier(0)
    bare: torch.nn.Module = network.eval().requires_grad_(False)
    return bare
