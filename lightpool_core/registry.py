"""Plugins by name: entry points, or a class in a file. The only place that knows how they are looked up."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from lightpool_core.errors import ContractViolation, PluginUnavailable, SettingsError, UnknownPlugin
from lightpool_core.settings import PluginChoice

Kind = Literal["embedder", "sampler"]

TABLES = "list of tables"
"""The type of an option that a settings file can hold and a command line cannot."""
_GROUPS: dict[Kind, str] = {"embedder": "lightpool.embedders", "sampler": "lightpool.samplers"}


@dataclass(frozen=True, slots=True)
class PluginOption:
    """One field of a plugin."""

    name: str
    type: str
    default: Any
    """None where it is required."""
    required: bool = False


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What `lightpool plugins` shows of a plugin."""

    name: str
    kind: Kind
    distribution: str
    description: str = ""
    options: tuple[PluginOption, ...] = ()
    error: str = ""
    """Why it cannot be used; empty where it can."""


def names(kind: Kind) -> list[str]:
    """The names of all installed plugins of that kind, sorted; imports none of them."""
    return sorted({point.name for point in _entry_points(kind)})


def installed() -> list[PluginInfo]:
    """Every installed plugin; one that cannot be imported says why."""
    return [_info(kind, point) for kind in _GROUPS for point in sorted(_entry_points(kind), key=lambda p: p.name)]


def make(kind: Kind, choice: PluginChoice, *, device: str = "auto") -> Any:
    """The plugin of that name, with its options; its option `device` is `device` where the choice leaves it open.

    Raises UnknownPlugin, PluginUnavailable, and SettingsError for an option that it does not have or cannot take.
    """
    plugin = _load(kind, choice.name)
    if not (inspect.isclass(plugin) and is_dataclass(plugin)):
        raise ContractViolation(f"{kind} {choice.name} is no dataclass; see docs/plugins.md for what a plugin is")
    known = {option.name: option for option in _option_fields(plugin)}
    hints = typing.get_type_hints(plugin)
    values = {"device": device} if device != "auto" and "device" in known else {}
    for name, value in choice.options.items():
        if name not in known:
            has = f"its options are {', '.join(known)}" if known else "it has none"
            raise SettingsError(f"{kind} {choice.name} has no option {name!r}; {has}")
        values[name] = _converted(f"option {name} of {kind} {choice.name}", value, hints[name])
    missing = [name for name, option in known.items() if _default(option) is MISSING and name not in values]
    if missing:
        way = "it comes with --config FILE" if _is_tables(hints[missing[0]]) else f"give it as {missing[0]}=VALUE"
        raise SettingsError(f"{kind} {choice.name} needs the option {missing[0]}; {way}")
    return plugin(**values)


def same_results(one: Any, other: Any) -> bool:
    """True if two plugins differ at most in fields that leave results as they are (`metadata["runtime"]`)."""
    if type(one) is not type(other):
        return False
    decisive = [f.name for f in _option_fields(one) if not f.metadata.get("runtime")]
    return all(getattr(one, name) == getattr(other, name) for name in decisive)


def is_file(name: str) -> bool:
    """True for the name of a plugin of the form `my_file.py:MySampler`: to make it is to run that file."""
    return name.rpartition(":")[0].endswith(".py")


def _load(kind: Kind, name: str) -> Any:
    if is_file(name):
        file, _, attribute = name.rpartition(":")
        return _load_from_file(Path(file), attribute)
    for point in _entry_points(kind):
        if point.name == name:
            try:
                return point.load()
            # A stranger's module may raise anything while it is imported.
            except Exception as error:
                raise PluginUnavailable(f"{kind} {name} ({_origin(point)}) cannot be used: {_line(error)}") from error
    close = difflib.get_close_matches(name, names(kind), n=1)
    hint = f"did you mean {close[0]}?" if close else f"installed are {', '.join(names(kind))}"
    raise UnknownPlugin(f"there is no {kind} {name!r}; {hint}")


