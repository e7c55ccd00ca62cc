"""`lightpool plugins`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lightpool_cli import console, options

if TYPE_CHECKING:
    from lightpool_core.registry import PluginInfo, PluginOption


def plugins(json: options.Json = False) -> None:
    """List the installed embedders and samplers with their options.

    \b
    Example:
      lightpool plugins
    """
    from lightpool_core.registry import installed

    found = installed()
    if json:
        console.json_result([_to_dict(plugin) for plugin in found])
        return
    rows = [(p.name, p.kind, p.distribution, _options(p), p.error or p.description) for p in found]
    console.table(("name", "kind", "from", "options", "what it does"), rows)


def _options(plugin: PluginInfo) -> list[str]:
    return [*map(_shown, plugin.options)]


def _shown(option: PluginOption) -> str:
    from lightpool_core.registry import TABLES

    if option.type == TABLES:
        return f"{option.name} (a {TABLES})"
    return option.name if option.required else f"{option.name}={option.default}"


def _to_dict(plugin: PluginInfo) -> dict[str, object]:
    return dataclasses.asdict(plugin)
