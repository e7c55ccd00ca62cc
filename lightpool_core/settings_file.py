"""`datapool.toml` as plain values: which keys there are, and of which types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightpool_core.errors import SettingsError
from lightpool_core.replacing import replacing

SETTINGS_NAME = "datapool.toml"
_HEAD = """Settings of this datapool: what `lightpool append` does when it is given no options.
Edit freely, except for the embedder: the embeddings of a pool are made by one embedder for life."""
_TYPES: dict[str, tuple[type, ...]] = {
    "inputs": (list,),
    "filenames": (str,),
    "metadata": (str,),
    "predictions": (str,),
    "scores": (str,),
    "embedder": (dict,),
    "sampler": (dict,),
    "n_samples": (int, float),
    "min_distance": (int, float),
    "min_seconds": (int, float),
    "max_per": (dict,),
    "compute_metadata": (bool,),
    "sequence_length": (int,),
    "fps": (int, float, str),
    "seed": (int,),
    "keep_history": (bool,),
    "csv": (bool,),
    "timeout": (int, float),
    "max_megapixels": (int, float),
    "keep_embeddings": (bool,),
    "follow_links": (bool,),
    "soft_lock": (bool,),
}


def write_plain(pool: Path, plain: Mapping[str, Any]) -> None:
    """Replace the settings file in the folder `pool`, atomically."""
    import tomlkit

    document = tomlkit.document()
    for line in _HEAD.splitlines():
        document.add(tomlkit.comment(line))
    for key, value in plain.items():
        document.add(key, _item(value))
    with replacing(pool / SETTINGS_NAME) as path:
        path.write_text(tomlkit.dumps(document), encoding="utf-8")


def _item(value: Any) -> Any:
    """`value` for tomlkit; a list of tables as a table each, and what is in them on a line."""
    import tomlkit

    if isinstance(value, Mapping):
        table = tomlkit.table()
        for key, entry in value.items():
            table.add(key, _item(entry))
        return table
    if isinstance(value, list | tuple) and value and all(isinstance(entry, Mapping) for entry in value):
        tables = tomlkit.aot()
        for entry in value:
            tables.append(tomlkit.item({key: _on_a_line(part) for key, part in entry.items()}))
        return tables
    return tomlkit.item(list(value) if isinstance(value, tuple) else value)


def _on_a_line(value: Any) -> Any:
    import tomlkit

    if not isinstance(value, Mapping):
        return value
    table = tomlkit.inline_table()
    for key, entry in value.items():
        table.add(key, _on_a_line(entry))
    return table


def read_plain(pool: Path) -> dict[str, Any]:
    """What the settings file in the folder `pool` says. Raises SettingsError where a key or type is not known."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    if (pool / SETTINGS_NAME).is_symlink():
        raise SettingsError("is a link, and a datapool keeps everything in its own folder; put a copy in its place")
    try:
        plain: dict[str, Any] = tomlkit.parse((pool / SETTINGS_NAME).read_text(encoding="utf-8")).unwrap()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise SettingsError(f"cannot be read: {' '.join(str(error).split())}; mend the file") from error
    for key, value in plain.items():
        if key not in _TYPES:
            raise SettingsError(f"there is no setting {key!r}; the settings are {', '.join(_TYPES)}")
        if not isinstance(value, _TYPES[key]) or (isinstance(value, bool) and bool not in _TYPES[key]):
            wanted = " or ".join(kind.__name__ for kind in _TYPES[key])
            raise SettingsError(f"{key} = {value!r} should be of type {wanted}")
    if not all(isinstance(path, str) for path in plain.get("inputs", ())):
        raise SettingsError(f"inputs = {plain['inputs']} should be a list of paths, each in quotes")
    return plain