def _load_from_file(file: Path, attribute: str) -> Any:
    if not file.is_file():
        raise UnknownPlugin(f"plugin file {file} does not exist; the form is path/to/file.py:ClassName")
    module = _module_from_file(file)
    if not hasattr(module, attribute):
        raise UnknownPlugin(f"plugin file {file} has no class {attribute}; the form is path/to/file.py:ClassName")
    return getattr(module, attribute)


def _module_from_file(file: Path) -> types.ModuleType:
    """The module in `file`, run once per state of the file: two of its plugins must be of one class."""
    state = f"{file} {file.stat().st_mtime_ns} {file.stat().st_size}"
    name = f"lightpool_file_{hashlib.blake2b(state.encode(), digest_size=8).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None  # the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a stranger's module may raise anything while it is imported
        del sys.modules[name]
        raise PluginUnavailable(f"plugin file {file} cannot be used: {_line(error)}") from error
    return module


def _entry_points(kind: Kind) -> tuple[Any, ...]:
    folders = []
    for folder in map(Path, sys.path):
        with suppress(OSError):  # it is not there, or not ours to look into
            folders.append((folder, folder.stat().st_mtime_ns))
    return _scanned(_GROUPS[kind], tuple(folders))


@cache
def _scanned(group: str, folders: tuple[tuple[Path, int], ...]) -> tuple[Any, ...]:
    """What the distributions in `folders` offer, which have been as they are since then."""
    import entrypoints

    return tuple(entrypoints.get_group_all(group, [str(folder) for folder, _ in folders]))


def _origin(point: Any) -> str:
    # Read off the name of a folder, where every - has become _.
    return f"{point.distro.name.replace('_', '-')} {point.distro.version}" if point.distro else "unknown distribution"


def _info(kind: Kind, point: Any) -> PluginInfo:
    try:
        plugin = _load(kind, point.name)
        options = tuple(_option(f, typing.get_type_hints(plugin)[f.name]) for f in _option_fields(plugin))
    except Exception as error:  # whatever is wrong with one plugin must not hide the others
        return PluginInfo(point.name, kind, _origin(point), error=_line(error))
    description = (inspect.getdoc(plugin) or "").partition("\n")[0]
    return PluginInfo(point.name, kind, _origin(point), description, options)


def _option(option: Field[Any], hint: Any) -> PluginOption:
    default = _default(option)
    required = default is MISSING
    return PluginOption(option.name, _type_name(hint), None if required else default, required)


def _option_fields(plugin: Any) -> list[Field[Any]]:
    return [f for f in fields(plugin) if f.init and f.metadata.get("option", True)]


def _default(option: Field[Any]) -> Any:
    return option.default_factory() if option.default_factory is not MISSING else option.default


def _type_name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " | ".join(map(str, typing.get_args(hint)))
    if _is_tables(hint):
        return TABLES
    return hint.__name__ if inspect.isclass(hint) else str(hint).replace("typing.", "")


def _is_tables(hint: Any) -> bool:
    """True for `tuple[Mapping[str, Any], ...]`."""
    inner = typing.get_args(hint)
    return typing.get_origin(hint) is tuple and len(inner) == 2 and typing.get_origin(inner[0]) is Mapping


def _converted(what: str, value: Any, hint: Any) -> Any:
    """`value`, from a command line or a settings file, as the type that the field asks for."""
    choices = typing.get_args(hint)
    if typing.get_origin(hint) is Literal:
        if value not in choices:
            raise SettingsError(f"{what} is {value!r}; it can be {', '.join(map(str, choices))}")
        return value
    if _is_tables(hint):
        if not isinstance(value, list | tuple) or not all(isinstance(table, Mapping) for table in value):
            raise SettingsError(f"{what} is {value!r}; it has to be a {TABLES}, which comes with --config FILE")
        return tuple(value)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(choice for choice in choices if choice is not type(None))
    if hint is bool and isinstance(value, str):
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if value.lower() not in words:
            raise SettingsError(f"{what} is {value!r}; it can be true or false")
        return words[value.lower()]
    convert: Callable[[Any], Any] | None = hint if hint in (int, float, str, Path) else None
    try:
        return convert(value) if convert else value
    except (TypeError, ValueError):
        raise SettingsError(f"{what} is {value!r}; it has to be of type {_type_name(hint)}") from None


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
