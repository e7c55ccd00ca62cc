"""`datapool.toml`: what a bare `append` repeats."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightpool_core.errors import SettingsError
from lightpool_core.media.reading import MAX_PIXELS, TIMEOUT, Reading
from lightpool_core.replacing import replacing
from lightpool_core.selection.stop import Stop

SETTINGS_NAME = "datapool.toml"
_HEAD = """Settings of this datapool: what `lightpool append` does when it is given no options.
Edit freely, except for the embedder: the embeddings of a pool are made by one embedder for life."""


@dataclass(frozen=True, slots=True)
class PluginChoice:
    """A plugin by name, with its options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a pool, or of one run."""

    inputs: tuple[Path, ...] = ()
    """Folders and files where raw data arrives, absolute."""
    filenames: Path | None = None
    """A text file that lists which paths in the inputs count; None for all."""
    embedder: PluginChoice = PluginChoice("open-clip")
    sampler: PluginChoice = PluginChoice("diversity")
    n_samples: int | float | None = None
    """See Stop; None is off."""
    min_distance: float | None = None
    """See Stop; with both off, the embedder's near-duplicate distance is taken."""
    fps: float | None = 1.0
    """Frames per second sampled from videos; None for every frame."""
    seed: int = 0
    """Of the random numbers that samplers use."""
    keep_history: bool = True
    """False leaves only the newest version restorable."""
    csv: bool = True
    """False leaves `datapool_latest.csv` out, for pools of many millions."""
    timeout: float = TIMEOUT
    """Seconds after which a raw file that nothing comes of is given up."""
    max_megapixels: float = MAX_PIXELS / 1e6
    """Pictures of more are refused."""
    keep_embeddings: bool = False
    """True keeps the embeddings of all candidates, so that no later run has to embed them again."""
    device: str = "auto"
    """Where this run computes; a property of the machine, which no pool remembers."""

    def __post_init__(self) -> None:
        Stop.of(self.n_samples, self.min_distance)
        if self.seed < 0:
            raise SettingsError(f"seed {self.seed} is negative; give a whole number from 0 up")
        if self.fps is not None and not 0 < self.fps <= 1000:
            raise SettingsError(f"fps {self.fps} is not above 0 and at most 1000; 'all' takes every frame")
        for name in ("timeout", "max_megapixels"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"{name} {getattr(self, name)} is not a number above 0")

    @property
    def stop(self) -> Stop:
        """The stopping conditions."""
        return Stop.of(self.n_samples, self.min_distance)

    @property
    def reading(self) -> Reading:
        """How sources are read."""
        return Reading(fps=self.fps, max_pixels=int(self.max_megapixels * 1e6), timeout=self.timeout)

    def write(self, pool: Path) -> None:
        """Replace the settings of the pool in the folder `pool`, atomically."""
        import tomlkit

        document = tomlkit.document()
        for line in _HEAD.splitlines():
            document.add(tomlkit.comment(line))
        for key, value in _to_plain(self).items():
            document.add(key, tomlkit.item(value))
        with replacing(pool / SETTINGS_NAME) as path:
            path.write_text(tomlkit.dumps(document), encoding="utf-8")

    @classmethod
    def read(cls, pool: Path) -> Settings:
        """The settings of the pool in the folder `pool`. Raises SettingsError naming the place."""
        import tomlkit
        from tomlkit.exceptions import TOMLKitError

        path = pool / SETTINGS_NAME
        try:
            plain = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
        except (OSError, UnicodeDecodeError, TOMLKitError) as error:
            reason = " ".join(str(error).split())
            raise SettingsError(f"settings {path} cannot be read: {reason}; mend the file") from error
        try:
            return _from_plain(plain, pool)
        except SettingsError as error:
            raise SettingsError(f"settings {path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one run wants otherwise than the pool's settings; None leaves a setting as it is, -1 switches it off."""

    inputs: tuple[str | Path, ...] | None = None
    filenames: str | Path | None = None
    embedder: str | None = None
    embedder_options: Mapping[str, Any] = field(default_factory=dict)
    sampler: str | None = None
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    n_samples: int | float | None = None
    min_distance: float | None = None
    fps: float | str | None = None
    """Frames per second, or `all`."""
    seed: int | None = None
    keep_history: bool | None = None
    timeout: float | None = None
    max_megapixels: float | None = None
    keep_embeddings: bool | None = None
    device: str | None = None
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""

    def over(self, settings: Settings) -> Settings:
        """`settings` with these changes."""
        changes: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN if getattr(self, name) is not None}
        if self.inputs is not None:
            changes["inputs"] = tuple(Path(os.path.abspath(path)) for path in self.inputs)
            changes["filenames"] = None  # a list of what is in the pool's own inputs
        if self.filenames is not None:
            changes["filenames"] = Path(os.path.abspath(self.filenames))
        if self.fps is not None:
            changes["fps"] = _fps(self.fps)
        changes["embedder"] = _choice(settings.embedder, self.embedder, self.embedder_options)
        changes["sampler"] = _choice(settings.sampler, self.sampler, self.sampler_options)
        return dataclasses.replace(settings, **changes)


