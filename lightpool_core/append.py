"""The run, top to bottom: what is new in the inputs joins the pool if it adds something."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lightpool_core.errors import SettingsError
from lightpool_core.media.export import write_samples
from lightpool_core.media.inputs import list_sources
from lightpool_core.media.source import Source
from lightpool_core.opening import create, described, embedder_of, is_pool, opened_for_writing
from lightpool_core.pool.datapool import Datapool
from lightpool_core.pool.history import Version, now
from lightpool_core.pool.ledger import Outcome, rows_of
from lightpool_core.pool.runs import Run
from lightpool_core.progress import SILENT, Progress
from lightpool_core.proposal import Members, Method, Proposal, choose, embed
from lightpool_core.registry import make
from lightpool_core.report import Problem, Report, SampleCounts, SourceCounts, Stopwatch
from lightpool_core.selection.sampler import Stop
from lightpool_core.settings import Overrides, Settings
from lightpool_core.triage import Triage, nothing_known, triage


@dataclass(frozen=True, slots=True)
class Mode:
    """How a run differs from a plain one."""

    process_all: bool = False
    """Look at sources again that the ledger knows."""
    dry_run: bool = False
    """Choose, and write nothing."""
    output: Path | None = None
    """A folder where the newly chosen samples are written as images."""


def append(
    path: str | Path,
    overrides: Overrides | None = None,
    mode: Mode | None = None,
    progress: Progress = SILENT,
) -> Report:
    """Grow the pool in the folder `path` by what is new in its inputs; make it first if there is none.

    `overrides` hold for this run; where they make the pool, they become its settings. Raises LightpoolError
    with nothing changed.
    """
    path, overrides, mode = Path(path), overrides or Overrides(), mode or Mode()
    settings = overrides.over(Settings.read(path) if is_pool(path) else Settings())
    clock = Stopwatch()
    with clock("listing"):
        sources = _sources(settings, progress)
    if is_pool(path):
        return _append(path, settings, sources, mode, progress, clock)
    if mode.dry_run:
        with tempfile.TemporaryDirectory() as nowhere:
            create(Path(nowhere) / "pool", settings)
            return _append(Path(nowhere) / "pool", settings, sources, mode, progress, clock)
    create(path, settings)
    return _append(path, settings, sources, mode, progress, clock)
