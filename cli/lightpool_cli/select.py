"""`lightpool select`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lightpool_cli import console, options


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
    n_samples: options.NSamples = None,
    min_distance: options.MinDistance = None,
    fps: options.Fps = None,
    seed: options.Seed = None,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an embeddings CSV of the choice.")] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Pick samples without growing a pool.

    Prints names in pick order. From a pool, the most diverse of what is in it. From a file of embeddings or
    from raw inputs, what adds most to the pool, if one is given. Without a stopping condition everything is
    ranked, the most different first; raw inputs stop like an append. For a .npy file, row numbers are printed.

    \b
    Examples:
      lightpool select --pool my_datapool --n-samples 100
      lightpool select --embeddings embeddings.csv --min-distance 0.2 --output chosen.csv
      lightpool select --pool my_datapool --input ~/new_videos --json
    """
    from lightpool_core import select as run

    plugins = (embedder, embedder_options, sampler, sampler_options)
    wanted = options.overrides(inputs, filenames, plugins, (n_samples, min_distance), fps, seed)
    with console.progress(quiet) as progress:
        picks = run(pool, embeddings, wanted, progress)
    for problem in () if quiet else picks.corrupt:
        typer.echo(f"corrupt: {problem.filename}: {problem.reason}", err=True)
    if output:
        picks.write_csv(output)
    if json:
        console.lines([picks.to_json()])
    elif not (quiet and output):
        console.lines(picks.filenames)
