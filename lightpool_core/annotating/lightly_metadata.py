"""A folder of Lightly metadata: `schema.json`, and one JSON file about each image, frame or video.

The format: https://docs.lightly.ai/docs/work-with-metadata. N: samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lightpool_core.annotating.asked import Asked
from lightpool_core.annotating.json_files import name_in, read_json, read_sidecars
from lightpool_core.arrays import Array, Rows
from lightpool_core.errors import SourceError

_TYPES = {
    "NUMERIC_INT": float,
    "NUMERIC_FLOAT": float,
    "CATEGORICAL_INT": float,
    "CATEGORICAL_BOOLEAN": bool,
    "CATEGORICAL_STRING": str,
    "CATEGORICAL_DATETIME": str,
    "CATEGORICAL_TIMESTAMP": str,
}


@dataclass(frozen=True, slots=True)
class LightlyMetadata:
    """Such a folder, its schema read."""

    folder: Path
    types: Mapping[str, type]
    """By path, such as `weather.temperature`."""
    defaults: Mapping[str, Any]
    """By path: what holds where nothing is known."""

    @classmethod
    def read(cls, folder: Path) -> LightlyMetadata:
        """The metadata in `folder` or in its `.lightly/metadata`. Raises SourceError naming the file."""
        places = (folder, folder / ".lightly" / "metadata", folder / "metadata")
        place = next((place for place in places if (place / "schema.json").is_file()), folder)
        schema = place / "schema.json"
        types: dict[str, type] = {}
        defaults: dict[str, Any] = {}
        entries = read_json(schema, "metadata schema")
        for entry in entries if isinstance(entries, list) else [entries]:
            if not isinstance(entry, dict) or not isinstance(entry.get("path"), str):
                raise SourceError(f"{schema} is no list of objects with name, path, defaultValue and valueDataType")
            path, kind = entry["path"], entry.get("valueDataType")
            if not isinstance(kind, str) or kind not in _TYPES:
                raise SourceError(f"{schema}: {path} has the valueDataType {kind!r}, not one of {', '.join(_TYPES)}")
            types[path] = _TYPES[kind]
            defaults[path] = _typed(entry.get("defaultValue"), types[path], schema, "defaultValue of", path)
        return cls(place, types, {path: value for path, value in defaults.items() if value is not None})

    def columns_for(self, asked: Asked) -> dict[str, Array]:
        """All that the files say of the samples, (N,) by path; a frame's own file goes before its video's.

        Raises SourceError naming the file, also where the folder knows none of the samples.
        """
        columns: dict[str, Array] = {path: np.full(len(asked), None, dtype=object) for path in self.types}
        known = np.zeros(len(asked), dtype=bool)
        for rows, name, found in self._files(asked):
            known[rows] = True
            for path, value in _leaves(found, ""):
                if path not in columns:
                    columns[path] = np.full(len(asked), None, dtype=object)
                kind = self.types.get(path)
                typed = _typed(value, kind, "metadata of", name, "in", self.folder, path) if kind else value
                if typed is not None:
                    columns[path][rows] = typed
        asked.check_known(
            int(known.sum()), self.folder, None if known.any() or not len(asked) else name_in(self.folder)
        )
        return {path: _as_column(column, self.types.get(path)) for path, column in columns.items()}

    def _files(self, asked: Asked) -> Iterator[tuple[Rows, str, Mapping[str, Any]]]:
        """The samples that a file is about, its name, and its metadata; videos first."""
        for names in (asked.videos, asked.names):
            rows: dict[str, list[int]] = {}
            for row, name in enumerate(names):
                if name is not None:
                    rows.setdefault(name, []).append(row)
            for name, found in zip(rows, read_sidecars(self.folder, tuple(rows)), strict=True):
                if found is not None:
                    metadata = found.get("metadata")
                    if not isinstance(metadata, dict):
                        raise SourceError(f"the file about {name} in {self.folder} has no object 'metadata'")
                    yield np.array(rows[name]), name, metadata


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Path and value of all that is neither an object nor a list."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _leaves(inner, f"{prefix}{key}.")
        elif not isinstance(inner, list):
            yield f"{prefix}{key}", inner


def _typed(value: Any, kind: type, *place: object) -> Any:
    """`value` as `kind`. Raises SourceError naming the `place` where it is something else."""
    if value is None or kind is str:
        return None if value is None else str(value)
    fits = isinstance(value, bool) if kind is bool else isinstance(value, int | float) and not isinstance(value, bool)
    if not fits:
        what = "true or false" if kind is bool else "a number"
        raise SourceError(f"{' '.join(map(str, place))} is {value!r}, but {what} by the schema")
    try:
        return kind(value)
    except OverflowError:
        raise SourceError(f"{' '.join(map(str, place))} is too large a number") from None


def _as_column(values: Array, kind: type | None) -> Array:
    """float64 with NaN, or objects with None; without a `kind`, what all of the `values` are, or else texts."""
    if kind is None:
        kinds = {type(value) for value in values if value is not None}
        kind = float if kinds <= {int, float} else bool if kinds == {bool} else str
        if kind is str:
            return np.array([None if value is None else str(value) for value in values], dtype=object)
    try:
        return values.astype(np.float64) if kind is float else values
    except OverflowError:
        return np.array([None if value is None else str(value) for value in values], dtype=object)
