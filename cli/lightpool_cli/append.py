"""`lightpool append`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lightpool_cli import console, options

if TYPE_CHECKING:
    from lightpool_core import Pace, Report


def append(
    pool: options.Pool,
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
    process_all: Annotated[
        bool, typer.Option("--process-all", help="Look at files again that were processed before.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Choose, but change nothing in the pool.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the newly chosen samples there as images, named as in the CSV."),
    ] = None,
    device: options.Device = None,
    timeout: options.Timeout = None,
    max_megapixels: options.MaxMegapixels = None,
    follow_links: options.FollowLinks = False,
    keep_embeddings: options.KeepEmbeddings = False,
    no_keep_history: options.NoKeepHistory = False,
    no_wait: options.NoWait = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Grow a datapool by what is new in its inputs.

    Without options it repeats the pool's settings: the same command after every delivery. Options hold for
    this run; where there is no pool yet, they make it and become its settings. A second input is combined
    into the pool of the first by appending it.

    \b
    Examples:
      lightpool append --pool my_datapool
      lightpool append --pool my_datapool --input ~/other_dataset --n-samples 500
      lightpool append --pool my_datapool --dry-run --json
    """
    from lightpool_core import Mode
    from lightpool_core import append as run

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
        keep_embeddings=keep_embeddings or None,
        keep_history=False if no_keep_history else None,
    )
    with console.progress(quiet) as progress:
        wait = None if no_wait else console.waiting(quiet)
        report = run(pool, wanted, Mode(process_all, dry_run, output, wait), progress)
    if json:
        console.json_result(report.to_dict())
    elif not quiet:
        console.pairs(_summary(report))


def _summary(report: Report) -> Iterator[tuple[str, object]]:
    sources, samples = report.sources, report.samples
    yield "datapool", f"{report.pool}, version {report.version}, {report.pool_size} samples"
    if report.dry_run:
        yield "dry run", "nothing was written; sizes are as if it had been"
    yield (
        "sources",
        f"{sources.new} new ({sources.processed} processed, {sources.duplicates} duplicates,"
        f" {sources.corrupt} corrupt), {sources.skipped} seen before",
    )
    all_of_it = f"in {report.pool}/runs/{report.run}/report.json" if report.run else "--json shows all"
    for problem in report.corrupt[:_SHOWN]:
        yield "  corrupt", f"{problem.filename}: {problem.reason}"
    if len(report.corrupt) > _SHOWN:
        yield "", f"and {len(report.corrupt) - _SHOWN} more, {all_of_it}"
    for problem in report.cut_short[:_SHOWN]:
        yield "  cut short", f"{problem.filename}: {problem.reason}"
    if len(report.cut_short) > _SHOWN:
        yield "", f"and {len(report.cut_short) - _SHOWN} more, {all_of_it}"
    if not sources.new:
        yield "", "nothing new: the pool is as it was"
        return
    yield "candidates", f"{samples.candidates}, and {samples.duplicates} duplicates of known pictures"
    yield "selected", f"{samples.selected} by {report.sampler}, {_stop(report)}"
    yield from console.achieved(report.achieved, all_of_it)
    if samples.candidates and not samples.selected:
        whole = f", or no video has {report.sequence_length} frames in a row" if report.sequence_length else ""
        limited = report.achieved or report.max_per or report.min_seconds is not None
        yield "", f"nothing {'meets the conditions' if limited else 'differs enough'}{whole}: no new version"
    yield from _pace(report.pace)
    yield "seconds", ", ".join(f"{name} {seconds:.1f}" for name, seconds in report.seconds.items())


def _pace(pace: Pace) -> Iterator[tuple[str, object]]:
    if pace.pictures_per_second:
        yield "embedded", f"{pace.pictures_per_second:g} pictures/s, waiting for {_WAITED_FOR[pace.bottleneck]}"
    if pace.known:
        yield "", f"{pace.known} pictures were embedded before"
    if pace.by_key_frames:
        yield "", f"videos by key frames alone, for all that were to be sampled are key frames: {pace.by_key_frames}"


_WAITED_FOR = {"decode": "decoding", "prepare": "preparing", "embed": "the embedder"}
_SHOWN = 10


def _stop(report: Report) -> str:
    conditions = []
    if report.n_samples is not None:
        conditions.append(f"n_samples {report.n_samples}")
    if report.min_distance is not None:
        origin = f" (near-duplicate distance of {report.embedder})" if report.min_distance_from == "embedder" else ""
        conditions.append(f"min_distance {report.min_distance:g}{origin}")
    if report.min_seconds is not None:
        conditions.append(f"min_seconds {report.min_seconds:g}")
    conditions += [f"max_per {key} {most}" for key, most in report.max_per.items()]
    if report.sequence_length is not None:
        conditions.append(f"sequence_length {report.sequence_length}")
    return ", ".join(conditions)
