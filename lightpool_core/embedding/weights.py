"""Weights of a network: found, read and told apart; what embedders with a torch model share."""

from __future__ import annotations

import hashlib
import json
import logging
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from lightpool_core.errors import PluginUnavailable

if TYPE_CHECKING:
    import torch

REACH_SECONDS = 5.0
T = TypeVar("T")


def fingerprint_of(name: str, description: Any, state: Mapping[str, torch.Tensor]) -> str:
    """`name` and a digest of the `description` of architecture and preprocessing, as JSON, and of all weights."""
    digest = hashlib.blake2b(json.dumps(description, sort_keys=True).encode(), digest_size=12)
    for key in sorted(state):
        tensor = state[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).numpy().data)
    return f"{name}-{digest.hexdigest()}"


def float32_state(module: torch.nn.Module) -> Mapping[str, Any]:
    """The weights of `module` by name, on the CPU."""
    return {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}


def cached_file(repository: str, names: Sequence[str], revision: str | None = None) -> str | None:
    """The first of the files `names` of a hub's `repository` that was downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    found = (try_to_load_from_cache(repository, name, revision=revision) for name in names)
    return next((path for path in found if isinstance(path, str)), None)


def check_reachable(what: str, url: str | None, advice: str) -> None:
    """Raise PluginUnavailable if nothing answers at `url`, or at the hub where there is none.

    Asks once whether the network is there, because downloaders would try again and again for a minute.
    """
    from huggingface_hub import constants

    home = url or constants.ENDPOINT
    if constants.HF_HUB_OFFLINE or not _reachable(home):
        raise PluginUnavailable(
            f"{what} are neither cached nor reachable at {home}; use {advice},"
            " or --embedder gist, which needs no weights"
        )


def guarded(what: str, load: Callable[[], T], *, advice: str) -> T:
    """The answer of `load`, quietly; whatever goes wrong in there becomes one line: `what`, reason, `advice`."""
    try:
        with quiet():
            return load()
    except Exception as error:  # several libraries and a file from anywhere: no list of errors is complete
        raise PluginUnavailable(f"{what}: {one_line(error)}; {advice}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps back what model libraries and the hub have to say; our own error says what matters."""
    root, others = logging.getLogger(), [logging.getLogger(name) for name in ("huggingface_hub", "torch")]
    levels, mute, silent = [other.level for other in others], logging.Filter("no logger"), logging.NullHandler()
    # OpenCLIP logs on the root logger itself, which sets up a handler for good where there is none.
    root.addHandler(silent)
    root.addFilter(mute)
    for other in others:
        other.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for other, level in zip(others, levels, strict=True):
            other.setLevel(level)
        root.removeFilter(mute)
        root.removeHandler(silent)


def one_line(error: Exception) -> str:
    """What went wrong, for a message of ours."""
    # The first sentence: torch goes on to advise loading files that may run code.
    paragraph = str(error).strip().partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0][:200] or type(error).__name__


def _reachable(url: str) -> bool:
    """Whether anything answers at `url`, through the proxies that the environment names."""
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # from a constant of a library, not a user
        with urllib.request.urlopen(request, timeout=REACH_SECONDS):  # noqa: S310  # as above
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
