"""The engine of lightpool: knows no terminal and imports no plugin."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightpool_core.appending import Mode, append
    from lightpool_core.candidates import Candidates
    from lightpool_core.curves import Curve
    from lightpool_core.embedding.embedder import Embedder, WeightedEmbedder
    from lightpool_core.errors import LightpoolError
    from lightpool_core.opening import create
    from lightpool_core.pool.datapool import Datapool
    from lightpool_core.pool.history import Version
    from lightpool_core.pool.why import Decision
    from lightpool_core.report import Pace, Report
    from lightpool_core.selecting import curve, select
    from lightpool_core.selection.sampler import PoolView, Sampler, Selection
    from lightpool_core.selection.stop import Stop
    from lightpool_core.settings import Overrides, PluginChoice, Settings
    from lightpool_core.splitting import Split, split

# Imported at first use: `lightpool --help` must not wait for numpy and its friends.
_HOMES = {
    "Candidates": "candidates",
    "Curve": "curves",
    "Datapool": "pool.datapool",
    "Decision": "pool.why",
    "Embedder": "embedding.embedder",
    "LightpoolError": "errors",
    "Mode": "appending",
    "Overrides": "settings",
    "PluginChoice": "settings",
    "PoolView": "selection.sampler",
    "Pace": "report",
    "Report": "report",
    "Sampler": "selection.sampler",
    "Selection": "selection.sampler",
    "Settings": "settings",
    "Split": "splitting",
    "Stop": "selection.stop",
    "Version": "pool.history",
    "WeightedEmbedder": "embedding.embedder",
    "append": "appending",
    "create": "opening",
    "curve": "selecting",
    "select": "selecting",
    "split": "splitting",
}
__all__ = [
    "Candidates",
    "Curve",
    "Datapool",
    "Decision",
    "Embedder",
    "LightpoolError",
    "Mode",
    "Overrides",
    "Pace",
    "PluginChoice",
    "PoolView",
    "Report",
    "Sampler",
    "Selection",
    "Settings",
    "Split",
    "Stop",
    "Version",
    "WeightedEmbedder",
    "append",
    "create",
    "curve",
    "select",
    "split",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
