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
    n_samples: options.NSamples = None,
    min_distance: options.MinDistance = None,
    fps: options.Fps = None,
    seed: options.Seed = None,
    timeout: options.Timeout = None,
    max_megapixels: options.MaxMegapixels = None,
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

    plugins = (embedder, embedder_options, sampler, sampler_options)
    stop, limits = (n_samples, min_distance), (timeout, max_megapixels)
    wanted = options.overrides(
        inputs, filenames, plugins, stop, fps, seed, no_keep_history, limits=limits, keep_embeddings=keep_embeddings
    )
    made = create(pool, wanted.over(Settings()))
    console.lines([f"made an empty datapool in {made.path}; grow it with: lightpool append --pool {made.path}"])
