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
from lightpool_core.selection.stop import Stop
from lightpool_core.settings_file import SETTINGS_NAME, read_plain, write_plain

__all__ = ["SETTINGS_NAME", "Overrides", "PluginChoice", "Settings"]

COMBINED = "combined"
"""The sampler that selection configs are for."""


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
    min_seconds: float | None = None
    """See Stop."""
    max_per: Mapping[str, int] = field(default_factory=dict)
    """See Stop; by `video`, `folder`, `label` or a metadata key."""
    metadata: Path | None = None
    """What is known of the samples: a file, or a folder of Lightly metadata."""
    predictions: Path | None = None
    """What a model found in the samples: a file or a folder."""
    scores: Path | None = None
    """Active-learning scores of the samples, a file."""
    compute_metadata: bool = False
    """True computes `lightly.*` metadata of every candidate, whether the sampler looks at it or not."""
    sequence_length: int | None = None
    """Clips of so many frames are chosen instead of single frames; None for frames."""
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
    follow_links: bool = False
    """True opens what links in the inputs lead to, wherever that is."""
    keep_embeddings: bool = False
    """True keeps the embeddings of all candidates, so that no later run has to embed them again."""
    soft_lock: bool = False
    """True locks the pool by a file: for shares whose locks do not reach other machines."""
    device: str = "auto"
    """Where this run computes; a property of the machine, which no pool remembers."""

    def __post_init__(self) -> None:
        _ = self.stop  # checks its conditions
        if self.sequence_length is not None and self.sequence_length < 2:
            raise SettingsError(f"sequence_length {self.sequence_length} is not 2 frames or more; -1 is off")
        length, n_samples = self.sequence_length or 0, self.n_samples
        if isinstance(n_samples, int) and 0 < n_samples < length:
            raise SettingsError(
                f"n_samples {n_samples} is less than one sequence of {length} frames; give {length} or more"
            )
        for key, most in self.stop.max_per.items():
            if most < length:
                raise SettingsError(
                    f"max_per {key} {most} is less than one sequence of {length} frames; give {length} or more"
                )
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
        return Stop.of(self.n_samples, self.min_distance, self.min_seconds, self.max_per)

    @property
    def reading(self) -> Reading:
        """How sources are read."""
        return Reading(fps=self.fps, max_pixels=int(self.max_megapixels * 1e6), timeout=self.timeout)

    def write(self, pool: Path) -> None:
        """Replace the settings of the pool in the folder `pool`, atomically."""
        write_plain(pool, _to_plain(self))

    @classmethod
    def read(cls, pool: Path) -> Settings:
        """The settings of the pool in the folder `pool`. Raises SettingsError naming the place."""
        try:
            return _from_plain(read_plain(pool), pool)
        except SettingsError as error:
            raise SettingsError(f"settings {pool / SETTINGS_NAME}: {error}") from error


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one run wants otherwise than the pool's settings; None leaves a setting as it is, -1 switches it off."""

    inputs: tuple[str | Path, ...] | None = None
    filenames: str | Path | None = None
    embedder: str | None = None
    embedder_options: Mapping[str, Any] = field(default_factory=dict)
    sampler: str | None = None
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    config: str | Path | None = None
    """A selection config: the sampler `combined` with its strategies, and what it says of when to stop."""
    n_samples: int | float | None = None
    min_distance: float | None = None
    min_seconds: float | None = None
    max_per: Mapping[str, int] | None = None
    """In the place of the settings' limits; an empty one takes them all away."""
    metadata: str | Path | None = None
    predictions: str | Path | None = None
    scores: str | Path | None = None
    compute_metadata: bool | None = None
    sequence_length: int | None = None
    fps: float | str | None = None
    """Frames per second, or `all`."""
    seed: int | None = None
    keep_history: bool | None = None
    timeout: float | None = None
    max_megapixels: float | None = None
    follow_links: bool | None = None
    keep_embeddings: bool | None = None
    device: str | None = None
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`."""

    def with_config(self) -> Overrides:
        """These, with what the config file says where they leave it open, in its place.

        Raises SettingsError naming the file and the place in it.
        """
        if self.config is None:
            return self
        if self.sampler not in {None, COMBINED}:
            raise SettingsError(f"--config is for the sampler {COMBINED}, not for {self.sampler}; leave one out")
        from lightpool_core.selection_config import read_config  # brings numpy

        config = read_config(self.config)
        return dataclasses.replace(
            self,
            config=None,
            sampler=COMBINED,
            sampler_options={**self.sampler_options, "strategies": config.strategies},
            n_samples=config.n_samples if self.n_samples is None else self.n_samples,
            min_distance=config.min_distance if self.min_distance is None else self.min_distance,
        )

    def over(self, settings: Settings) -> Settings:
        """`settings` with these changes."""
        if self.config is not None:
            return self.with_config().over(settings)
        changes: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN if getattr(self, name) is not None}
        if self.inputs is not None:
            changes["inputs"] = tuple(Path(os.path.abspath(path)) for path in self.inputs)
            changes["filenames"] = None  # a list of what is in the pool's own inputs
        for name in _PATHS:
            if getattr(self, name) is not None:
                changes[name] = None if str(getattr(self, name)) in _OFF else Path(os.path.abspath(getattr(self, name)))
        if self.sequence_length is not None:
            changes["sequence_length"] = None if self.sequence_length == -1 else self.sequence_length
        if self.fps is not None:
            changes["fps"] = _fps(self.fps)
        changes["embedder"] = _choice(settings.embedder, self.embedder, self.embedder_options)
        changes["sampler"] = _choice(settings.sampler, self.sampler, self.sampler_options)
        return dataclasses.replace(settings, **changes)


_PLAIN = (
    "n_samples", "min_distance", "min_seconds", "max_per", "compute_metadata", "seed", "keep_history", "timeout",
    "max_megapixels", "follow_links", "keep_embeddings", "device",
)  # fmt: skip
_PATHS = ("filenames", "metadata", "predictions", "scores")
_OFF = ("", "-1")


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
        "follow_links": settings.follow_links or None,
        "keep_embeddings": settings.keep_embeddings,
        "soft_lock": settings.soft_lock or None,
        **{name: str(path) for name in _PATHS if (path := getattr(settings, name))},
        "sequence_length": settings.sequence_length,
        "compute_metadata": settings.compute_metadata,
        "min_seconds": settings.min_seconds,
        "max_per": dict(settings.max_per) or None,
        "embedder": {"name": settings.embedder.name, **settings.embedder.options},
        "sampler": {"name": settings.sampler.name, **settings.sampler.options},
    }
    return {key: value for key, value in plain.items() if value is not None}


def _from_plain(plain: Mapping[str, Any], pool: Path) -> Settings:
    changes = dict(plain)
    if "inputs" in plain:
        # Written by hand, a relative path starts at the pool: the working directory of a cron job is anywhere.
        changes["inputs"] = tuple(Path(os.path.abspath(pool / path)) for path in plain["inputs"])
    for name in _PATHS:
        if name in plain:
            changes[name] = None if plain[name] in _OFF else Path(os.path.abspath(pool / plain[name]))
    if plain.get("sequence_length") == -1:
        changes["sequence_length"] = None
    if "fps" in plain:
        changes["fps"] = _fps(plain["fps"])
    for kind in ("embedder", "sampler"):
        if kind in plain:
            changes[kind] = _plugin_choice(kind, plain[kind])
    if "sampler" in changes:
        changes = _with_strategies(changes["sampler"], changes, pool)
    return Settings(**changes)


def _plugin_choice(kind: str, table: Mapping[str, Any]) -> PluginChoice:
    if not isinstance(table.get("name"), str):
        raise SettingsError(f'[{kind}] needs a name, such as name = "diversity"')
    return PluginChoice(table["name"], {key: value for key, value in table.items() if key != "name"})


def _with_strategies(sampler: PluginChoice, changes: Mapping[str, Any], pool: Path) -> dict[str, Any]:
    """`changes` with the strategies of the sampler `combined` checked, as a selection config gives them."""
    if sampler.name != COMBINED or "strategies" not in sampler.options:
        return dict(changes)
    from lightpool_core.selection.strategy_config import parsed_strategies  # bring numpy
    from lightpool_core.selection_config import with_absolute_images, with_hoisted_distance

    parsed_strategies(sampler.options["strategies"], "sampler.strategies")
    strategies, distance = with_hoisted_distance(sampler.options["strategies"])
    options = {**sampler.options, "strategies": with_absolute_images(strategies, pool)}
    distances = [given for given in (changes.get("min_distance"), distance) if given is not None]
    stop = {"min_distance": max(distances)} if distances else {}
    return {**changes, **stop, "sampler": PluginChoice(COMBINED, options)}
