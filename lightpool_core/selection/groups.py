"""Which samples are of one group: frames of one video, pictures of one folder, one label, one value of metadata.

N: samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from lightpool_core.annotations import Annotations
from lightpool_core.arrays import Labels
from lightpool_core.errors import SettingsError
from lightpool_core.media.source import SampleRef, is_normal, video_of

BY_ITSELF = frozenset(("video", "folder", "label"))
"""Keys that need no metadata."""


def groups_of(key: str, refs: Sequence[SampleRef], labels: Labels | None, annotations: Annotations) -> list[Any]:
    """The group of each of N samples by `key`, None where it has none.

    `key` is `video`, `folder`, `label` or a key of the metadata. An image that is called as frames are counts as one.
    Raises SettingsError for another key.
    """
    if key == "video":
        return [ref.source if ref.frame is not None else video_of(ref.filename) for ref in refs]
    if key == "folder":
        return [folder_of(ref.source) for ref in refs]
    column = annotations.metadata.get(key)
    if column is None and key == "label":
        column = annotations.metadata.get("weak_label") if labels is None else labels
    if column is None:
        known = ", ".join([*sorted(BY_ITSELF), *sorted(annotations.metadata.keys() - BY_ITSELF)])
        raise SettingsError(f"{key}: these samples have no metadata of that name; there are {known}")
    return [None if value is None or value != value else value for value in column.tolist()]  # noqa: PLR0124  # NaN


def folder_of(source: str) -> str:
    """The folder of a source called `source`, `.` where it is in none."""
    folder = source.rpartition("/")[0] or "."
    return folder if is_normal(source) else PurePosixPath(source).parent.as_posix()
