"""What `lightpool select --split` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightpool_cli import console

if TYPE_CHECKING:
    from lightpool_core import Overrides, Split


def divided(
    shares: str,
    pool: Path | None,
    embeddings: Path | None,
    wanted: Overrides,
    group_by: list[str],
    keep: Path | None,
    quiet: bool,
) -> Split:
    """Divide everything, with a progress display."""
    from lightpool_core import split as run
    from lightpool_core.selection.shares import Shares

    parsed = Shares.parse(shares).wanted
    with console.progress(quiet) as progress:
        return run(parsed, pool, embeddings, wanted, group_by=group_by, keep=keep, progress=progress)


def show(divided: Split, output: Path | None, json: bool, quiet: bool) -> None:
    """Write the split to `output`, where that is given, and show it."""
    for warning in () if quiet else divided.warnings:
        console.say(f"warning: {warning}")
    if output:
        divided.write_csv(output)
    if json:
        console.json_text(divided.to_json())
    elif not (quiet and output):
        rows = [
            (part.name, f"{part.wanted:.1%}", f"{part.share:.1%}", part.samples, part.groups) for part in divided.parts
        ]
        console.table(("split", "wanted", "share", "samples", "groups"), rows)


def refuse_idle_options(
    shares: str | None,
    group_by: list[str] | None,
    keep: Path | None,
    curve: bool,
    embeddings: Path | None,
    output: Path | None,
    all_rows: bool | None,
) -> None:
    """Raise SettingsError for an option of `select` that would change nothing."""
    from lightpool_core.errors import SettingsError

    if shares is None and (group_by or keep):
        raise SettingsError(f"{'--group' if group_by else '--keep'} is for a split; give --split NAME=SHARE,… as well")
    if shares is not None and curve:
        raise SettingsError("--split divides everything, and --curve shows a choice; give one of them")
    if all_rows is not None and (shares is not None or not output):
        name = "--all-rows" if all_rows else "--chosen-rows"
        raise SettingsError(f"{name} says what --output writes of a choice; give --output FILE, or leave it out")
    if all_rows and (embeddings is None or embeddings.suffix == ".npy"):
        raise SettingsError("--all-rows writes a .csv or .parquet file back; give one as --embeddings FILE")