_PLAIN = (
    "n_samples", "min_distance", "seed", "keep_history", "timeout", "max_megapixels", "keep_embeddings", "device",
)  # fmt: skip


def _choice(now: PluginChoice, name: str | None, options: Mapping[str, Any]) -> PluginChoice:
    name = _absolute_file(name) if name else now.name
    return PluginChoice(name, {**(now.options if name == now.name else {}), **options})


def _absolute_file(name: str) -> str:
    """`name`; of the form `my_file.py:MySampler` with the file's path made absolute, so that it holds anywhere."""
    file, colon, attribute = name.rpartition(":")
    return f"{os.path.abspath(file)}:{attribute}" if colon and file.endswith(".py") else name


def _fps(value: Any) -> float | None:
    if value == "all":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SettingsError(f"fps {value!r} is neither a number of frames per second nor 'all'") from None


def _to_plain(settings: Settings) -> dict[str, Any]:
    """Values that TOML can hold; what is off and has no other way to say so is left out."""
    plain: dict[str, Any] = {
        "inputs": [str(path) for path in settings.inputs],
        "fps": "all" if settings.fps is None else settings.fps,
        "n_samples": settings.n_samples,
        "min_distance": settings.min_distance,
        "seed": settings.seed,
        "keep_history": settings.keep_history,
        "csv": settings.csv,
        "timeout": settings.timeout,
        "max_megapixels": settings.max_megapixels,
        "keep_embeddings": settings.keep_embeddings,
        "filenames": str(settings.filenames) if settings.filenames else None,
        "embedder": {"name": settings.embedder.name, **settings.embedder.options},
        "sampler": {"name": settings.sampler.name, **settings.sampler.options},
    }
    return {key: value for key, value in plain.items() if value is not None}


_TYPES: dict[str, tuple[type, ...]] = {
    "inputs": (list,),
    "filenames": (str,),
    "embedder": (dict,),
    "sampler": (dict,),
    "n_samples": (int, float),
    "min_distance": (int, float),
    "fps": (int, float, str),
    "seed": (int,),
    "keep_history": (bool,),
    "csv": (bool,),
    "timeout": (int, float),
    "max_megapixels": (int, float),
    "keep_embeddings": (bool,),
}


def _from_plain(plain: Mapping[str, Any], pool: Path) -> Settings:
    for key, value in plain.items():
        if key not in _TYPES:
            raise SettingsError(f"there is no setting {key!r}; the settings are {', '.join(_TYPES)}")
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and bool not in _TYPES[key]):
            wanted = " or ".join(kind.__name__ for kind in _TYPES[key])
            raise SettingsError(f"{key} = {value!r} should be of type {wanted}")
    if not all(isinstance(path, str) for path in plain.get("inputs", ())):
        raise SettingsError(f"inputs = {plain['inputs']} should be a list of paths, each in quotes")
    changes = dict(plain)
    if "inputs" in plain:
        # Written by hand, a relative path starts at the pool: the working directory of a cron job is anywhere.
        changes["inputs"] = tuple(Path(os.path.abspath(pool / path)) for path in plain["inputs"])
    if "filenames" in plain:
        changes["filenames"] = Path(os.path.abspath(pool / plain["filenames"]))
    if "fps" in plain:
        changes["fps"] = _fps(plain["fps"])
    for kind in ("embedder", "sampler"):
        if kind in plain:
            changes[kind] = _plugin_choice(kind, plain[kind])
    return Settings(**changes)


def _plugin_choice(kind: str, table: Mapping[str, Any]) -> PluginChoice:
    if not isinstance(table.get("name"), str):
        raise SettingsError(f'[{kind}] needs a name, such as name = "diversity"')
    return PluginChoice(table["name"], {key: value for key, value in table.items() if key != "name"})
