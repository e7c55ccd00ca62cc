"""Making a pool, opening it for writing, and the embedder that it lives with."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lightpool_core.embedding.checkpoint import Checkpoint, is_intact
from lightpool_core.embedding.embedder import Embedder, has_weights
from lightpool_core.errors import CorruptPool, EmbedderMismatch, PoolExists, PoolLocked, SettingsError, SourceNotFound
from lightpool_core.pool.datapool import CHECKPOINT_NAME, Datapool
from lightpool_core.pool.delta_log import TABLES
from lightpool_core.pool.latest import CSV_NAME, MARK_NAME
from lightpool_core.pool.lock import LOCK_NAMES, Wait, writing
from lightpool_core.pool.repair import recover, repair
from lightpool_core.registry import is_file, make, same_results
from lightpool_core.replacing import is_gone, sync
from lightpool_core.selection.strategy_config import parsed_strategies
from lightpool_core.settings import SETTINGS_NAME, PluginChoice, Settings

_HERE = socket.gethostname()
_MOVING = ".moving"
"""Begins the name of the file that says who moves a pool into an empty folder, until all of it is there."""
_PARTS = frozenset({SETTINGS_NAME, CHECKPOINT_NAME, CSV_NAME, MARK_NAME, *TABLES})
"""What an empty pool consists of."""


def is_pool(path: Path) -> bool:
    """True if there is a datapool in the folder `path`."""
    return (path / SETTINGS_NAME).is_file()


def check_free(path: Path) -> None:
    """Raise PoolExists unless a pool can be made in the folder `path`."""
    if is_pool(path):
        raise PoolExists(f"{path} is a datapool already; grow it with: lightpool append --pool {path}")
    half_moved = {mark.name for mark in _half_moved(path)}
    passed_over = LOCK_NAMES | half_moved | (_PARTS if half_moved else set())
    if path.exists() and (not path.is_dir() or any(part.name not in passed_over for part in path.iterdir())):
        if marks := {mark.name for mark in path.glob(f"{_MOVING}.*")} - half_moved:
            raise PoolExists(f"{path} is being made, says {min(marks)}; if that process is gone, empty the folder")
        raise PoolExists(f"{path} exists and is no datapool; choose a name that is free")


def create(path: str | Path, settings: Settings) -> Datapool:
    """Make an empty pool in the folder `path`.

    Raises PoolExists, and what is wrong with the settings or their plugins; then nothing is left behind.
    """
    path = Path(os.path.realpath(path))
    check_free(path)
    _check_places(settings)
    make("sampler", settings.sampler)
    embedder: Embedder = make("embedder", settings.embedder, device=settings.device)
    checkpoint = Checkpoint.of(settings.embedder.name, settings.embedder.options, embedder)
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_workshops(path)
    _clear_half_moved(path)
    # Made beside its place and moved there whole: a folder is a pool, or it is not there.
    prefix = f".{path.name}.{_HERE}-{os.getpid()}."
    with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent, ignore_cleanup_errors=True) as workshop:
        made = Path(workshop) / "pool"
        made.mkdir()
        settings.write(made)
        checkpoint.write(made / CHECKPOINT_NAME)
        Datapool.create(made, checkpoint.dim, checkpoint.fingerprint).refresh_csv()
        try:
            _move(made, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise PoolExists(f"{path} was made by another command at the same time; give the command again") from error
    return Datapool.open(path)


def _move(made: Path, path: Path) -> None:
    if not path.exists():
        made.replace(path)
        sync(path.parent)
        return
    # It is empty, and perhaps somebody stands in it. Folders go first, for none can be moved over that of another
    # command; the mark of a pool comes last.
    parts = sorted(made.iterdir(), key=lambda part: (part.name == SETTINGS_NAME, part.is_file(), part.name))
    moving = path / f"{_MOVING}.{_HERE}-{os.getpid()}"
    moving.touch()
    sync(path)
    try:
        for part in parts:
            part.replace(path / part.name)
        sync(path)
    except BaseException:
        for part in [part for part in parts if not part.exists()]:
            _remove(path / part.name)
        raise
    finally:
        moving.unlink()


def _clear_half_moved(path: Path) -> None:
    """Take away the parts of a pool whose maker was cut off while it moved them into the folder `path`."""
    for moving in _half_moved(path):
        for name in () if is_pool(path) else _PARTS:
            _remove(path / name)
        moving.unlink()


def _half_moved(path: Path) -> list[Path]:
    """The files that say that processes of this machine that are gone were moving a pool into the folder `path`."""
    marks = path.glob(f"{_MOVING}.{glob.escape(_HERE)}-*")
    return [mark for mark in marks if is_gone(mark.name.rpartition("-")[2])]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _clear_workshops(path: Path) -> None:
    """Take away what processes of this machine that are gone have left of pools called `path` in the making."""
    for workshop in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(_HERE)}-*.*"):
        if is_gone(workshop.name.rpartition("-")[2].partition(".")[0]):
            shutil.rmtree(workshop, ignore_errors=True)


def discard(path: Path) -> None:
    """Take away a pool that nothing has come of, unless another command is at it; the folder stays, empty."""
    with suppress(PoolLocked), writing(path):
        pool = Datapool.open(path)
        if pool.version.number or len(pool.ledger):
            return
        for part in sorted(path.iterdir(), key=lambda part: part.name != SETTINGS_NAME):  # without these it is none
            _remove(part)


def _check_places(settings: Settings) -> None:
    """Raise SourceNotFound for a path in the settings that leads nowhere."""
    for place in (*settings.inputs, *([settings.filenames] if settings.filenames else [])):
        if not place.exists():
            raise SourceNotFound(f"input {place} does not exist; give a folder, an image or a video")
    annotations = {"metadata": settings.metadata, "predictions": settings.predictions, "scores": settings.scores}
    for name, path in annotations.items():
        if path is not None and not path.exists():
            raise SourceNotFound(f"{name} {path} does not exist; give the file or folder that holds them")


@contextmanager
def opened_for_writing(path: Path, wait: Wait | None = None) -> Iterator[Datapool]:
    """The newest version of a pool, locked, with whatever an interrupted command left half done completed."""
    recover(path, wait)
    Datapool.open(path)
    with writing(path, wait):
        _clear_workshops(path)
        _clear_half_moved(path)
        pool = Datapool.open(path)
        repair(pool)
        if not (path / CHECKPOINT_NAME).exists():
            _checkpoint(pool)
        yield pool


def embedder_of(pool: Datapool, settings: Settings) -> Embedder:
    """The embedder that made the pool's embeddings, if it is the one that `settings` ask for.

    Raises EmbedderMismatch where it is another one.
    """
    wanted: Embedder = make("embedder", settings.embedder, device=settings.device)
    own_name = Settings.read(pool.path).embedder.name
    if settings.embedder.name == own_name and _needs_nothing(pool, wanted):
        return wanted
    checkpoint = _checkpoint(pool)
    made_by = PluginChoice(checkpoint.embedder, checkpoint.options)
    if is_file(made_by.name) and made_by.name not in {settings.embedder.name, own_name}:
        raise EmbedderMismatch(  # told without running what nobody asked for
            f"{pool.path} was embedded by {made_by.name}, which its settings do not name;"
            f" if you trust that file, name it in {pool.path / SETTINGS_NAME}"
        )
    own: Embedder = make("embedder", made_by)
    if same_results(wanted, own):
        return checkpoint.restored(wanted)
    if type(wanted) is not type(own):  # told without loading a model for it
        raise EmbedderMismatch(
            f"{pool.path} was embedded by {described(made_by)} ({pool.version.fingerprint}), this run asks for"
            f" {described(settings.embedder)}: distances between two embedders mean nothing;"
            " leave it out, or make a new pool"
        )
    _verify(pool, made_by, settings.embedder, wanted)
    return wanted


def _needs_nothing(pool: Datapool, embedder: Embedder) -> bool:
    """True for an embedder without weights that made the pool: to read the checkpoint would only import torch."""
    is_own = not has_weights(embedder) and embedder.fingerprint == pool.version.fingerprint
    return is_own and is_intact(pool.path / CHECKPOINT_NAME)


def _checkpoint(pool: Datapool) -> Checkpoint:
    """The pool's checkpoint; made anew where it is missing, damaged or of another pool."""
    path = pool.path / CHECKPOINT_NAME
    with suppress(CorruptPool):
        checkpoint = Checkpoint.read(path)
        if checkpoint.fingerprint == pool.version.fingerprint:
            return checkpoint
    own = Settings.read(pool.path).embedder
    embedder: Embedder = make("embedder", own)
    _verify(pool, own, own, embedder)
    checkpoint = Checkpoint.of(own.name, own.options, embedder)
    checkpoint.write(path)
    return checkpoint


def _verify(pool: Datapool, own: PluginChoice, asked: PluginChoice, embedder: Embedder) -> None:
    if embedder.fingerprint != pool.version.fingerprint:
        raise EmbedderMismatch(
            f"{pool.path} was embedded by {described(own)} ({pool.version.fingerprint}), this run asks for"
            f" {described(asked)} ({embedder.fingerprint}): distances between two embedders mean nothing;"
            " leave it out, or make a new pool"
        )


def described(choice: PluginChoice) -> str:
    """A plugin choice in words."""
    options = ", ".join(f"{key}={_in_words(value)}" for key, value in choice.options.items())
    return f"{choice.name} ({options})" if options else choice.name


def _in_words(value: Any) -> str:
    """The value of an option; strategies by what they are of, their details are in the settings."""
    if not isinstance(value, list | tuple) or not all(isinstance(table, Mapping) for table in value):
        return str(value)
    try:
        return " × ".join(map(str, parsed_strategies(value)))
    except SettingsError:
        return f"{len(value)} tables"
