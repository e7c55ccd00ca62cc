"""`lightpool select`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightpool_cli import console, options
from lightpool_cli import split as splits

if TYPE_CHECKING:
    from lightpool_core import Curve, Overrides
    from lightpool_core.report import Problem


def select(
    pool: options.OptionalPool = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Select from this .csv, .parquet or .npy of embeddings."),
    ] = None,
    inputs: options.Inputs = None,
    filenames: options.Filenames = None,
    embedder: options.Embedder = None,
    embedder_options: options.EmbedderOptions = None,
    sampler: options.Sampler = None,
    sampler_options: options.SamplerOptions = None,
    config: options.Config = None,
    n_samples: options.NSamples = None,
    min_distance: options.MinDistance = None,
    min_seconds: options.MinSeconds = None,
    max_per: options.MaxPer = None,
    metadata: options.Metadata = None,
    predictions: options.Predictions = None,
    scores: options.Scores = None,
    compute_metadata: options.ComputeMetadata = False,
    sequence_length: options.SequenceLength = None,
    fps: options.Fps = None,
    seed: options.Seed = None,
    device: options.Device = None,
    timeout: options.Timeout = None,
    max_megapixels: options.MaxMegapixels = None,
    follow_links: options.FollowLinks = False,
    curve: Annotated[
        bool, typer.Option("--curve", help="Show how many samples each min-distance would keep, instead of choosing.")
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=SHARE,…", help="Divide everything by such shares (train=0.8,val=0.2), instead of choosing."
        ),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="Split: keep together what has the same video, folder, label or metadata; may be repeated.",
        ),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Split: leave samples where the CSV of an earlier one has them.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an embeddings CSV of the choice, or the split as a CSV.")
    ] = None,
    all_rows: Annotated[
        bool | None,
        typer.Option(
            "--all-rows/--chosen-rows",
            help="Write every row of --embeddings, with columns masked and selected, or the chosen rows alone. "
            "[default: every row, if the file has one of these columns]",
        ),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Pick samples without growing a pool.

    Prints names in pick order. From a pool, the most diverse of what is in it. From a file of embeddings or
    from raw inputs, what adds most to the pool, if one is given. Without a stopping condition everything is
    ranked, the most different first; raw inputs stop like an append. For a .npy file, row numbers are printed.

    With --curve, everything is ranked once and shown as kept-count against distance: read off what to give as
    --min-distance or --n-samples. A stopping condition ends the curve early.

    With --split, nothing is chosen: every sample of a pool, or of a file, comes into one of the splits, and samples
    closer than --min-distance, or of one --group, come into the same.

    \b
    Examples:
      lightpool select --pool my_datapool --n-samples 100
      lightpool select --embeddings embeddings.csv --min-distance 0.2 --output chosen.csv
      lightpool select --pool my_datapool --input ~/new_videos --json
      lightpool select --pool my_datapool --input ~/new_videos --curve
      lightpool select --pool my_datapool --split train=0.8,val=0.2 --group video --output split.csv
    """
    from lightpool_core import select as run
    from lightpool_core.all_rows import check_columns

    wanted = options.overrides(
        inputs=inputs,
        filenames=filenames,
        embedder=embedder,
        embedder_options=embedder_options,
        sampler=sampler,
        sampler_options=sampler_options,
        config=config,
        n_samples=n_samples,
        min_distance=min_distance,
        min_seconds=min_seconds,
        max_per=max_per,
        metadata=metadata,
        predictions=predictions,
        scores=scores,
        compute_metadata=compute_metadata or None,
        sequence_length=sequence_length,
        fps=fps,
        seed=seed,
        timeout=timeout,
        max_megapixels=max_megapixels,
        follow_links=follow_links or None,
        device=device,
    )
    splits.refuse_idle_options(split, group, keep, curve, embeddings, output, all_rows)
    if split is not None:
        divided = splits.divided(split, pool, embeddings, wanted, group or [], keep, quiet)
        splits.show(divided, output, json, quiet)
        return
    if curve:
        _curve(pool, embeddings, wanted, output, json, quiet)
        return
    if output and embeddings:
        check_columns(embeddings, all_rows=all_rows)  # before the choice, which would be lost
    with console.progress(quiet) as progress:
        picks = run(pool, embeddings, wanted, progress)
    _tell(() if quiet else picks.corrupt)
    for name, text in () if quiet or json else console.achieved(picks.achieved, "--json shows all"):
        console.say(f"{name:8}  {text}")
    if output:
        picks.write_csv(output, all_rows=all_rows)
    if json:
        console.json_text(picks.to_json())
    elif not (quiet and output):
        console.names(picks.filenames)


def _curve(
    pool: Path | None, embeddings: Path | None, wanted: Overrides, output: Path | None, json: bool, quiet: bool
) -> None:
    from lightpool_core import curve as run
    from lightpool_core.errors import SettingsError

    if output:
        raise SettingsError("--output writes a choice, and --curve makes none; give one of them")
    with console.progress(quiet) as progress:
        curve = run(pool, embeddings, wanted, progress)
    _tell(() if quiet else curve.corrupt)
    if json:
        console.json_text(curve.to_json())
    else:
        _draw(curve)


def _draw(curve: Curve) -> None:
    """The table is the plot: one bar per row reads well in a log, too, and needs no plotting library."""
    title = f"{curve.candidates} candidates"
    if curve.kept_before:
        title += f", beside {curve.kept_before} that are kept already"
    if curve.ranked < curve.candidates:
        title = f"the first {curve.ranked} of {title}"
    digits = len(str(curve.ranked))
    rows = [
        (
            f"{point.min_distance:g}",
            f"{point.kept:>{digits}}",
            f"{point.kept / curve.candidates:>6.1%}",
            console.bar(point.kept, curve.ranked),
        )
        for point in curve.points()
    ]
    console.table(("min_distance", "kept", "share", ""), rows, title=title)


def _tell(corrupt: Iterable[Problem]) -> None:
    for problem in corrupt:
        console.say(f"corrupt: {problem.filename}: {problem.reason}")
