"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lightpool_core.settings import Overrides


def _embedder_names(incomplete: str) -> list[str]:
    from lightpool_core.registry import names

    return [name for name in names("embedder") if name.startswith(incomplete)]


def _sampler_names(incomplete: str) -> list[str]:
    from lightpool_core.registry import names

    return [name for name in names("sampler") if name.startswith(incomplete)]


def version_numbers(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Completions of a version number, from the pool that the command line names so far."""
    from lightpool_core.errors import LightpoolError
    from lightpool_core.pool.datapool import Datapool

    pool = context.params.get("pool")
    try:
        versions = Datapool.open(pool).history() if pool else []
    except LightpoolError:
        return []
    numbers = [(str(v.number), f"{v.event}, {v.samples} samples") for v in versions]
    return [entry for entry in numbers if entry[0].startswith(incomplete)]


Pool = Annotated[
    Path, typer.Option("--pool", "-p", metavar="DIR", envvar="LIGHTPOOL_POOL", help="Folder of the datapool.")
]
OptionalPool = Annotated[
    Path | None,
    typer.Option("--pool", "-p", metavar="DIR", envvar="LIGHTPOOL_POOL", help="Folder of the datapool."),
]
Inputs = Annotated[
    list[Path] | None,
    typer.Option(
        "--input",
        "-i",
        metavar="PATH",
        help="Folder, image or video to look into; may be repeated.",
    ),
]
Filenames = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Text file that lists the paths to use, relative to the inputs, one per line.",
    ),
]
Embedder = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Plugin that turns pictures into vectors. [default: open-clip; for life]",
        autocompletion=_embedder_names,
    ),
]
EmbedderOptions = Annotated[
    list[str] | None,
    typer.Option("-e", metavar="KEY=VALUE", help="Option of the embedder; may be repeated."),
]
Sampler = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Plugin that chooses: a name, or path/to/file.py:ClassName. [default: diversity]",
        autocompletion=_sampler_names,
    ),
]
SamplerOptions = Annotated[
    list[str] | None,
    typer.Option("-s", metavar="KEY=VALUE", help="Option of the sampler; may be repeated."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Selection config (.json, .yaml or .toml), as Lightly's: strategies for the sampler combined.",
    ),
]
Metadata = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="What is known of the samples: .csv, .jsonl, .parquet, or a Lightly folder."),
]
Predictions = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="What a model found in the samples: a file, or a folder of predictions."),
]
Scores = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Active-learning scores of the samples: .csv, .jsonl or .parquet."),
]
ComputeMetadata = Annotated[
    bool,
    typer.Option(
        "--compute-metadata",
        help="Compute lightly.* metadata (sharpness, contrast, size …) of every candidate while decoding.",
    ),
]
SequenceLength = Annotated[
    str | None,
    typer.Option(metavar="N", help="Choose clips of so many frames instead of single frames. -1 is off."),
]
# Numbers are read by `overrides`, so that a wrong one is answered in one line like everything else.
NSamples = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Choose at most so many: a count (100), or a fraction of the candidates (0.1). -1 is off.",
    ),
]
MinDistance = Annotated[
    str | None,
    typer.Option(
        metavar="X",
        help="Keep no two samples closer than this distance of their embeddings, 0 to 2. -1 is off. "
        "[default: the embedder's near-duplicate distance, if --n-samples is off too]",
    ),
]
MinSeconds = Annotated[
    str | None,
    typer.Option(metavar="S", help="Choose no two frames of a video closer in time than so many seconds. -1 is off."),
]
MaxPer = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=N",
        help="Choose at most N for each video, folder, label or value of a metadata key; may be repeated. -1 is off.",
    ),
]
Fps = Annotated[
    str | None,
    typer.Option(
        metavar="FPS",
        help="Frames per second to take from videos, or 'all'. [default: 1]",
    ),
]
Seed = Annotated[
    str | None,
    typer.Option(metavar="N", help="Seed of samplers that draw lots. [default: 0]"),
]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="DEVICE",
        envvar="LIGHTPOOL_DEVICE",
        help="Where to compute: auto, cpu, cuda, cuda:N or mps. [default: auto]",
    ),
]
Timeout = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", help="Give up a file that nothing comes of for so long. [default: 60]"),
]
MaxMegapixels = Annotated[
    str | None,
    typer.Option(metavar="N", help="Refuse pictures of more pixels. [default: 90]"),
]
FollowLinks = Annotated[
    bool, typer.Option("--follow-links", help="Open what links in the inputs lead to, outside of them as well.")
]
KeepEmbeddings = Annotated[
    bool,
    typer.Option(
        "--keep-embeddings",
        help="Keep the embeddings of all candidates: whatever looks at them again needs no decoding.",
    ),
]
NoKeepHistory = Annotated[bool, typer.Option("--no-keep-history", help="Leave only the newest version restorable.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
NoWait = Annotated[
    bool,
    typer.Option("--no-wait", help="Fail at once while another command writes to the pool, instead of waiting for it."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show neither progress nor summary.")]


def overrides(**given: Any) -> Overrides:
    """What a command line asks for: fields of Overrides by name, as they were typed; None and [] are not given.

    Raises SettingsError for a value that cannot be read.
    """
    from lightpool_core.settings import Overrides

    typed = {name: value for name, value in given.items() if value is not None and value != []}
    return Overrides(**{name: _READERS[name](value) if name in _READERS else value for name, value in typed.items()})


def whole_number(name: str, text: str) -> int:
    """`text` as a whole number. Raises SettingsError naming `name`."""
    return _whole(name, text)


def _count_or_fraction(option: str, text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return _number(option, text)


def _whole(option: str, text: str) -> int:
    from lightpool_core.errors import SettingsError

    try:
        return int(text)
    except ValueError:
        raise SettingsError(f"{option} {text!r} is no whole number") from None


def _number(option: str, text: str) -> float:
    from lightpool_core.errors import SettingsError

    try:
        return float(text)
    except ValueError:
        raise SettingsError(f"{option} {text!r} is no number") from None


def _pairs(flag: str, texts: Iterable[str]) -> dict[str, str]:
    from lightpool_core.errors import SettingsError

    for text in texts:
        if "=" not in text:
            raise SettingsError(f"{flag} {text!r} should have the form key=value")
    return {text.partition("=")[0]: text.partition("=")[2] for text in texts}


def _counts(flag: str, texts: Iterable[str]) -> dict[str, int]:
    return {key: _whole(f"{flag} {key}", most) for key, most in _pairs(flag, texts).items()}


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "inputs": tuple,
    "embedder_options": partial(_pairs, "-e"),
    "sampler_options": partial(_pairs, "-s"),
    "n_samples": partial(_count_or_fraction, "--n-samples"),
    "min_distance": partial(_number, "--min-distance"),
    "min_seconds": partial(_number, "--min-seconds"),
    "max_per": partial(_counts, "--max-per"),
    "sequence_length": partial(_whole, "--sequence-length"),
    "seed": partial(_whole, "--seed"),
    "timeout": partial(_number, "--timeout"),
    "max_megapixels": partial(_number, "--max-megapixels"),
}
