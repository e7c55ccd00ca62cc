"""`lightpool init`."""

from __future__ import annotations

from lightpool_cli import console, options


def init(
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
    timeout: options.Timeout = None,
    max_megapixels: options.MaxMegapixels = None,
    follow_links: options.FollowLinks = False,
    keep_embeddings: options.KeepEmbeddings = False,
    no_keep_history: options.NoKeepHistory = False,
) -> None:
    """Make an empty datapool and write its settings to datapool.toml.

    The embedder is for life: the embeddings of a pool can only be compared if one embedder made them all.
    Everything else can be changed later in datapool.toml.

    \b
    Examples:
      lightpool init --pool my_datapool --input ~/videos
      lightpool init --pool my_datapool --input ~/videos --embedder gist --min-distance 0.3
    """
    from lightpool_core import Settings, create

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
        keep_embeddings=keep_embeddings or None,
        keep_history=False if no_keep_history else None,
    )
    made = create(pool, wanted.over(Settings()))
    console.lines([f"made an empty datapool in {made.path}; grow it with: lightpool append --pool {made.path}"])
